package fuse

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/merge"
)

// lowRank writes a LoRA adapter of rank 1 over the first module, whose factors are constants.
func (w *world) lowRank(name string, a, b float32) string {
	w.t.Helper()
	d := &adapter.LowRank{Name: modules[0], Out: worldOut, In: worldIn, R: 1, Alpha: 1, Scale: 1,
		A: slices.Repeat([]float32{a}, worldIn), B: slices.Repeat([]float32{b}, worldOut)}
	l := &adapter.Adapter{Config: adapter.Config{Method: "lora", R: 1, Alpha: 1, TargetModules: []string{"q_proj"}}, Deltas: []adapter.Delta{d}}
	must(w.t, l.SaveFile(w.path(name)))
	return w.path(name)
}

// TestOverflow: a weight that turns a change into one that the stored type cannot hold is an error, in every type and by every
// way that changes are added; nothing infinite is ever written.
func TestOverflow(t *testing.T) {
	mixtures := map[string]func(w *world, value float32, weight float64) []Source{
		"entries": func(w *world, value float32, weight float64) []Source {
			return []Source{{Path: w.exact("a.st", map[int]float32{40: value}), Weight: weight}}
		},
		"entries of two": func(w *world, value float32, weight float64) []Source {
			return []Source{{Path: w.exact("a.st", map[int]float32{40: value}), Weight: weight}, {Path: w.exact("b.st", map[int]float32{7: 1}), Weight: 1}}
		},
		"low rank": func(w *world, value float32, weight float64) []Source {
			return []Source{{Path: w.lowRank("a.st", 1, value), Weight: weight}}
		},
		"low rank of two": func(w *world, value float32, weight float64) []Source {
			return []Source{{Path: w.lowRank("a.st", value, 1), Weight: weight}, {Path: w.lowRank("b.st", 1, 1), Weight: 1}}
		},
		"both": func(w *world, value float32, weight float64) []Source {
			return []Source{{Path: w.lowRank("a.st", 1, 1), Weight: 1}, {Path: w.exact("b.st", map[int]float32{40: value}), Weight: -weight}}
		},
	}
	for _, c := range []struct {
		method string
		dtype  checkpoint.DType
		value  float32
		weight float64
	}{
		{"linear", checkpoint.F16, 1, 1e30}, {"linear", checkpoint.F16, 1, 65536}, {"ties", checkpoint.F16, 1, 1e30},
		{"linear", checkpoint.BF16, 1e9, 1e30}, {"linear", checkpoint.BF16, 3.4e38, 1}, {"ties", checkpoint.BF16, 1e9, 1e30},
		{"linear", checkpoint.F32, 1e9, 1e30}, {"ties", checkpoint.F32, 1e9, 1e30},
	} {
		for _, name := range slices.Sorted(maps.Keys(mixtures)) {
			t.Run(fmt.Sprintf("%s/%s/%s×%v", c.method, name, c.dtype, c.weight), func(t *testing.T) {
				w := newWorld(t, c.dtype)
				o := Options{Base: w.base, Adapters: mixtures[name](w, c.value, c.weight), Method: c.method, Params: merge.DefaultParams(), Out: w.path("o.st")}
				before := snapshot(t, w.dir)
				_, err := Run(t.Context(), o)
				if fault.KindOf(err) != fault.Numerical || !strings.Contains(err.Error(), "would not be finite in "+c.dtype.String()) {
					t.Errorf("%v", err)
				}
				compare(t, before, snapshot(t, w.dir))
			})
		}
	}
}

// TestOverflowOfAdapter: the same of an adapter of several, whose values are in float32 whatever the base can hold.
func TestOverflowOfAdapter(t *testing.T) {
	for name, c := range map[string]struct {
		source func(w *world) Source
		rank   int
	}{
		"entries": {func(w *world) Source { return Source{Path: w.exact("a.st", map[int]float32{40: 1e9}), Weight: 1e30} }, 0},
		"factors": {func(w *world) Source { return Source{Path: w.lowRank("a.st", 1e-20, 1e9), Weight: 1e30} }, 0},
		"product": {func(w *world) Source { return Source{Path: w.lowRank("a.st", 1, 1e9), Weight: 1e30} }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, checkpoint.F64)
			o := Options{Base: w.base, Adapters: []Source{c.source(w)}, Out: w.path("o.st"), AdapterOnly: true, Rank: c.rank}
			before := snapshot(t, w.dir)
			if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.Numerical {
				t.Errorf("%v", err)
			}
			compare(t, before, snapshot(t, w.dir))
		})
	}
}
