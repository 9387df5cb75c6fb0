package nn

import (
	"math"
	"sync"

	"shira/internal/kernel"
)

// Magnitude trains the length of each row of a weight apart from its direction (DoRA, Liu et al. 2024, eq. 5): the weight is
// c ⊙ V with c = m/‖V‖ per row, V the weight with its other change. The norm is a constant of the backward pass (section 4.3).
// A row of norm zero has c = 1.
type Magnitude struct {
	Param // m, one value per output

	factors []float32 // c
	norms   []float32 // ‖V‖
	base    []float64 // Σ W² per row, without the entries that w.Sparse trains
}

// SetMagnitude trains w's row norms. values are where they start, nil for the norms that the weight has now. base holds all
// values of the weight without its changes, which may be more precise than w's own.
func (w *Weight) SetMagnitude(values, base []float32) *Magnitude {
	m := newMagnitude(w, base)
	w.Magnitude = m
	m.start(w, values, w.change())
	return m
}

func newMagnitude(w *Weight, base []float32) *Magnitude {
	m := &Magnitude{factors: make([]float32, w.Out), norms: make([]float32, w.Out), base: make([]float64, w.Out)}
	m.Name, m.Kind = w.Name+" magnitude", Vector
	for i := range m.base {
		for _, v := range base[i*w.In:][:w.In] {
			m.base[i] += float64(v) * float64(v)
		}
	}
	if s := w.Sparse; s != nil {
		for i := range m.base {
			for _, v := range s.Base[s.Ptr[i]:s.Ptr[i+1]] {
				m.base[i] -= float64(v) * float64(v)
			}
		}
	}
	return m
}

// change returns the factors that train w, or nil.
func (w *Weight) change() *LowRank {
	if len(w.LowRank) > 0 {
		return w.LowRank[0]
	}
	return nil
}

func (m *Magnitude) start(w *Weight, values []float32, a *LowRank) {
	m.measure(w, a)
	if m.Value = values; values == nil {
		m.Value = append([]float32{}, m.norms...)
	}
	m.scale()
}

// measure computes the norms of V = W + s·B·A, or with a nil of W with its sparse entries, from the products W·Aᵀ and A·Aᵀ:
// ‖w + s·b·A‖² = ‖w‖² + 2·(s·b)·(A·w) + (s·b)·A·Aᵀ·(s·b)ᵀ, without forming V.
func (m *Magnitude) measure(w *Weight, a *LowRank) {
	if a == nil {
		s := w.Sparse
		for i, sum := range m.base {
			if s != nil {
				for k := s.Ptr[i]; k < s.Ptr[i+1]; k++ {
					v := float64(s.Base[k] + s.Value[k])
					sum += v * v
				}
			}
			m.norms[i] = float32(math.Sqrt(max(0, sum)))
		}
		return
	}
	t := rowProducts.Get().(*rowProduct)
	defer rowProducts.Put(t)
	products := t.of(w, a)
	r := a.R
	for i, sum := range m.base {
		for j, v := range a.up.Data[i*r:][:r] {
			sum += 2 * float64(v) * float64(products.Blk(j / kernel.Block)[i*kernel.Block+j%kernel.Block])
		}
		m.norms[i] = float32(math.Sqrt(max(0, sum)))
	}
}

// rowProduct is working memory for products with the rows of A.
type rowProduct struct {
	rows, square, products []float32
	halves                 kernel.Halves
}

var rowProducts = sync.Pool{New: func() any { return new(rowProduct) }}

// of returns W·Aᵀ + s·B·A·Aᵀ/2, the rows of A in the place of tokens.
func (t *rowProduct) of(w *Weight, a *LowRank) kernel.Tensor {
	r, n := a.R, kernel.Blocks(a.R)
	rows := kernel.NewTensor(grow(&t.rows, n*w.In*kernel.Block), w.In)
	if r%kernel.Block > 0 {
		clear(rows.Data)
	}
	for j := range r {
		blk := rows.Blk(j / kernel.Block)
		for f, v := range a.down.Data[j*w.In:][:w.In] {
			blk[f*kernel.Block+j%kernel.Block] = v
		}
	}
	products := kernel.NewTensor(grow(&t.products, n*w.Out*kernel.Block), w.Out)
	if w.Half != nil {
		t.halves.Set(rows)
		kernel.MatMulHalf(w.Half, false, &t.halves, products, false)
	} else {
		kernel.MatMul(w.Data, false, rows, products, false)
	}
	square := kernel.NewTensor(grow(&t.square, n*r*kernel.Block), r)
	kernel.MatMul(a.down.Data, false, rows, square, false)
	for i := range square.Data {
		square.Data[i] /= 2
	}
	kernel.MatMul(a.up.Data, false, square, products, true)
	return products
}

// scale computes c from m and the norms.
func (m *Magnitude) scale() {
	for i, n := range m.norms {
		if m.factors[i] = 1; n > 0 {
			m.factors[i] = m.Value[i] / n
		}
	}
}

// gradient writes dm = Σ_t dy·v/‖V‖ for the gradient dy of y = c ⊙ v.
func (m *Magnitude) gradient(dy, v kernel.Tensor) {
	rowDots(dy, v, m.Grad)
	for i, n := range m.norms {
		if n > 0 {
			m.Grad[i] /= n
		} else {
			m.Grad[i] = 0
		}
	}
}

// gradientOfOutput is gradient where y is at hand, and not v: dm = Σ_t dy·y/m. It is 0 where m is.
func (m *Magnitude) gradientOfOutput(dy, y kernel.Tensor) {
	rowDots(dy, y, m.Grad)
	for i, v := range m.Value {
		if v != 0 && m.norms[i] > 0 {
			m.Grad[i] /= v
		} else {
			m.Grad[i] = 0
		}
	}
}

// rowDots writes Σ_t x[f,t]·y[f,t] to out[f].
func rowDots(x, y kernel.Tensor, out []float32) {
	const features = 16
	kernel.Parallel((len(out)+features-1)/features, func(part int) {
		for f := part * features; f < min((part+1)*features, len(out)); f++ {
			var s [4]float32
			for b := range x.N() {
				xb, yb := x.Blk(b)[f*kernel.Block:][:kernel.Block], y.Blk(b)[f*kernel.Block:][:kernel.Block]
				for t := 0; t < kernel.Block; t += 4 {
					s[0] += xb[t] * yb[t]
					s[1] += xb[t+1] * yb[t+1]
					s[2] += xb[t+2] * yb[t+2]
					s[3] += xb[t+3] * yb[t+3]
				}
			}
			out[f] = s[0] + s[1] + s[2] + s[3]
		}
	})
}

var ones = func() (r [kernel.Block]float32) {
	for t := range r {
		r[t] = 1
	}
	return r
}()

// scaleRows writes y[f,t] = c[f]·x[f,t]. y may be x.
func scaleRows(c []float32, x, y kernel.Tensor) {
	kernel.Parallel(x.N(), func(b int) { kernel.Norm(c, x.Blk(b), &ones, y.Blk(b)) })
}

// addScaledRows adds c[f]·x[f,t] to y[f,t].
func addScaledRows(c []float32, x, y kernel.Tensor) {
	var none [kernel.Block]float32
	kernel.Parallel(x.N(), func(b int) { kernel.NormBackward(c, x.Blk(b), x.Blk(b), &ones, &none, y.Blk(b)) })
}
