package switcher

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// TestSet goes from state to state in memory: each has the bits that a switch on the disk leaves.
func TestSet(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F64, checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		t.Run(dtype.String(), func(t *testing.T) {
			m := newModel(t, dtype)
			base := m.data(m.base)
			model, err := checkpoint.OpenModel(m.base)
			must(t, err)
			defer model.Close()
			var weights []Weight
			for _, name := range modules {
				tensor, _ := model.Lookup(name + ".weight")
				weights = append(weights, Weight{Base: tensor, DType: dtype, Data: slices.Clone(base[name+".weight"])})
			}
			set, err := NewSet(weights)
			must(t, err)
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
					expected := base[w.Base.Name]
					if i >= 0 {
						expected = want[i][w.Base.Name]
					}
					if !bytes.Equal(w.Data, expected) {
						t.Fatalf("state %d: %s has other bits", i, w.Base.Name)
					}
				}
			}
		})
	}
}

// inMemory returns a set over the base's weights in another type, as a model is loaded to be computed in that.
func (m *model) inMemory(dtype checkpoint.DType) (*Set, []Weight) {
	m.t.Helper()
	model, err := checkpoint.OpenModel(m.base)
	must(m.t, err)
	m.t.Cleanup(func() { model.Close() })
	var weights []Weight
	for _, name := range modules {
		tensor, _ := model.Lookup(name + ".weight")
		w := Weight{Base: tensor, DType: dtype, Data: make([]byte, dtype.Size()*rows*cols)}
		values, err := tensor.Float32s(nil)
		must(m.t, err)
		must(m.t, checkpoint.EncodeFloat32(w.Data, dtype, values))
		weights = append(weights, w)
	}
	set, err := NewSet(weights)
	must(m.t, err)
	return set, weights
}

// load reads adapters.
func (m *model) load(refs []adapter.Ref) []*adapter.Adapter {
	m.t.Helper()
	model, err := checkpoint.OpenModel(m.base)
	must(m.t, err)
	defer model.Close()
	var list []*adapter.Adapter
	for _, ref := range refs {
		a, err := adapter.Load(ref.Path)
		must(m.t, err)
		must(m.t, a.Check(model, false))
		list = append(list, a)
	}
	return list
}

// TestSetOtherType: weights that memory has in another type than the file are those of the sum in float32, rounded once.
func TestSetOtherType(t *testing.T) {
	for _, stored := range []checkpoint.DType{checkpoint.F64, checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16} {
			t.Run(stored.String()+" in "+dtype.String(), func(t *testing.T) {
				m := newModel(t, stored)
				set, weights := m.inMemory(dtype)
				var base [][]byte
				for _, w := range weights {
					base = append(base, bytes.Clone(w.Data))
				}
				for _, refs := range [][]adapter.Ref{
					{{Path: m.adapters[0], Weight: 1}}, {{Path: m.adapters[2], Weight: 0.5}},
					{{Path: m.adapters[3], Weight: 1}, {Path: m.adapters[1], Weight: -2}}, {{Path: m.adapters[4], Weight: 1}},
				} {
					adapters := m.load(refs)
					number, err := set.Add(adapters, refs)
					must(t, err)
					must(t, set.Switch(number))
					for k, w := range weights {
						values, err := w.Base.Float32s(nil)
						must(t, err)
						if dtype == stored { // exact: the base is what memory has
							must(t, checkpoint.DecodeFloat32(values, dtype, base[k]))
						}
						sum := make([]float64, len(values))
						for i, a := range adapters {
							for _, d := range a.Deltas {
								if adapter.WeightName(d) != w.Base.Name {
									continue
								}
								delta := make([]float32, len(values))
								d.Rows(delta, values, 0, rows)
								for e, v := range delta {
									sum[e] += refs[i].Weight * float64(v)
								}
							}
						}
						for e, v := range sum {
							values[e] += float32(v)
						}
						want := make([]byte, len(w.Data))
						must(t, checkpoint.EncodeFloat32(want, dtype, values))
						if !bytes.Equal(w.Data, want) {
							t.Errorf("%v: %s has other bits", refs, w.Base.Name)
						}
					}
					must(t, set.Switch(Base))
					for k, w := range weights {
						if !bytes.Equal(w.Data, base[k]) {
							t.Errorf("%v: %s does not come back", refs, w.Base.Name)
						}
					}
				}
			})
		}
	}
}

// TestSetErrors: an error leaves the set as it was, and no state that does not exist is an answer.
func TestSetErrors(t *testing.T) {
	m := newModel(t, checkpoint.F16)
	set, weights := m.inMemory(checkpoint.F16)
	before := bytes.Clone(weights[0].Data)
	good := []adapter.Ref{{Path: m.adapters[0], Weight: 1}}
	for _, c := range []struct {
		name string
		do   func() error
		kind fault.Kind
	}{
		{"sparse entries overflow", func() error {
			refs := []adapter.Ref{{Path: m.adapters[1], Weight: 1e7}}
			return second(set.Add(m.load(refs), refs))
		}, fault.Numerical},
		{"low rank overflows", func() error {
			refs := []adapter.Ref{{Path: m.adapters[2], Weight: 1e7}}
			return second(set.Add(m.load(refs), refs))
		}, fault.Numerical},
		{"no such weight", func() error {
			part, err := NewSet(weights[1:])
			must(t, err)
			return second(part.Add(m.load(good), good))
		}, fault.Incompatible},
		{"memory of another size", func() error {
			return second(NewSet([]Weight{{Base: weights[0].Base, DType: checkpoint.F16, Data: weights[0].Data[2:]}}))
		}, fault.Internal},
		{"memory of a type that nothing is computed in", func() error {
			return second(NewSet([]Weight{{Base: weights[0].Base, DType: checkpoint.F64, Data: make([]byte, 8*rows*cols)}}))
		}, fault.Internal},
		{"no state yet", func() error { return set.Switch(0) }, fault.Internal},
		{"a state is in the weights", func() error {
			number, err := set.Add(m.load(good), good)
			must(t, err)
			must(t, set.Switch(number))
			defer func() { must(t, set.Switch(Base)) }()
			return second(set.Add(m.load(good), good))
		}, fault.Internal},
	} {
		if err := c.do(); err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
		if !bytes.Equal(weights[0].Data, before) {
			t.Fatalf("%s: the weights have changed", c.name)
		}
	}
}

// TestSetTorn: a switch that cannot read the base fails, and one that can puts everything right.
func TestSetTorn(t *testing.T) {
	m := newModel(t, checkpoint.F32)
	set, weights := m.inMemory(checkpoint.F32)
	var states []int
	for _, i := range []int{2, 0} {
		refs := []adapter.Ref{{Path: m.adapters[i], Weight: 1}}
		number, err := set.Add(m.load(refs), refs)
		must(t, err)
		states = append(states, number)
	}
	base := bytes.Clone(weights[2].Data) // of the second file
	path := weights[2].Base.Path()
	whole, err := os.ReadFile(path)
	must(t, err)
	must(t, set.Switch(states[0]))
	must(t, os.Truncate(path, int64(len(whole)/2)))
	for _, to := range []int{states[1], Base, states[1]} {
		if set.Switch(to) == nil {
			t.Error("a base that cannot be read is no error")
		}
	}
	must(t, os.WriteFile(path, whole, 0o644))
	must(t, set.Switch(states[1]))
	if !bytes.Equal(weights[2].Data, base) {
		t.Error("a failed switch left something")
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
