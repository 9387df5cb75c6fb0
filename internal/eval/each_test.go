package eval

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fuse"
	"shira/internal/kernel"
	"shira/internal/model"
	"shira/internal/switcher"
	"shira/internal/testmodel"
)

// comparison writes a random model of a type, adapters of all kinds by their names, and some text.
func comparison(t *testing.T, dtype checkpoint.DType) (o Options, adapters map[string]string) {
	t.Helper()
	dir := t.TempDir()
	must(t, testmodel.Write(filepath.Join(dir, "base"), 3, dtype))
	o = Options{Model: filepath.Join(dir, "base"), Data: filepath.Join(dir, "data.jsonl")}
	must(t, os.WriteFile(o.Data, []byte(`{"prompt":"a cat","completion":" sat on a mat"}
{"prompt":"the rain ","completion":"in Spain"}
{"prompt":"to be","completion":" or not to be"}
`), 0o600))
	rng := rand.New(rand.NewPCG(7, 8))
	normal := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(scale * rng.NormFloat64())
		}
		return v
	}
	const name, other, n, r = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.o_proj", testmodel.Hidden, 2
	sparse := func(name string) *adapter.Sparse {
		var flat []int64
		for _, i := range slices.Sorted(slices.Values(rng.Perm(n * n)[:30])) {
			flat = append(flat, int64(i))
		}
		d := adapter.NewSparse(name, n, n, flat)
		copy(d.Values, normal(len(flat), 0.5))
		return d
	}
	lowRank := func(name string) *adapter.LowRank {
		return &adapter.LowRank{Name: name, Out: n, In: n, R: r, A: normal(r*n, 0.5), B: normal(n*r, 0.5), Alpha: 4, Scale: 2}
	}
	dora := lowRank(name)
	dora.Magnitude = normal(n, 1)
	gated := &adapter.FouRA{
		Name: other, Out: n, In: n, R: r, Basis: kernel.Plain, Alpha: 4, Scale: 2, A: normal(r*n, 0.5), B: normal(n*r, 0.5),
		Gate: &adapter.Gate{Hidden: 3, Temperature: 0.5, W1: normal(3*r, 1), B1: normal(3, 1), W2: normal(r*3, 1), B2: normal(r, 1), Threshold: normal(r, 1)},
	}
	shira := adapter.Config{Method: "shira", Density: 0.1, Mask: "rand"}
	lora := adapter.Config{Method: "lora", R: r, Alpha: 4}
	fouraConfig := adapter.Config{Method: "foura", R: r, Alpha: 4, Gate: adapter.GateSoft, GateTemperature: 0.5, Transform: adapter.TransformNone}
	adapters = map[string]string{}
	for name, a := range map[string]*adapter.Adapter{
		"shira": {Config: shira, Deltas: []adapter.Delta{sparse(name), sparse(other)}},
		"rand":  {Config: shira, Deltas: []adapter.Delta{sparse(name)}},
		"lora":  {Config: lora, Deltas: []adapter.Delta{lowRank(name), lowRank(other)}},
		"dora":  {Config: adapter.Config{Method: "dora", R: r, Alpha: 4}, Deltas: []adapter.Delta{dora}},
		"gated": {Config: fouraConfig, Deltas: []adapter.Delta{gated}},
	} {
		a.Config.TargetModules = []string{"q_proj", "o_proj"}
		adapters[name] = filepath.Join(dir, name+".st")
		must(t, a.SaveFile(adapters[name]))
	}
	return o, adapters
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEach: each result has the bits of a measurement of its own, whatever went before it, in every type of file and
// computation; the order of a mixture does not matter.
func TestEach(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16, checkpoint.F16} {
		for _, half := range []bool{false, true} {
			t.Run(dtype.String()+map[bool]string{true: " in bfloat16", false: " in float32"}[half], func(t *testing.T) {
				o, adapters := comparison(t, dtype)
				o.Half = half
				var mixtures [][]adapter.Ref
				for _, m := range [][]adapter.Ref{
					{{Path: "shira", Weight: 1}}, {{Path: "lora", Weight: 0.5}}, {{Path: "gated", Weight: 1}}, {{Path: "shira", Weight: 1}},
					{{Path: "dora", Weight: 1}}, {{Path: "rand", Weight: 0.3}, {Path: "shira", Weight: 2}, {Path: "lora", Weight: 1}},
					{{Path: "lora", Weight: 1}, {Path: "shira", Weight: 2}, {Path: "rand", Weight: 0.3}},
					{{Path: "gated", Weight: -1}, {Path: "rand", Weight: 1}}, {{Path: "lora", Weight: 0}},
				} {
					for i := range m {
						m[i].Path = adapters[m[i].Path]
					}
					mixtures = append(mixtures, m)
				}
				told := 0
				list, err := Each(t.Context(), o, mixtures, func(*Result) { told++ })
				must(t, err)
				if len(list) != len(mixtures)+1 || told != len(list) {
					t.Fatalf("%d results, told of %d", len(list), told)
				}
				distinct := map[float64]bool{}
				for i, r := range list {
					distinct[r.Loss] = true
					alone := o
					if i > 0 {
						alone.Adapters = mixtures[i-1]
					}
					want, err := Perplexity(t.Context(), alone)
					must(t, err)
					if r.Loss != want.Loss || r.Perplexity != want.Perplexity || r.Tokens != want.Tokens || r.Rows != 3 {
						t.Errorf("%v: %+v, alone %+v", alone.Adapters, r, want)
					}
				}
				if len(distinct) != len(list)-3 { // one comes twice, one in another order, one of weight 0 is the base
					t.Errorf("%d different losses in %d results", len(distinct), len(list))
				}
			})
		}
	}
}

