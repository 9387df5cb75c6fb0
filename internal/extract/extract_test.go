package extract

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fuse"
)

const out, in = 30, 47

// world is a base and a tuned model with changes in some entries of two weights.
type world struct{ dir, base, tuned string }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newWorld writes the models. change returns the tuned value of an entry of the first weight.
func newWorld(t *testing.T, dtype checkpoint.DType, change func(i int, v float32) float32, extra ...checkpoint.Entry) world {
	t.Helper()
	w := world{dir: t.TempDir()}
	w.base, w.tuned = filepath.Join(w.dir, "base.st"), filepath.Join(w.dir, "tuned.st")
	g := rand.New(rand.NewPCG(1, 2))
	values := func() []float32 {
		v := make([]float32, out*in)
		for i := range v {
			v[i] = float32(g.NormFloat64())
		}
		return v
	}
	first, second := values(), values()
	write := func(path string, first []float32, norm float32) {
		must(t, checkpoint.Write(path, append([]checkpoint.Entry{
			checkpoint.Float32Entry("a.weight", dtype, []int{out, in}, first),
			checkpoint.Float32Entry("b.weight", dtype, []int{out, in}, second),
			checkpoint.Float32Entry("norm.weight", dtype, []int{1}, []float32{norm}),
		}, extra...), nil))
	}
	write(w.base, first, 1)
	tuned := make([]float32, len(first))
	for i, v := range first {
		tuned[i] = change(i, v)
	}
	write(w.tuned, tuned, 1)
	return w
}

// every changes each n-th entry by about a hundredth.
func every(n int) func(i int, v float32) float32 {
	return func(i int, v float32) float32 {
		if i%n == 0 {
			return v*1.01 + 0.02
		}
		return v
	}
}

func (w world) fuse(t *testing.T, a *adapter.Adapter) []byte {
	t.Helper()
	path := filepath.Join(w.dir, "adapter.st")
	must(t, a.SaveFile(path))
	fused := filepath.Join(w.dir, "fused.st")
	_, err := fuse.Run(t.Context(), fuse.Options{Base: w.base, Adapters: []fuse.Source{{Path: path, Weight: 1}}, Out: fused, Force: true})
	must(t, err)
	return data(t, fused)
}

func data(t *testing.T, path string) []byte {
	t.Helper()
	m, err := checkpoint.OpenModel(path)
	must(t, err)
	defer m.Close()
	var all []byte
	for _, x := range m.Tensors() {
		all = append(all, x.Data()...)
	}
	return all
}

// TestExact fuses what was extracted and compares with the tuned model, bit for bit.
func TestExact(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16, checkpoint.F16} {
		for _, n := range []int{1, 13} {
			w := newWorld(t, dtype, every(n))
			a, r, err := Run(t.Context(), Options{Base: w.base, Tuned: w.tuned})
			must(t, err)
			if want := (out*in + n - 1) / n; r.Changed != r.Taken || r.Taken > int64(want) || len(a.Deltas) != 1 || r.Error > 1e-6 {
				t.Errorf("%v: %+v", dtype, r)
			}
			if got := w.fuse(t, a); bytes.Equal(got, data(t, w.tuned)) != r.Exact {
				t.Errorf("%v, every %d: exact is %v, which is not so", dtype, n, r.Exact)
			}
			if dtype != checkpoint.F32 && !r.Exact {
				t.Errorf("%v: %d values are not exact", dtype, r.Inexact)
			}
		}
	}
}

// TestInexact counts what float32 cannot hold.
func TestInexact(t *testing.T) {
	negativeZero := float32(math.Copysign(0, -1))
	for name, c := range map[string]struct {
		dtype  checkpoint.DType
		change func(i int, v float32) float32
	}{
		"shrunk":        {checkpoint.BF16, func(i int, v float32) float32 { return map[bool]float32{true: v * 3e-9, false: v}[i == 7] }},
		"float64":       {checkpoint.F64, func(i int, v float32) float32 { return map[bool]float32{true: v + 1e-9, false: v * 1.0000001}[i != 7] }},
		"negative zero": {checkpoint.F32, func(i int, v float32) float32 { return map[bool]float32{true: negativeZero, false: v + 1}[i == 7] }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.dtype, c.change)
			a, r, err := Run(t.Context(), Options{Base: w.base, Tuned: w.tuned})
			must(t, err)
			fused, tuned := w.fuse(t, a), data(t, w.tuned)
			differ := int64(0)
			for size, i := c.dtype.Size(), 0; i < len(tuned); i += size {
				if !bytes.Equal(fused[i:i+size], tuned[i:i+size]) {
					differ++
				}
			}
			if r.Inexact != differ || r.Exact != (differ == 0) {
				t.Errorf("%d values are said not to be exact, %d are not", r.Inexact, differ)
			}
		})
	}
}

