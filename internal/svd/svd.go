// Package svd finds the product of low rank that is nearest to a matrix which is read in blocks of rows, by a randomised
// singular value decomposition (Halko, Martinsson and Tropp, 2011, algorithms 4.4 and 5.1).
package svd

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"shira/internal/fault"
	"shira/internal/kernel"
)

const (
	oversampling = 10      // columns of the sketch beyond the rank
	powers       = 2       // times that the sketch is sharpened by the matrix and its transpose
	unit         = 16      // of the sketch's width
	keptValues   = 1 << 24 // a matrix of no more is read once and kept, 64 MiB; another one
	blockValues  = 1 << 20 // is read in blocks of so many
)

// Source is a matrix of shape (Rows, Cols). Read writes rows [first, first+n) to dst; it is called for all rows in order,
// where the matrix is large several times.
type Source struct {
	Rows, Cols int
	Read       func(dst []float32, first, n int) error
}

// Factors are a product B·A of rank R, near to a matrix D.
type Factors struct {
	A []float32 // (R, Cols)
	B []float32 // (Rows, R)

	Squares  float64   // ‖D‖²
	Rest     float64   // ‖D − B·A‖², measured, of which rounding the factors to float32 is a part
	Singular []float64 // the R largest singular values of D, about
}

// Truncate returns factors of rank r, the singular values shared evenly between them. The result is a function of the matrix, r
// and seed alone.
func Truncate(d Source, r int, seed uint64) (*Factors, error) {
	return truncate(d, r, seed, keptValues)
}

func truncate(d Source, r int, seed uint64, kept int) (*Factors, error) {
	if r < 1 || d.Rows < 1 || d.Cols < 1 {
		return nil, fault.New(fault.Internal, "", "a product of rank %d for a matrix of shape (%d, %d)", r, d.Rows, d.Cols)
	}
	k := (r + oversampling + unit - 1) / unit * unit
	s := sketch{Source: d, k: k, rows: d.Rows}
	if d.Rows > kept/d.Cols {
		s.rows = min(d.Rows, max(1, blockValues/d.Cols))
		s.again = true
	}
	block := blocks.Get().(*[]float32)
	defer blocks.Put(block)
	*block = slices.Grow((*block)[:0], s.rows*d.Cols)[:s.rows*d.Cols]
	s.block = *block
	q, err := s.basis(seed)
	if err != nil {
		return nil, err
	}
	c, err := s.transposed(q) // (Cols, k): the rows of QᵀD as columns
	if err != nil {
		return nil, err
	}
	f, err := s.factors(q, c, r)
	if err == nil {
		f.Rest, err = s.rest(f, r)
	}
	return f, err
}

// blocks are the memory of sketches that have been.
var blocks = sync.Pool{New: func() any { return new([]float32) }}

// sketch multiplies a matrix with ones of k columns.
type sketch struct {
	Source
	k, rows int // rows of a block
	block   []float32
	again   bool // it is read for every pass
	passes  int
	squares float64 // of the matrix, after the first pass
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
	s.passes++
	for first := 0; first < s.Rows; first += s.rows {
		n := min(s.rows, s.Rows-first)
		block := s.block[:n*s.Cols]
		if s.passes == 1 || s.again {
			if err := s.Read(block, first, n); err != nil {
				return err
			}
		}
		f(block, first, n)
	}
	return nil
}

