package mask

import (
	"math"
	"slices"
	"testing"

	"shira/internal/fault"
)

// FuzzSelect holds masks of any weights to the contract of Select: K entries in ascending order that are not excluded, or a
// fault that says why there are none.
func FuzzSelect(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(3), int16(4), int16(2), uint64(7))
	f.Add([]byte{0, 0, 0, 0}, uint8(1), int16(4), int16(0), uint64(0))
	f.Add([]byte{255, 255, 1}, uint8(2), int16(-1), int16(30000), uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, data []byte, rows uint8, k, offset int16, seed uint64) {
		r := Request{Name: "w", Out: max(1, int(rows)), K: int(k), Offset: max(0, int(offset)), Seed: seed, Axis: Axes[seed%3]}
		r.In = len(data) / r.Out
		if r.In == 0 || len(data) > 1<<12 {
			return
		}
		for i, b := range data[:r.Out*r.In] {
			r.Weights = append(r.Weights, float32(int8(b)))
			r.Gradients = append(r.Gradients, float32(b%7))
			if b == 13 {
				r.Exclude = append(r.Exclude, int64(i))
			}
		}
		for _, s := range strategies {
			got, err := s.Select(r)
			fits := r.K >= 1 && r.K+r.Offset <= r.Out*r.In-len(r.Exclude)
			if err != nil {
				if fits || fault.KindOf(err) != fault.Usage {
					t.Fatalf("%s: %v", s.Name, err)
				}
				continue
			}
			if !fits || len(got) != r.K || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != r.K || Common(got, r.Exclude) > 0 {
				t.Fatalf("%s: %v of %d after %d, without %v", s.Name, got, r.K, r.Offset, r.Exclude)
			}
			if got[0] < 0 || got[r.K-1] >= r.entries() {
				t.Fatalf("%s: %v lies outside", s.Name, got)
			}
		}
	})
}
