package mask

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// pickRandom selects uniformly without replacement. The stream is ChaCha8 (C2SP chacha8rand) seeded by the run's seed and
// the weight's name, so that layers of one shape get masks of their own. A given request selects the same entries in every
// version of this program.
func pickRandom(r Request) ([]int64, error) {
	n, k := int64(r.Out)*int64(r.In), int64(r.K)
	src := stream(r.Seed, r.Name)
	if k <= n/2 {
		return sample(src, n, k), nil
	}
	return complement(sample(src, n, n-k), n), nil
}

// stream returns the generator of one weight: ChaCha8 seeded by sha256("shira rand mask 1" ‖ seed, 8 bytes little-endian ‖
// name).
func stream(seed uint64, name string) *rand.ChaCha8 {
	b := binary.LittleEndian.AppendUint64([]byte("shira rand mask 1"), seed)
	return rand.NewChaCha8(sha256.Sum256(append(b, name...)))
}

// sample returns k of the numbers 0 … n−1, ascending, every k-subset being equally likely: the first k distinct values of
// a uniform stream. It holds O(k) memory; k ≤ n/2 keeps the repeats, and so the rounds, few.
func sample(src *rand.ChaCha8, n, k int64) []int64 {
	picked := []int64{}
	for missing := k; missing > 0; missing = k - int64(len(picked)) {
		fresh := make([]int64, missing)
		for i := range fresh {
			fresh[i] = below(src, uint64(n))
		}
		slices.Sort(fresh)
		picked = union(picked, slices.Compact(fresh))
	}
	return picked
}

// below returns a uniform number in [0, n) by Lemire's multiplication with rejection. It is spelled out here because the
// methods of rand.Rand may change their way from stream to number between Go versions; the stream itself may not.
func below(src *rand.ChaCha8, n uint64) int64 {
	hi, lo := bits.Mul64(src.Uint64(), n)
	if lo < n {
		for least := -n % n; lo < least; {
			hi, lo = bits.Mul64(src.Uint64(), n)
		}
	}
	return int64(hi)
}

// union merges two ascending sets.
func union(a, b []int64) []int64 {
	if len(a) == 0 {
		return b
	}
	out := make([]int64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case a[0] > b[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// complement returns the numbers 0 … n−1 that are not in the ascending set a.
func complement(a []int64, n int64) []int64 {
	out := make([]int64, 0, n-int64(len(a)))
	for i := range n {
		if len(a) > 0 && a[0] == i {
			a = a[1:]
			continue
		}
		out = append(out, i)
	}
	return out
}
