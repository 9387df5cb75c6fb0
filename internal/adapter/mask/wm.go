package mask

import (
	"math"

	"shira/internal/fault"
)

// pickMagnitude selects the entries of largest |W|, ties to the lower index (SHiRA-WM).
//
// The bits of a finite |w| order as the numbers do, so the K-th largest is found by two counting passes, over the upper
// and over the lower 16 bits, in O(n) time and constant memory.
func pickMagnitude(r Request) ([]int64, error) {
	threshold, atThreshold, err := kthLargest(r)
	if err != nil {
		return nil, err
	}
	picked := make([]int64, 0, r.K)
	for i, w := range r.Weights {
		switch b := absBits(w); {
		case b > threshold:
			picked = append(picked, int64(i))
		case b == threshold && atThreshold > 0:
			picked = append(picked, int64(i))
			atThreshold--
		}
	}
	return picked, nil
}

// kthLargest returns the bits of the K-th largest |w| and how many entries equal to it belong to the top K.
func kthLargest(r Request) (threshold uint32, atThreshold int, err error) {
	count := make([]int, 1<<16)
	for i, w := range r.Weights {
		b := absBits(w)
		if b >= infBits {
			return 0, 0, fault.New(fault.Numerical, "", "%s: weight [%d, %d] is %v: magnitudes cannot be ranked",
				fault.Quote(r.Name), i/r.In, i%r.In, w)
		}
		count[b>>16]++
	}
	upper, rank := descend(count, r.K)
	clear(count)
	for _, w := range r.Weights {
		if b := absBits(w); b>>16 == upper {
			count[b&0xffff]++
		}
	}
	lower, rank := descend(count, rank)
	return upper<<16 | lower, rank, nil
}

// descend returns the bucket that holds the k-th largest value, and that value's rank inside the bucket, from 1.
func descend(count []int, k int) (bucket uint32, rank int) {
	b := len(count) - 1
	for ; k > count[b]; b-- {
		k -= count[b]
	}
	return uint32(b), k
}

// infBits is the bit pattern of +Inf; those of NaN lie above it.
const infBits = 0x7f800000

// absBits returns the bit pattern of |w|.
func absBits(w float32) uint32 { return math.Float32bits(w) &^ (1 << 31) }