func TestBudgets(t *testing.T) {
	growing := func(i int, v float32) float32 { return v + float32(i+1)/1000 }
	w := newWorld(t, checkpoint.F32, growing)
	n := out * in
	for name, c := range map[string]struct {
		o    Options
		want int
	}{
		"top-k":     {Options{TopK: 100}, 100},
		"density":   {Options{Density: 0.1}, n / 10},
		"threshold": {Options{Threshold: 1.3505}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Base, c.o.Tuned = w.base, w.tuned
			a, r, err := Run(t.Context(), c.o)
			must(t, err)
			if a.Parameters() != int64(c.want) || r.Taken != int64(c.want) || r.Changed != int64(n) || r.Exact || r.Inexact < int64(n-c.want) {
				t.Errorf("%d parameters, want %d; %+v", a.Parameters(), c.want, r)
			}
			s := a.Deltas[0].(*adapter.Sparse)
			if first := int(s.RowIdx[0])*in + int(s.ColIdx[0]); first != n-c.want {
				t.Errorf("the first entry is %d, want the largest %d", first, c.want)
			}
			if r.Error <= 0 || r.Error >= 1 {
				t.Errorf("error %v", r.Error)
			}
		})
	}
}

// TestLowRank finds a product that was added, and the share of noise that it cannot have.
func TestLowRank(t *testing.T) {
	product := func(i int, v float32) float32 {
		row, col := float64(i/in), float64(i%in)
		return v + float32(math.Sin(row)*math.Cos(col)+0.5*math.Cos(2*row)*math.Sin(3*col))
	}
	w := newWorld(t, checkpoint.F32, product)
	a, r, err := Run(t.Context(), Options{Base: w.base, Tuned: w.tuned, Rank: 2})
	must(t, err)
	if r.Method != "lora" || r.Error > 1e-3 || r.Exact || a.Parameters() != 2*(out+in) || a.Config.R != 2 {
		t.Errorf("%+v, config %+v", r, a.Config)
	}
	_, one, err := Run(t.Context(), Options{Base: w.base, Tuned: w.tuned, Rank: 1})
	must(t, err)
	if one.Error < 0.1 || one.Error > 0.9 || one.Changed < out*in-1 {
		t.Errorf("rank 1 of a matrix of rank 2: %+v", one)
	}
	w.fuse(t, a)
}

func TestRefused(t *testing.T) {
	w := newWorld(t, checkpoint.F32, every(5))
	other := newWorld(t, checkpoint.F16, every(5))
	extra := newWorld(t, checkpoint.F32, every(5), checkpoint.Float32Entry("more", checkpoint.F32, []int{1}, []float32{1}))
	infinite := newWorld(t, checkpoint.F32, func(i int, v float32) float32 { return float32(math.Inf(1)) })
	for name, c := range map[string]struct {
		o    Options
		kind fault.Kind
		text string
	}{
		"equal":         {Options{Base: w.base, Tuned: w.base}, fault.Incompatible, "does not differ"},
		"another type":  {Options{Base: w.base, Tuned: other.tuned}, fault.Incompatible, `"a.weight" is F16, but in the base F32; "b.weight"`},
		"more tensors":  {Options{Base: w.base, Tuned: extra.tuned}, fault.Incompatible, `"more" is not in the base`},
		"fewer tensors": {Options{Base: extra.base, Tuned: w.tuned}, fault.Incompatible, `"more" is missing`},
		"not finite":    {Options{Base: infinite.base, Tuned: infinite.tuned}, fault.Numerical, "[0, 0] is +Inf"},
		"two budgets":   {Options{Base: w.base, Tuned: w.tuned, TopK: 1, Rank: 1}, fault.Usage, "one of"},
		"density":       {Options{Base: w.base, Tuned: w.tuned, Density: 2}, fault.Usage, "density"},
		"rank":          {Options{Base: w.base, Tuned: w.tuned, Rank: -1}, fault.Usage, "rank"},
		"no file":       {Options{Base: w.base, Tuned: "absent"}, fault.Environment, "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Run(t.Context(), c.o); fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	if _, _, err := Run(ctx, Options{Base: w.base, Tuned: w.tuned}); fault.KindOf(err) != fault.Interrupted {
		t.Errorf("canceled: %v", err)
	}
}
