package svd

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// matrix returns a matrix with the given singular values.
func matrix(rows, cols int, sigma []float64) []float32 {
	g := rand.New(rand.NewPCG(1, 2))
	k := (len(sigma) + unit - 1) / unit * unit
	basis := func(n int) []float32 {
		x := make([]float32, n*k)
		for i := range x {
			x[i] = float32(g.NormFloat64())
		}
		orthonormalize(x, n, k, 2)
		return x
	}
	u, v := basis(rows), basis(cols)
	d := make([]float32, rows*cols)
	for i := range rows {
		for j := range cols {
			sum := 0.0
			for l, s := range sigma {
				sum += s * float64(u[i*k+l]) * float64(v[j*k+l])
			}
			d[i*cols+j] = float32(sum)
		}
	}
	return d
}

func source(d []float32, rows, cols int) Source {
	return Source{rows, cols, func(dst []float32, first, n int) error {
		copy(dst, d[first*cols:(first+n)*cols])
		return nil
	}}
}

func distance(d []float32, f *Factors, rows, cols, r int) float64 {
	sum := 0.0
	for i := range rows {
		for j := range cols {
			v := float64(d[i*cols+j])
			for k := range r {
				v -= float64(f.B[i*r+k]) * float64(f.A[k*cols+j])
			}
			sum += v * v
		}
	}
	return sum
}

func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		name       string
		rows, cols int
		sigma      []float64
		r          int
	}{
		{"exact", 90, 70, []float64{3, 2, 1}, 3},
		{"more rank than there is", 40, 50, []float64{3, 2}, 7},
		{"truncated", 130, 61, []float64{9, 7, 5, 3, 1, 0.5, 0.1}, 3},
		{"more rank than rows", 5, 33, []float64{2, 1, 0.5, 0.2, 0.1}, 8},
		{"one column", 20, 1, []float64{4}, 1},
		{"zero", 20, 30, nil, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := matrix(c.rows, c.cols, c.sigma)
			f, err := Truncate(source(d, c.rows, c.cols), c.r, 7)
			if err != nil {
				t.Fatal(err)
			}
			want, total := 0.0, 0.0
			for i, s := range c.sigma {
				total += s * s
				if i >= c.r {
					want += s * s
				} else if math.Abs(f.Singular[i]-s) > 1e-4*s {
					t.Errorf("singular value %d is %v, want %v", i, f.Singular[i], s)
				}
			}
			if math.Abs(f.Squares-total) > 1e-5*total {
				t.Errorf("‖D‖² is %v, want %v", f.Squares, total)
			}
			got := distance(d, f, c.rows, c.cols, c.r)
			if math.Abs(got-want) > 1e-4*math.Max(total, 1e-9) || math.Abs(f.Rest-got) > 1e-9*total+1e-4*got {
				t.Errorf("‖D − BA‖² is %v, said to be %v, want %v", got, f.Rest, want)
			}
			again, err := Truncate(source(d, c.rows, c.cols), c.r, 7)
			if err != nil || !slices.Equal(again.A, f.A) || !slices.Equal(again.B, f.B) {
				t.Errorf("not reproducible: %v", err)
			}
			inBlocks, err := truncate(source(d, c.rows, c.cols), c.r, 7, 0)
			if err != nil || math.Abs(inBlocks.Rest-f.Rest) > 1e-9*total+1e-4*got {
				t.Errorf("of a matrix that is not kept ‖D − BA‖² is %v, not %v; %v", inBlocks.Rest, f.Rest, err)
			}
		})
	}
}

// TestNoise compares with the best approximation of a matrix without a gap in its spectrum.
func TestNoise(t *testing.T) {
	const rows, cols, r = 120, 200, 10
	g := rand.New(rand.NewPCG(5, 6))
	d := make([]float32, rows*cols)
	wide := make([]float64, len(d))
	for i := range d {
		d[i] = float32(g.NormFloat64())
		wide[i] = float64(d[i])
	}
	var dec mat.SVD
	if !dec.Factorize(mat.NewDense(rows, cols, wide), mat.SVDNone) {
		t.Fatal("no singular values")
	}
	best := 0.0
	for _, s := range dec.Values(nil)[r:] {
		best += s * s
	}
	f, err := Truncate(source(d, rows, cols), r, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := distance(d, f, rows, cols, r); got > 1.02*best || got < best*(1-1e-6) {
		t.Errorf("‖D − BA‖² is %v, the least is %v", got, best)
	}
}

func TestReadError(t *testing.T) {
	want := errors.New("gone")
	for _, c := range []struct{ kept, reads int }{{100, 1}, {99, 7}} {
		calls := 0
		failing := func(limit int) error {
			calls = 0
			_, err := truncate(Source{10, 10, func([]float32, int, int) error {
				if calls++; calls > limit {
					return want
				}
				return nil
			}}, 2, 1, c.kept)
			return err
		}
		for limit := range c.reads {
			if err := failing(limit); !errors.Is(err, want) || calls != limit+1 {
				t.Errorf("failing at read %d: %v after %d", limit+1, err, calls)
			}
		}
		if err := failing(c.reads); err != nil {
			t.Errorf("read %d times: %v", calls, err)
		}
	}
	if _, err := Truncate(Source{}, 0, 1); err == nil {
		t.Error("rank 0")
	}
}

// TestOrthonormalize: what is independent becomes orthonormal however near to dependent it is, what is not becomes zero.
func TestOrthonormalize(t *testing.T) {
	const n, k, independent = 200, 48, 20
	g := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, n*k)
	for i := range n {
		for j := range independent {
			x[i*k+j] = float32(g.NormFloat64())
			if j > 0 { // almost the one before it
				x[i*k+j] = x[i*k+j-1] + 1e-3*x[i*k+j]
			}
		}
		for j := independent; j < k; j++ {
			x[i*k+j] = float32(j) * x[i*k+j%independent]
		}
	}
	orthonormalize(x, n, k, 2)
	c := columns(x, n, k)
	for i, v := range gram(c, c) {
		want := 0.0
		if i/k == i%k && i/k < independent {
			want = 1
		}
		if math.Abs(v-want) > 1e-6 {
			t.Errorf("columns %d and %d have the product %v", i/k, i%k, v)
		}
	}
}
