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
	basis := func(n int) []float32 {
		x := make([]float32, n*len(sigma))
		for i := range x {
			x[i] = float32(g.NormFloat64())
		}
		orthonormalize(x, n, len(sigma), 2)
		return x
	}
	u, v := basis(rows), basis(cols)
	d := make([]float32, rows*cols)
	for i := range rows {
		for j := range cols {
			sum := 0.0
			for k, s := range sigma {
				sum += s * float64(u[i*len(sigma)+k]) * float64(v[j*len(sigma)+k])
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
			if math.Abs(got-want) > 1e-4*math.Max(total, 1e-9) || math.Abs(f.Error()-got) > 1e-4*math.Max(total, 1e-9) {
				t.Errorf("‖D − BA‖² is %v, said to be %v, want %v", got, f.Error(), want)
			}
			again, err := Truncate(source(d, c.rows, c.cols), c.r, 7)
			if err != nil || !slices.Equal(again.A, f.A) || !slices.Equal(again.B, f.B) {
				t.Errorf("not reproducible: %v", err)
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
	calls := 0
	for limit := range 6 {
		calls = 0
		_, err := Truncate(Source{10, 10, func([]float32, int, int) error {
			if calls++; calls > limit {
				return want
			}
			return nil
		}}, 2, 1)
		if !errors.Is(err, want) {
			t.Errorf("failing at read %d: %v", limit+1, err)
		}
	}
	if _, err := Truncate(Source{}, 0, 1); err == nil {
		t.Error("rank 0")
	}
}