// squares returns Σ v², each square exact in float64.
func squares(values []float32) float64 {
	var s [4]float64
	for ; len(values) >= 4; values = values[4:] {
		s[0] += float64(values[0]) * float64(values[0]) // exact: fusing it with the sum changes nothing
		s[1] += float64(values[1]) * float64(values[1])
		s[2] += float64(values[2]) * float64(values[2])
		s[3] += float64(values[3]) * float64(values[3])
	}
	for l, v := range values {
		s[l] += float64(v) * float64(v)
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

// times returns D·z, (Rows, k), of z (Cols, k).
func (s *sketch) times(z []float32) ([]float32, error) {
	y := make([]float32, s.Rows*s.k)
	err := s.each(func(block []float32, first, n int) {
		sums := make([]float64, parts(n))
		split(n, func(lo, rows int) {
			if s.passes == 1 {
				sums[lo/partRows] = squares(block[lo*s.Cols : (lo+rows)*s.Cols]) // while they come into the cache
			}
			strips(s.k, func(c, width int) {
				kernel.Gemm(rows, width, s.Cols, block[lo*s.Cols:], s.Cols, false, z[c:], s.k, y[(first+lo)*s.k+c:], s.k, false)
			})
		})
		for _, v := range sums {
			s.squares += v
		}
	})
	return y, err
}

// transposed returns Dᵀ·y, (Cols, k), of y (Rows, k).
func (s *sketch) transposed(y []float32) ([]float32, error) {
	z := make([]float32, s.Cols*s.k)
	err := s.each(func(block []float32, first, n int) {
		split(s.Cols, func(lo, cols int) {
			strips(s.k, func(c, width int) {
				kernel.Gemm(cols, width, n, block[lo:], s.Cols, true, y[first*s.k+c:], s.k, z[lo*s.k+c:], s.k, true)
			})
		})
	})
	return z, err
}

// rest returns ‖D − B·A‖². It is the last pass, for it spoils what is kept of the matrix.
func (s *sketch) rest(f *Factors, r int) (float64, error) {
	minus := make([]float32, len(f.B))
	for i, v := range f.B {
		minus[i] = -v
	}
	sum, whole := 0.0, s.Cols/unit*unit
	err := s.each(func(block []float32, first, n int) {
		sums := make([]float64, parts(n))
		split(n, func(lo, rows int) {
			part, b := block[lo*s.Cols:], minus[(first+lo)*r:]
			strips(whole, func(c, width int) {
				kernel.Gemm(rows, width, r, b, r, false, f.A[c:], s.Cols, part[c:], s.Cols, true)
			})
			for i := range rows {
				for c := whole; c < s.Cols; c++ {
					for j, v := range b[i*r : (i+1)*r] {
						part[i*s.Cols+c] += float32(v * f.A[j*s.Cols+c])
					}
				}
			}
			sums[lo/partRows] = squares(part[:rows*s.Cols])
		})
		for _, v := range sums {
			sum += v
		}
	})
	return sum, err
}

// partRows is how many rows a thread takes at a time.
const partRows = 256

func parts(n int) int { return (n + partRows - 1) / partRows }

// split calls f with parts of n rows, on all threads.
func split(n int, f func(lo, rows int)) {
	kernel.Parallel(parts(n), func(i int) { f(i*partRows, min(partRows, n-i*partRows)) })
}

// strips calls f with parts of k columns that are as wide as products take them.
func strips(k int, f func(c, width int)) {
	for c := 0; c < k; {
		width := min(2*unit, k-c)
		f(c, width)
		c += width
	}
}

// factors returns the factors of rank r of q·cᵀ. With c = p·t, p orthonormal, and t = U·Σ·Vᵀ that is (q·V)·Σ·(p·U)ᵀ.
func (s *sketch) factors(q, c []float32, r int) (*Factors, error) {
	k := s.k
	p := append([]float32(nil), c...)
	orthonormalize(p, s.Cols, k, 2)
	t := mat.NewDense(k, k, gram(columns(p, s.Cols, k), columns(c, s.Cols, k))) // pᵀ·c
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
	rotate(q, s.Rows, k, &v, f.Singular, func(row int, x []float32) { copy(f.B[row*r:(row+1)*r], x) })
	rotate(p, s.Cols, k, &u, f.Singular, func(row int, x []float32) {
		for j, v := range x {
			f.A[j*s.Cols+row] = v
		}
	})
	return f, nil
}

// rotate calls set with the rows of x·w·√Σ, x (n, k) and w (k, k).
func rotate(x []float32, n, k int, w *mat.Dense, sigma []float64, set func(row int, values []float32)) {
	scaled := make([]float32, k*k)
	for i := range k {
		for j, s := range sigma {
			scaled[i*k+j] = float32(w.At(i, j) * math.Sqrt(s))
		}
	}
	split(n, func(lo, rows int) {
		y := make([]float32, rows*k)
		strips(k, func(c, width int) {
			if c < len(sigma) {
				kernel.Gemm(rows, width, k, x[lo*k:], k, false, scaled[c:], k, y[c:], k, false)
			}
		})
		for row := range rows {
			set(lo+row, y[row*k:row*k+len(sigma)])
		}
	})
}
