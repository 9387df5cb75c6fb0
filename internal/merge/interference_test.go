package merge

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
)

// TestInterference compares with AᵀB in full, for all pairs of forms.
func TestInterference(t *testing.T) {
	const out, in = 30, 41
	base := weight(t, "m.weight", checkpoint.F32, out, in, randomValues(1, out*in, 0))
	kinds := map[string]func([]float32) adapter.Delta{
		"sparse": func(v []float32) adapter.Delta { return sparse("m", out, in, v) },
		"low rank": func(v []float32) adapter.Delta {
			return &adapter.LowRank{Name: "m", Out: out, In: in, R: 3, A: v[:3*in], B: v[3*in : 3*in+3*out], Scale: 0.5}
		},
		"dora": func(v []float32) adapter.Delta {
			m := make([]float32, out)
			for i := range m {
				m[i] = 5 + v[i]
			}
			return &adapter.LowRank{Name: "m", Out: out, In: in, R: 3, A: v[:3*in], B: v[3*in : 3*in+3*out], Scale: 0.5, Magnitude: m}
		},
	}
	for first, x := range kinds {
		for second, y := range kinds {
			a, b := x(randomValues(2, out*in, 0.93)), y(randomValues(3, out*in, 0.9))
			target := New(base, []Term{{Delta: a, Weight: 1}, {Delta: b, Weight: 2, Adapter: 1}}, &linear, DefaultParams(), 2)
			got, err := target.Interference(target.Term(0), target.Term(1))
			must(t, err)
			var product mat.Dense
			product.Mul(full(t, base, a).T(), full(t, base, b))
			want := mat.Norm(&product, 2)
			if math.Abs(got.AWOM-largestSingular(t, &product)) > 1e-2*want {
				t.Errorf("%s and %s: AWOM %v, want %v", first, second, got.AWOM, largestSingular(t, &product))
			}
			n := 0.0
			for _, v := range product.RawMatrix().Data {
				if v != 0 {
					n++
				}
			}
			if first != "low rank" && second != "low rank" && got.Products != n || got.Size != in*in {
				t.Errorf("%s and %s: %v products of %v, want %v", first, second, got.Products, got.Size, n)
			}
		}
	}
	if target := New(base, nil, &linear, DefaultParams(), 1); target.Term(0) != -1 {
		t.Error("a term that is not there")
	}
}

func full(t *testing.T, base checkpoint.Tensor, d adapter.Delta) *mat.Dense {
	t.Helper()
	w, err := base.Float32s(nil)
	must(t, err)
	rows := make([]float32, len(w))
	d.Rows(rows, w, 0, base.Shape[0])
	wide := make([]float64, len(rows))
	for i, v := range rows {
		wide[i] = float64(v)
	}
	return mat.NewDense(base.Shape[0], base.Shape[1], wide)
}

func largestSingular(t *testing.T, m mat.Matrix) float64 {
	t.Helper()
	var dec mat.SVD
	if !dec.Factorize(m, mat.SVDNone) {
		t.Fatal("no singular values")
	}
	return dec.Values(nil)[0]
}

// TestSampledProducts compares the count over some columns with that over all.
func TestSampledProducts(t *testing.T) {
	const out, in = 64, 4 * sampledColumns
	g := rand.New(rand.NewPCG(1, 1))
	values := func() []float32 {
		v := make([]float32, out*in)
		for i := range v {
			if g.Float64() < 0.02 {
				v[i] = 1
			}
		}
		return v
	}
	a, b := sparse("m", out, in, values()), sparse("m", out, in, values())
	base := weight(t, "m.weight", checkpoint.F32, out, in, make([]float32, out*in))
	target := New(base, []Term{{Delta: a, Weight: 1}, {Delta: b, Weight: 1, Adapter: 1}}, &linear, DefaultParams(), 2)
	var product mat.Dense
	product.Mul(full(t, base, a).T(), full(t, base, b))
	n := 0.0
	for _, v := range product.RawMatrix().Data {
		if v != 0 {
			n++
		}
	}
	if got := target.products(0, 1); math.Abs(got-n) > 0.05*n {
		t.Errorf("%v products by the sample, %v in all", got, n)
	}
}
