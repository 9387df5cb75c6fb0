// Package svd finds the product of low rank that is nearest to a matrix which is read in blocks of rows, by a randomised
// singular value decomposition (Halko, Martinsson and Tropp, 2011, algorithms 4.4 and 5.1).
package svd

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"shira/internal/fault"
	"shira/internal/kernel"
)

const (
	oversampling = 10 // columns of the sketch beyond the rank
	powers       = 2  // times that the sketch is sharpened by the matrix and its transpose
	unit         = 16 // of a product's width
	blockValues  = 1 << 20
)

// Source is a matrix of shape (Rows, Cols). Read writes rows [first, first+n) to dst; it is called for all rows in order,
// several times.
type Source struct {
	Rows, Cols int
	Read       func(dst []float32, first, n int) error
}

// Factors are a product B·A of rank R, near to a matrix D.
type Factors struct {
	A []float32 // (R, Cols)
	B []float32 // (Rows, R)

	Squares  float64   // ‖D‖²
	Singular []float64 // the R largest singular values of D, about
}

// Error returns ‖D − B·A‖², up to rounding.
func (f *Factors) Error() float64 {
	rest := f.Squares
	for _, s := range f.Singular {
		rest -= s * s
	}
	return math.Max(rest, 0)
}

// Truncate returns factors of rank r, the singular values shared evenly between them. D is read six times. The result is a
// function of the matrix, r and seed alone.
func Truncate(d Source, r int, seed uint64) (*Factors, error) {
	if r < 1 || d.Rows < 1 || d.Cols < 1 {
		return nil, fault.New(fault.Internal, "", "a product of rank %d for a matrix of shape (%d, %d)", r, d.Rows, d.Cols)
	}
	k := (r + oversampling + unit - 1) / unit * unit
	s := sketch{Source: d, k: k, rows: min(d.Rows, max(1, blockValues/d.Cols))}
	s.block = make([]float32, s.rows*d.Cols)
	q, err := s.basis(seed)
	if err != nil {
		return nil, err
	}
	c, err := s.transposed(q) // (Cols, k): the rows of QᵀD as columns
	if err != nil {
		return nil, err
	}
	return s.factors(q, c, r)
}

// sketch multiplies a matrix with ones of k columns.
type sketch struct {
	Source
	k, rows int // rows of a block
	block   []float32
	squares float64 // of the matrix, after a first pass
}

// basis returns k orthonormal columns, (Rows, k), whose span holds most of the matrix's.
func (s *sketch) basis(seed uint64) ([]float32, error) {
	g := rand.New(rand.NewPCG(seed, 0x5bd1e995))
	z := make([]float32, s.Cols*s.k)
	for i := range z {
		z[i] = float32(g.NormFloat64())
	}
	y, err := s.times(z)
	for range powers {
		if err != nil {
			return nil, err
		}
		orthonormalize(y, s.Rows, s.k, 1) // only to keep its columns apart
		if z, err = s.transposed(y); err != nil {
			return nil, err
		}
		orthonormalize(z, s.Cols, s.k, 1)
		y, err = s.times(z)
	}
	if err == nil {
		orthonormalize(y, s.Rows, s.k, 2)
	}
	return y, err
}

// each calls f with every block of rows.
func (s *sketch) each(f func(block []float32, first, n int)) error {
	for first := 0; first < s.Rows; first += s.rows {
		n := min(s.rows, s.Rows-first)
		block := s.block[:n*s.Cols]
		if err := s.Read(block, first, n); err != nil {
			return err
		}
		f(block, first, n)
	}
	return nil
}

// times returns D·z, (Rows, k), of z (Cols, k).
func (s *sketch) times(z []float32) ([]float32, error) {
	y := make([]float32, s.Rows*s.k)
	s.squares = 0
	err := s.each(func(block []float32, first, n int) {
		for _, v := range block {
			s.squares += float64(v) * float64(v) // exact: fusing it with the sum changes nothing
		}
		split(n, func(lo, rows int) {
			for c := 0; c < s.k; c += unit {
				kernel.Gemm(rows, unit, s.Cols, block[lo*s.Cols:], s.Cols, false, z[c:], s.k, y[(first+lo)*s.k+c:], s.k, false)
			}
		})
	})
	return y, err
}

// transposed returns Dᵀ·y, (Cols, k), of y (Rows, k).
func (s *sketch) transposed(y []float32) ([]float32, error) {
	z := make([]float32, s.Cols*s.k)
	err := s.each(func(block []float32, first, n int) {
		split(s.Cols, func(lo, cols int) {
			for c := 0; c < s.k; c += unit {
				kernel.Gemm(cols, unit, n, block[lo:], s.Cols, true, y[first*s.k+c:], s.k, z[lo*s.k+c:], s.k, true)
			}
		})
	})
	return z, err
}

