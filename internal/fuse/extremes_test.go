package fuse

import (
	"fmt"
	"math"
	"testing"

	"shira/internal/checkpoint"
)

// TestExtremes wants to be told of numbers of the base that no model should have.
func TestExtremes(t *testing.T) {
	w := newWorld(t, checkpoint.BF16)
	a := w.exact("a.st", map[int]float32{1: 1})
	nan := float32(math.NaN())
	bad := w.path("bad.st")
	must(t, checkpoint.Write(bad, append(worldEntries(checkpoint.BF16),
		checkpoint.Float32Entry("worse", checkpoint.F32, []int{2}, []float32{nan, 1e30}),
		checkpoint.Float32Entry("bad", checkpoint.F32, []int{3}, []float32{1, nan, float32(math.Inf(-1))})), nil))
	for base, want := range map[string]string{w.base: "[]", bad: "[{bad 2 0} {worse 1 1}]"} {
		r, err := Run(t.Context(), Options{Base: base, Adapters: []Source{{Path: a, Weight: 1}}})
		must(t, err)
		if got := fmt.Sprint(r.Extremes); got != want {
			t.Errorf("%s: %s, want %s", base, got, want)
		}
	}
}
