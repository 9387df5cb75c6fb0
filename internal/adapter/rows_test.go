package adapter

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// gauss returns n values of a stream that depends on seed.
func gauss(n int, seed uint64) []float32 {
	g := rand.New(rand.NewPCG(seed, 7))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(g.NormFloat64())
	}
	return v
}

// TestRows compares the rows of dense deltas with their formulas in float64, over widths that are no whole blocks.
func TestRows(t *testing.T) {
	for _, in := range []int{1, 31, 32, 70} {
		const out, r = 13, 3
		w, m := gauss(out*in, 1), gauss(out, 2)
		low := &LowRank{Name: "m", Out: out, In: in, R: r, A: gauss(r*in, 3), B: gauss(out*r, 4), Scale: 0.75}
		dora := *low
		dora.Magnitude = m
		s := NewSparse("m", out, in, slices.Compact([]int64{0, int64(in) - 1, 5 * int64(in)}))
		for k := range s.Values {
			s.Values[k] = float32(k) + 0.5
		}
		product := make([]float64, out*in)
		for i := range product {
			for p := range r {
				product[i] += 0.75 * float64(low.B[i/in*r+p]) * float64(low.A[p*in+i%in])
			}
		}
		sparse := make([]float64, out*in)
		for k, v := range s.Values {
			sparse[int(s.RowIdx[k])*in+int(s.ColIdx[k])] = float64(v)
		}
		for name, c := range map[string]struct {
			d    Delta
			want []float64
		}{
			"lora":       {low, product},
			"dora":       {&dora, directed(w, product, m, in)},
			"sparse":     {s, sparse},
			"shira-dora": {&ShiraDora{S: s, Magnitude: m}, directed(w, sparse, m, in)},
		} {
			got := make([]float32, out*in)
			c.d.Rows(got, w, 0, out)
			for i, want := range c.want {
				if math.Abs(float64(got[i])-want) > 1e-5*(1+math.Abs(want)) {
					t.Fatalf("%s, width %d: value %d is %v, want %v", name, in, i, got[i], want)
				}
			}
			norm := 0.0
			for _, v := range c.want {
				norm += v * v
			}
			if norm = math.Sqrt(norm); !strings.Contains(name, "dora") && math.Abs(c.d.Norm()-norm) > 1e-6*norm {
				t.Errorf("%s, width %d: norm %v, want %v", name, in, c.d.Norm(), norm)
			}
			parts := make([]float32, out*in)
			for first, n := range map[int]int{0: 1, 1: 4, 5: 8} {
				c.d.Rows(parts[first*in:(first+n)*in], w[first*in:(first+n)*in], first, n)
			}
			if !slices.Equal(got, parts) {
				t.Errorf("%s, width %d: blocks of rows differ from the whole", name, in)
			}
			sum := slices.Clone(w)
			AddTo(sum, w, c.d, 0.5)
			for i := range sum {
				if want := w[i] + float32(0.5*got[i]); sum[i] != want {
					t.Fatalf("%s, width %d: AddTo gives %v, want %v", name, in, sum[i], want)
				}
			}
		}
	}
}

// directed returns m⊙(w+d)/‖w+d‖ − w, row by row.
func directed(w []float32, d []float64, m []float32, in int) []float64 {
	out := make([]float64, len(d))
	for row := range m {
		sum := 0.0
		for i := row * in; i < (row+1)*in; i++ {
			sum += (float64(w[i]) + d[i]) * (float64(w[i]) + d[i])
		}
		for i := row * in; i < (row+1)*in; i++ {
			out[i] = float64(m[row])/math.Sqrt(sum)*(float64(w[i])+d[i]) - float64(w[i])
		}
	}
	return out
}

// TestUntrainedMagnitude starts DoRA from the norms of the base, which must change nothing at all, and adds one to a row
// of zeros.
func TestUntrainedMagnitude(t *testing.T) {
	const out, in, r = 9, 40, 2
	w := gauss(out*in, 1)
	clear(w[:in])
	d := &LowRank{Name: "m", Out: out, In: in, R: r, A: gauss(r*in, 3), B: make([]float32, out*r), Scale: 2}
	for row := range out {
		d.Magnitude = append(d.Magnitude, RowNorm(w[row*in:(row+1)*in], nil))
	}
	got := make([]float32, out*in)
	d.Rows(got, w, 0, out)
	for i, v := range got {
		if v != 0 {
			t.Fatalf("value %d is %v", i, v)
		}
	}
	d.Magnitude[0] = 1
	d.Rows(got[:in], w[:in], 0, 1)
	if !slices.Equal(got[:in], make([]float32, in)) {
		t.Errorf("a row without a direction has changed: %v", got[:in])
	}
}

func BenchmarkRows(b *testing.B) {
	const n, r = 4096, 32
	w := gauss(n*n, 1)
	d := &LowRank{Name: "m", Out: n, In: n, R: r, A: gauss(r*n, 2), B: gauss(n*r, 3), Scale: 2}
	for _, name := range []string{"lora", "dora"} {
		if name == "dora" {
			d.Magnitude = gauss(n, 4)
		}
		b.Run(name, func(b *testing.B) {
			const block = 64 // as many as a fusion takes at a time
			dst := make([]float32, block*n)
			b.SetBytes(4 * n * n)
			for b.Loop() {
				for first := 0; first < n; first += block {
					d.Rows(dst, w[first*n:(first+block)*n], first, block)
				}
			}
		})
	}
}