// split calls f with parts of n rows, on all threads.
func split(n int, f func(lo, rows int)) {
	const part = 256
	kernel.Parallel((n+part-1)/part, func(i int) { f(i*part, min(part, n-i*part)) })
}

// orthonormalize makes the k columns of x, (n, k), orthonormal, by Gram and Schmidt's method in float64, which taken twice
// loses nothing to rounding. A column that depends on those before it becomes zero.
func orthonormalize(x []float32, n, k, times int) {
	cols := make([][]float64, k)
	kernel.Parallel(k, func(j int) {
		cols[j] = make([]float64, n)
		for i := range n {
			cols[j][i] = float64(x[i*k+j])
		}
	})
	for j, c := range cols {
		before := norm(c)
		for range times {
			// The projections of one column on all before it, side by side, then what they leave: both on all threads.
			d := make([]float64, j)
			kernel.Parallel(j, func(i int) { d[i] = dot(c, cols[i]) })
			split(n, func(lo, rows int) {
				for i, done := range cols[:j] {
					if d[i] != 0 {
						subtract(c[lo:lo+rows], d[i], done[lo:lo+rows])
					}
				}
			})
		}
		scale := 0.0
		if after := norm(c); after > 1e-6*before { // what is left of float32 values is more than their rounding
			scale = 1 / after
		}
		for i := range c {
			c[i] *= scale
		}
	}
	kernel.Parallel(k, func(j int) {
		for i, v := range cols[j] {
			x[i*k+j] = float32(v)
		}
	})
}

// dot returns Σ a·b, in four chains.
func dot(a, b []float64) float64 {
	var s [4]float64
	b = b[:len(a)]
	n := len(a) &^ 3
	for i := 0; i < n; i += 4 {
		s[0] += float64(a[i] * b[i])
		s[1] += float64(a[i+1] * b[i+1])
		s[2] += float64(a[i+2] * b[i+2])
		s[3] += float64(a[i+3] * b[i+3])
	}
	for i := n; i < len(a); i++ {
		s[0] += float64(a[i] * b[i])
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

// subtract takes d·b from a.
func subtract(a []float64, d float64, b []float64) {
	b = b[:len(a)]
	for i, v := range b {
		a[i] -= float64(d * v)
	}
}

func norm(a []float64) float64 { return math.Sqrt(dot(a, a)) }

// factors returns the factors of rank r of q·cᵀ. With c = p·t, p orthonormal, and t = U·Σ·Vᵀ that is (q·V)·Σ·(p·U)ᵀ.
func (s *sketch) factors(q, c []float32, r int) (*Factors, error) {
	k := s.k
	p := append([]float32(nil), c...)
	orthonormalize(p, s.Cols, k, 2)
	t := mat.NewDense(k, k, nil) // pᵀ·c
	kernel.Parallel(k, func(i int) {
		for j := range k {
			sum := 0.0
			for row := range s.Cols {
				sum += float64(p[row*k+i]) * float64(c[row*k+j])
			}
			t.Set(i, j, sum)
		}
	})
	var dec mat.SVD
	if !dec.Factorize(t, mat.SVDFull) {
		return nil, fault.New(fault.Numerical, "", "the singular values of a difference cannot be found")
	}
	var u, v mat.Dense
	dec.UTo(&u)
	dec.VTo(&v)
	values := dec.Values(nil)
	f := &Factors{A: make([]float32, r*s.Cols), B: make([]float32, s.Rows*r), Squares: s.squares}
	f.Singular = values[:min(r, k)]
	rotate(q, s.Rows, k, &v, f.Singular, func(row, j int, x float32) { f.B[row*r+j] = x })
	rotate(p, s.Cols, k, &u, f.Singular, func(row, j int, x float32) { f.A[j*s.Cols+row] = x })
	return f, nil
}

// rotate sets the values of x·w·√Σ, x (n, k) and w (k, k).
func rotate(x []float32, n, k int, w *mat.Dense, sigma []float64, set func(row, j int, v float32)) {
	split(n, func(lo, rows int) {
		for row := lo; row < lo+rows; row++ {
			for j, s := range sigma {
				sum := 0.0
				for i, v := range x[row*k : (row+1)*k] {
					sum += float64(float64(v) * w.At(i, j))
				}
				set(row, j, float32(sum*math.Sqrt(s)))
			}
		}
	})
}
