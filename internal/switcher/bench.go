package switcher

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Bench is what switches in memory cost, beside fusing a change of low rank into the same weights.
type Bench struct {
	Model    string       `json:"model"`
	Adapters []string     `json:"adapters"`
	Layers   []LayerBench `json:"layers"`
	Whole    ModelBench   `json:"whole_model"`
}

// LayerBench is one random weight of size×size. Its sparse adapter changes 1% of it; the other one has rank [LayerRank].
type LayerBench struct {
	DType   string  `json:"dtype"`
	Size    int     `json:"size"`
	Entries int     `json:"entries"`
	Scatter float64 `json:"scatter_seconds"` // the least time of several
	Refuse  float64 `json:"refuse_seconds"`
	Ratio   float64 `json:"ratio"`
}

// ModelBench is a switch of all weights from one adapter to the other: the entries of the first are restored, those of the
// second written. Beside it a change of rank [ModelRank] is added to the same weights.
type ModelBench struct {
	Tensors int     `json:"tensors"`
	Weights int64   `json:"weights"` // elements of these
	Bytes   int64   `json:"bytes"`
	Entries int64   `json:"entries"` // of both adapters
	Dense   bool    `json:"dense"`   // an adapter changes all entries of a weight, which is computed anew
	Add     float64 `json:"prepare_seconds"`
	Switch  float64 `json:"switch_seconds"`
	Refuse  float64 `json:"refuse_seconds"`
	Ratio   float64 `json:"ratio"`
}

// The ranks of what is fused for comparison: those of the paper's experiments on images and on language.
const (
	LayerRank = 64
	ModelRank = 32
)

// least returns the least time in seconds of n calls.
func least(n int, do func() error) (float64, error) {
	best := 0.0
	for i := range n {
		start := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		if s := time.Since(start).Seconds(); i == 0 || s < best {
			best = s
		}
	}
	return best, nil
}

// Measure measures switches of random weights, and of a copy of the model's weights in memory between two adapters. No file
// is changed.
func Measure(ctx context.Context, model string, refs []adapter.Ref, force bool) (*Bench, error) {
	return measure(ctx, model, refs, force, []int{1024, 2048, 4096})
}

func measure(ctx context.Context, model string, refs []adapter.Ref, force bool, sizes []int) (*Bench, error) {
	b := &Bench{Model: model}
	var adapters []*adapter.Adapter
	for _, ref := range refs {
		a, err := adapter.Load(ref.Path)
		if err != nil {
			return nil, err
		}
		adapters = append(adapters, a)
		b.Adapters = append(b.Adapters, ref.String())
	}
	m, err := checkpoint.OpenModel(model)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := adapter.CheckAll(m, adapters, force); err != nil {
		return nil, err
	}
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16} {
		for _, n := range sizes {
			if ctx.Err() != nil {
				return nil, canceled(ctx, ctx.Err())
			}
			l, err := measureLayer(dtype, n)
			if err != nil {
				return nil, err
			}
			b.Layers = append(b.Layers, *l)
		}
	}
	whole, err := measureModel(ctx, m, adapters, refs)
	if err != nil {
		return nil, err
	}
	b.Whole = *whole
	return b, nil
}

// randomFactors returns a change of rank r whose values are small, as those of adapters are.
func randomFactors(g *rand.Rand, rows, cols, r int) *factors {
	f := &factors{rows: rows, cols: cols, r: r, a: make([]float32, r*cols), b: make([]float32, rows*r)}
	for _, v := range [][]float32{f.a, f.b} {
		for i := range v {
			v[i] = 0.01 * (g.Float32() - 0.5)
		}
	}
	return f
}

const measured = 15 // times

func measureLayer(dtype checkpoint.DType, n int) (*LayerBench, error) {
	g := rand.New(rand.NewPCG(uint64(n), 1))
	data := make([]byte, n*n*dtype.Size())
	list := make([]uint32, n*n/100)
	for k := range list { // one of every 100
		list[k] = uint32(k*100 + g.IntN(100))
	}
	values := make([]byte, len(list)*dtype.Size())
	f := randomFactors(g, n, n, LayerRank)
	l := &LayerBench{DType: dtype.String(), Size: n, Entries: len(list)}
	var err error
	if l.Refuse, err = least(measured, func() error { return f.addTo(dtype, data) }); err != nil {
		return nil, err
	}
	l.Scatter, err = least(measured, func() error {
		put(data, list, values, dtype.Size())
		return nil
	})
	l.Ratio = l.Refuse / l.Scatter
	return l, err
}

// measureModel measures on copies of the weights that the adapters change.
func measureModel(ctx context.Context, m *checkpoint.Model, adapters []*adapter.Adapter, refs []adapter.Ref) (*ModelBench, error) {
	names := map[string]bool{}
	for _, a := range adapters {
		for _, d := range a.Deltas {
			names[adapter.WeightName(d)] = true
		}
	}
	r := &ModelBench{}
	var weights []Weight
	for _, t := range m.Tensors() {
		if !names[t.Name] {
			continue
		}
		w := Weight{Base: t, DType: t.DType, Data: make([]byte, t.Size())}
		if err := t.ReadAt(w.Data, 0); err != nil {
			return nil, err
		}
		weights = append(weights, w)
		r.Tensors, r.Weights, r.Bytes = r.Tensors+1, r.Weights+int64(t.Len()), r.Bytes+t.Size()
	}
	set, err := NewSet(weights)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	for i := range adapters {
		if _, err := set.Add(adapters[i:i+1], refs[i:i+1]); err != nil {
			return nil, err
		}
	}
	r.Add = time.Since(start).Seconds()
	for _, s := range set.states {
		for _, p := range s.parts {
			r.Entries += int64(len(p.list))
			r.Dense = r.Dense || p.all
		}
	}
	next := 0
	r.Switch, err = least(measured, func() error {
		next++
		return set.Switch(next % len(set.states))
	})
	if err != nil {
		return nil, err
	}
	r.Refuse, err = measureRefuse(ctx, weights)
	r.Ratio = r.Refuse / r.Switch
	return r, err
}

// measureRefuse adds a change of rank ModelRank to all weights of the types that are common. It spoils them.
func measureRefuse(ctx context.Context, weights []Weight) (float64, error) {
	common := func(w Weight) bool { return w.DType == checkpoint.F32 || w.DType == checkpoint.BF16 }
	if !slices.ContainsFunc(weights, common) {
		return 0, fault.New(fault.Incompatible, "", "only weights in F32 and BF16 are measured")
	}
	g := rand.New(rand.NewPCG(1, 1))
	var all []*factors
	for i := range weights {
		all = append(all, randomFactors(g, weights[i].Base.Shape[0], weights[i].Base.Shape[1], ModelRank))
	}
	return least(3, func() error {
		for i := range weights {
			if ctx.Err() != nil {
				return canceled(ctx, ctx.Err())
			}
			if !common(weights[i]) {
				continue
			}
			if err := all[i].addTo(weights[i].DType, weights[i].Data); err != nil {
				return err
			}
		}
		return nil
	})
}
