package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Lengths of every kind: radices alone and joined, primes that are a radix, Bluestein's, one and two.
var transformLengths = []int{1, 2, 3, 4, 5, 7, 12, 16, 24, 40, 64, 67, 96, 134, 172, 257, 288, 341, 1009}

func randomColumns(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// apart is the largest difference of a and b, relative to the norm of b divided by its root.
func apart(a []float32, b []float64) float64 {
	var most, norm float64
	for i, v := range b {
		most = max(most, math.Abs(float64(a[i])-v))
		norm += v * v
	}
	return most / math.Sqrt(norm/float64(len(b))+1e-30)
}

func TestDCTAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range transformLengths {
		for _, count := range []int{1, 5, 32, 37} {
			x := randomColumns(rng, n*count)
			want, back := make([]float64, n*count), make([]float64, n*count)
			for k := range n {
				c := math.Sqrt(2 / float64(n))
				if k == 0 {
					c = math.Sqrt(1 / float64(n))
				}
				for i := range n {
					w := c * math.Cos(math.Pi*(float64(i)+0.5)*float64(k)/float64(n))
					for v := range count {
						want[v*n+k] += w * float64(x[v*n+i])
						back[v*n+i] += w * float64(x[v*n+k])
					}
				}
			}
			y := make([]float32, n*count)
			DCT(n, count, false, Columns{x, 1, n}, Columns{y, 1, n})
			if e := apart(y, want); e > 2e-6 {
				t.Errorf("n %d, %d vectors: off by %.3g", n, count, e)
			}
			DCT(n, count, true, Columns{x, 1, n}, Columns{y, 1, n})
			if e := apart(y, back); e > 2e-6 {
				t.Errorf("n %d, %d vectors, inverse: off by %.3g", n, count, e)
			}
			// Vectors side by side, in place.
			side := make([]float32, n*count)
			for v := range count {
				for i := range n {
					side[i*count+v] = x[v*n+i]
				}
			}
			DCT(n, count, true, Columns{side, count, 1}, Columns{side, count, 1})
			for v := range count {
				for i := range n {
					if side[i*count+v] != y[v*n+i] {
						t.Fatalf("n %d: other layout, other value", n)
					}
				}
			}
		}
	}
}

func TestFFTAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, n := range transformLengths {
		for _, inverse := range []bool{false, true} {
			const count = 19
			have, want := n/2+1, n
			re, im := randomColumns(rng, have*count), randomColumns(rng, have*count)
			wre, wim := make([]float64, n*count), make([]float64, n*count)
			sign := -1.0
			if inverse {
				sign = 1
			}
			for j := range n {
				for k := range have {
					sin, cos := math.Sincos(sign * 2 * math.Pi * float64(j*k%n) / float64(n))
					cos, sin = cos/math.Sqrt(float64(n)), sin/math.Sqrt(float64(n))
					for v := range count {
						a, b := float64(re[v*have+k]), float64(im[v*have+k])
						wre[v*n+j] += a*cos - b*sin
						wim[v*n+j] += a*sin + b*cos
					}
				}
			}
			yre, yim := make([]float32, n*count), make([]float32, n*count)
			FFT(n, count, inverse, Columns{re, 1, have}, Columns{im, 1, have}, have, Columns{yre, 1, n}, Columns{yim, 1, n}, want)
			if e := max(apart(yre, wre), apart(yim, wim)); e > 3e-6 {
				t.Errorf("n %d, inverse %v: off by %.3g", n, inverse, e)
			}
			fewer := make([]float32, have*count)
			rest := make([]float32, have*count)
			FFT(n, count, inverse, Columns{re, 1, have}, Columns{im, 1, have}, have, Columns{fewer, 1, have}, Columns{rest, 1, have}, have)
			for v := range count {
				if !slices.Equal(fewer[v*have:][:have], yre[v*n:][:have]) {
					t.Fatalf("n %d: the first %d values are others", n, have)
				}
			}
		}
	}
}

func TestTransformsDoNotDependOnThreads(t *testing.T) {
	defer SetThreads(Threads())
	rng := rand.New(rand.NewPCG(3, 1))
	x := randomColumns(rng, 96*40)
	var want []float32
	for _, threads := range []int{1, 2, 5} {
		SetThreads(threads)
		y := make([]float32, len(x))
		DCT(96, 40, false, Columns{x, 1, 96}, Columns{y, 1, 96})
		if want == nil {
			want = y
		}
		if !slices.Equal(y, want) {
			t.Errorf("%d threads give other bits", threads)
		}
	}
}

func BenchmarkDCT(b *testing.B) {
	for _, n := range []int{768, 2048, 4096, 11008} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			const count = 32
			x := make([]float32, n*count)
			y := make([]float32, n*count)
			for b.Loop() {
				DCT(n, count, false, Columns{x, 1, n}, Columns{y, 1, n})
			}
		})
	}
}
