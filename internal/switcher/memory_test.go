package switcher

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
)

// TestSet goes from state to state in memory: each has the bits that a switch on the disk leaves.
func TestSet(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F64, checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		t.Run(dtype.String(), func(t *testing.T) {
			m := newModel(t, dtype)
			base := m.data(m.base)
			var weights []Weight
			for _, name := range modules {
				weights = append(weights, Weight{Name: name + ".weight", DType: dtype, Rows: rows, Cols: cols, Data: slices.Clone(base[name+".weight"])})
			}
			set, err := NewSet(weights)
			must(t, err)
			model, err := checkpoint.OpenModel(m.base)
			must(t, err)
			defer model.Close()
			var want []map[string][]byte
			path := m.copy("model")
			for _, refs := range [][]adapter.Ref{
				{{Path: m.adapters[0], Weight: 1}}, {{Path: m.adapters[1], Weight: 0.5}}, {{Path: m.adapters[2], Weight: 1}},
				{{Path: m.adapters[0], Weight: 1}, {Path: m.adapters[3], Weight: 2}}, {{Path: m.adapters[4], Weight: 1}, {Path: m.adapters[1], Weight: 1}},
			} {
				var list []*adapter.Adapter
				for _, ref := range refs {
					a, err := adapter.Load(ref.Path)
					must(t, err)
					must(t, a.Check(model, false))
					list = append(list, a)
				}
				number, err := set.Add(list, refs)
				must(t, err)
				if number != len(want) {
					t.Errorf("state %d, want %d", number, len(want))
				}
				must(t, second(Switch(context.Background(), Options{Model: path, Adapters: refs})))
				want = append(want, m.data(path))
			}
			rng := rand.New(rand.NewPCG(3, 4))
			for range 50 {
				i := rng.IntN(len(want)+1) - 1
				must(t, set.Switch(i))
				for _, w := range weights {
					expected := base[w.Name]
					if i >= 0 {
						expected = want[i][w.Name]
					}
					if !bytes.Equal(w.Data, expected) {
						t.Fatalf("state %d: %s has other bits", i, w.Name)
					}
				}
			}
		})
	}
}

// TestMeasure: the benchmark measures something, and its weights are copies.
func TestMeasure(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	before := m.data(m.base)
	b, err := measure(context.Background(), m.base, []adapter.Ref{{Path: m.adapters[0], Weight: 1}, {Path: m.adapters[1], Weight: 1}}, false, []int{64})
	must(t, err)
	if len(b.Layers) != 2 || b.Whole.Entries != 131 || b.Whole.Tensors != 3 || b.Whole.Dense || !(b.Whole.Switch > 0 && b.Layers[1].Ratio > 0) {
		t.Errorf("%+v", b)
	}
	after := m.data(m.base)
	for name := range before {
		if !bytes.Equal(before[name], after[name]) {
			t.Errorf("%s has changed", name)
		}
	}
}