// TestFusedEqualsAdapted: in float32 a fused model has the loss of its base with the adapters, to the bit.
func TestFusedEqualsAdapted(t *testing.T) {
	o, adapters := comparison(t, checkpoint.F32)
	o.Adapters = []adapter.Ref{{Path: adapters["shira"], Weight: 0.7}, {Path: adapters["lora"], Weight: -1.3}, {Path: adapters["dora"], Weight: 1}}
	adapted, err := Perplexity(t.Context(), o)
	must(t, err)
	out := filepath.Join(t.TempDir(), "fused")
	_, err = fuse.Run(t.Context(), fuse.Options{Base: o.Model, Adapters: fuse.Sources(o.Adapters), Out: out})
	must(t, err)
	o.Model, o.Adapters = out, nil
	fused, err := Perplexity(t.Context(), o)
	must(t, err)
	if fused.Loss != adapted.Loss {
		t.Errorf("the fused model's loss is %v, with the adapters beside it %v", fused.Loss, adapted.Loss)
	}
}

// TestStatesMemory: weights that no adapter changes stay where the file holds them.
func TestStatesMemory(t *testing.T) {
	o, adapters := comparison(t, checkpoint.F32)
	m, err := model.Load(o.Model)
	must(t, err)
	defer m.Close()
	before := map[string]*float32{}
	for _, w := range m.Weights() {
		before[w.Name] = &w.Data[0]
	}
	s, err := newStates(m, o, [][]adapter.Ref{{{Path: adapters["rand"], Weight: 1}}})
	must(t, err)
	must(t, s.to(0))
	for _, w := range m.Weights() {
		if moved, changed := &w.Data[0] != before[w.Name], w.Name == "model.layers.0.self_attn.q_proj"; moved != changed {
			t.Errorf("%s is copied: %v", w.Name, moved)
		}
	}
	must(t, s.to(switcher.Base))
}

func TestEachErrors(t *testing.T) {
	o, adapters := comparison(t, checkpoint.F16)
	good := []adapter.Ref{{Path: adapters["shira"], Weight: 1}}
	for name, c := range map[string]struct {
		mixture []adapter.Ref
		kind    fault.Kind
	}{
		"missing":  {[]adapter.Ref{{Path: "nowhere", Weight: 1}}, fault.Environment},
		"overflow": {[]adapter.Ref{{Path: adapters["lora"], Weight: 3e38}, {Path: adapters["shira"], Weight: 3e38}}, fault.Numerical},
	} {
		_, err := Each(t.Context(), o, [][]adapter.Ref{good, c.mixture}, func(*Result) { t.Errorf("%s: scored before the error", name) })
		if err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAgainst: the standard error is that of the differences.
func TestAgainst(t *testing.T) {
	base := &Result{Loss: 2, Tokens: 6, examples: []example{{2, 1}, {6, 3}, {4, 2}}}
	for _, c := range []struct {
		nll  [3]float64
		want Change
	}{
		{[3]float64{2, 6, 4}, Change{0, 0}},
		{[3]float64{3, 9, 6}, Change{1, 0}}, // one nat more for every token
		{[3]float64{5, 6, 4}, Change{0.5, math.Sqrt(1.5*(2.5*2.5+1.5*1.5+1)) / 6}},
	} {
		r := &Result{Tokens: 6}
		for i, v := range c.nll {
			r.Loss += v / 6
			r.examples = append(r.examples, example{v, base.examples[i].tokens})
		}
		if got := r.Against(base); math.Abs(got.Loss-c.want.Loss) > 1e-12 || math.Abs(got.Error-c.want.Error) > 1e-12 {
			t.Errorf("%v: %+v, want %+v", c.nll, got, c.want)
		}
	}
	one := &Result{Loss: 1, Tokens: 2, examples: []example{{2, 2}}}
	if c := one.Against(one); !math.IsNaN(c.Error) {
		t.Errorf("one example has the standard error %v", c.Error)
	}
}
