package fuse

import (
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/merge"
)

// TestOutsizes wants to be told of changes that leave little of the base, by entries and by factors, and of no others.
func TestOutsizes(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F64, checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		w := newWorld(t, dtype)
		for _, path := range []string{w.exact("entries.st", map[int]float32{40: 1}), w.lowRank("factors.st", 1, 1)} {
			for weight, want := range map[float64]bool{1: false, 2: false, 1000: true, -60000: true} {
				r, err := Run(t.Context(), Options{Base: w.base, Adapters: []Source{{Path: path, Weight: weight}}, Method: "linear", Params: merge.DefaultParams(), DryRun: true})
				must(t, err)
				got := slices.ContainsFunc(r.Outsizes, func(o Outsize) bool { return o.Name == modules[0]+".weight" && o.Ratio > 100 })
				if got != want || len(r.Outsizes) > 1 {
					t.Errorf("%s at %v in %s: %v", path, weight, dtype, r.Outsizes)
				}
			}
		}
	}
}
