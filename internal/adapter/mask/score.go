package mask

import (
	"math"
	"slices"

	"shira/internal/fault"
)

// score says how much the entries of a weight count: those of the largest absolute values are selected, of equal ones that
// of the lower index.
type score struct {
	of string // what is compared, for messages

	// values returns the scores of the entries from on, as many as buf has, in buf or where they are.
	values func(r *Request, buf []float32, from int) []float32
}

// The scores of the SHiRA paper's masks (section 3.1). Gradients are those of the mean loss over the calibration set.
var (
	magnitude = score{"weight", func(r *Request, buf []float32, from int) []float32 {
		return r.Weights[from:][:len(buf)]
	}}
	gradient = score{"gradient", func(r *Request, buf []float32, from int) []float32 {
		return r.Gradients[from:][:len(buf)]
	}}
	// sensitivity is |W·∂L/∂W|, to first order how much the loss changes without the entry (SNIP, Lee et al. 2019).
	sensitivity = score{"weight times gradient", func(r *Request, buf []float32, from int) []float32 {
		g := r.Gradients[from:][:len(buf)]
		for i, w := range r.Weights[from:][:len(buf)] {
			buf[i] = w * g[i]
		}
		return buf
	}}
)

// blockSize is how many scores are looked at together: few enough for the first-level cache.
const blockSize = 2048

// rankBlock holds the ranks of some entries. The bits of a finite |score| order as the numbers do; its rank is one more, and
// 0 is that of an excluded entry.
type rankBlock struct {
	scores [blockSize]float32
	ranks  [blockSize]uint32
}

// infBits is the bit pattern of +Inf; those of NaN lie above it.
const infBits = 0x7f800000

// at returns the ranks of the entries of r from on, as many as a block has.
func (b *rankBlock) at(s *score, r *Request, from int) ([]uint32, error) {
	n := min(blockSize, r.Out*r.In-from)
	for i, v := range s.values(r, b.scores[:n], from) {
		bits := math.Float32bits(v) &^ (1 << 31)
		if bits >= infBits {
			at := from + i
			return nil, fault.New(fault.Numerical, "", "%s: %s [%d, %d] is %v: magnitudes cannot be ranked",
				fault.Quote(r.Name), s.of, at/r.In, at%r.In, v)
		}
		b.ranks[i] = bits + 1
	}
	if len(r.Exclude) > 0 {
		first, _ := slices.BinarySearch(r.Exclude, int64(from))
		for _, i := range r.Exclude[first:] {
			if i >= int64(from+n) {
				break
			}
			b.ranks[i-int64(from)] = 0
		}
	}
	return b.ranks[:n], nil
}

// cut divides entries in order of rank: those above rank are before it, and the first ties of those with that rank.
type cut struct {
	rank uint32
	ties int
}

// before reports whether the next entry, of the given rank, stands before the cut. It counts ties down.
func (c *cut) before(rank uint32) bool {
	if rank == c.rank && c.ties > 0 {
		c.ties--
		return true
	}
	return rank > c.rank
}

// counts is a histogram of ranks by their upper 16 bits, or within one value of those by the lower.
type counts [1 << 16]int

// descend returns the bucket that holds the k-th highest rank, from 1, and the place in the bucket.
func (c *counts) descend(k int) (bucket uint32, place int) {
	b := len(c) - 1
	for ; k > c[b]; b-- {
		k -= c[b]
	}
	return uint32(b), k
}

// cutAfter returns the cut after the k highest of the ranks that blocks passes on, twice: two counting passes take O(n) time
// and constant memory.
func cutAfter(k int, blocks func(func([]uint32)) error) (cut, error) {
	if k == 0 {
		return cut{rank: math.MaxUint32}, nil
	}
	var upper, lower counts
	if err := blocks(func(ranks []uint32) {
		for _, r := range ranks {
			upper[r>>16]++
		}
	}); err != nil {
		return cut{}, err
	}
	high, place := upper.descend(k)
	if err := blocks(func(ranks []uint32) {
		for _, r := range ranks {
			if r>>16 == high {
				lower[r&0xffff]++
			}
		}
	}); err != nil {
		return cut{}, err
	}
	low, ties := lower.descend(place)
	return cut{high<<16 | low, ties}, nil
}

// top selects the entries of r whose ranks come next after the offset.
func (s *score) top(r *Request) ([]int64, error) {
	var block rankBlock
	blocks := func(visit func([]uint32)) error {
		for from := 0; from < r.Out*r.In; from += blockSize {
			ranks, err := block.at(s, r, from)
			if err != nil {
				return err
			}
			visit(ranks)
		}
		return nil
	}
	passed, err := cutAfter(r.Offset, blocks)
	if err != nil {
		return nil, err
	}
	last, err := cutAfter(r.Offset+r.K, blocks)
	if err != nil {
		return nil, err
	}
	picked := make([]int64, 0, r.K)
	from := int64(0)
	err = blocks(func(ranks []uint32) {
		for i, rank := range ranks {
			// Both cuts see every entry, to count their ties.
			if skip := passed.before(rank); last.before(rank) && !skip {
				picked = append(picked, from+int64(i))
			}
		}
		from += int64(len(ranks))
	})
	return picked, err
}
