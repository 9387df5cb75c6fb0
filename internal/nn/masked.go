package nn

import "shira/internal/kernel"

// Masked trains the entries of a weight's mask as those of a DoRA weight: W' = W + M ⊙ (c ⊙ (W + s·B·A) − W), SHiRA-DoRA in its
// first form. The weight holds W', so that products do not know of it. Gradients reach A, B and m through the masked
// entries only, whose own gradients are sampled as SHiRA's are; c = m/‖W + s·B·A‖ is that of the whole row.
type Masked struct {
	*LowRank
	*Magnitude
	sparse *Sparse

	v    []float32 // (W + s·B·A) at the entries
	a, b []float32 // A transposed and s·B, padded to blocks of components
}

// NewMasked makes w train so, from a, which has its values and no transform, gate or dropout. The rest is as for NewSparse,
// but that values are zero at first, and then those that follow from the parameters.
func NewMasked(w *Weight, base []float32, rows, cols []int32, values []float32, a *LowRank) *Masked {
	s := NewSparse(w, base, rows, cols, values)
	w.Sparse = nil
	w.Add(a)
	w.LowRank = nil
	m := &Masked{LowRank: a, Magnitude: newMagnitude(w, base), sparse: s, v: make([]float32, len(cols))}
	m.Magnitude.start(w, nil, a)
	s.Grad = make([]float32, len(cols))
	w.Sparse, w.Masked = s, m
	w.Sync()
	return m
}

func (m *Masked) params() []*Param { return []*Param{&m.A, &m.B, &m.Magnitude.Param} }

// sync is Weight.Sync. The norms are taken while the weight's memory holds W.
func (m *Masked) sync(w *Weight) {
	s := m.sparse
	clear(s.Value)
	s.write(w)
	m.LowRank.sync()
	m.measure(w, m.LowRank)
	m.apply(w)
}

// apply computes the entries' values with the norms as they are, and writes them to the weight.
func (m *Masked) apply(w *Weight) {
	s := m.sparse
	m.scale()
	x, dy := m.tensors(w)
	kernel.Sddmm(s.Ptr, s.Cols, dy, x, m.v)
	for i, c := range m.factors {
		for k := s.Ptr[i]; k < s.Ptr[i+1]; k++ {
			m.v[k] += s.Base[k]
			s.Value[k] = c*m.v[k] - s.Base[k]
		}
	}
	s.write(w)
}

// tensors returns A and s·B with components in the place of tokens: B·A at an entry is a sampled product.
func (m *Masked) tensors(w *Weight) (a, b kernel.Tensor) {
	r, n := m.R, kernel.Blocks(m.R)
	a = kernel.NewTensor(grow(&m.a, n*w.In*kernel.Block), w.In)
	b = kernel.NewTensor(grow(&m.b, n*w.Out*kernel.Block), w.Out)
	for j := range n * kernel.Block {
		ab, bb, t := a.Blk(j/kernel.Block), b.Blk(j/kernel.Block), j%kernel.Block
		for f := range w.In {
			if ab[f*kernel.Block+t] = 0; j < r {
				ab[f*kernel.Block+t] = m.down.Data[j*w.In+f]
			}
		}
		for f := range w.Out {
			if bb[f*kernel.Block+t] = 0; j < r {
				bb[f*kernel.Block+t] = m.up.Data[f*r+j]
			}
		}
	}
	return a, b
}

// backward turns the entries' gradients into those of A, B and m.
func (m *Masked) backward(w *Weight) {
	s, r := m.sparse, m.R
	a, b := m.tensors(w)
	da := borrow(len(a.Data))
	defer spare.Put(da)
	clear(*da)
	at := kernel.NewTensor(*da, w.In)
	clear(m.B.Grad)
	for i, c := range m.factors {
		var dm float32
		for k := s.Ptr[i]; k < s.Ptr[i+1]; k++ {
			dm += s.Grad[k] * m.v[k]
			g, col := c*s.Grad[k], int(s.Cols[k])
			for n := range a.N() {
				av := (*[kernel.Block]float32)(a.Blk(n)[col*kernel.Block:])
				bv := (*[kernel.Block]float32)(b.Blk(n)[i*kernel.Block:])
				dav := (*[kernel.Block]float32)(at.Blk(n)[col*kernel.Block:])
				for t := range dav {
					dav[t] += g * bv[t]
				}
				dbv := m.B.Grad[i*r+n*kernel.Block:]
				for t := range min(kernel.Block, r-n*kernel.Block) {
					dbv[t] += m.LowRank.Scale * g * av[t]
				}
			}
		}
		if m.Magnitude.Grad[i] = 0; m.norms[i] > 0 {
			m.Magnitude.Grad[i] = dm / m.norms[i]
		}
	}
	for j := range r {
		blk := at.Blk(j / kernel.Block)
		for f := range w.In {
			m.A.Grad[j*w.In+f] = blk[f*kernel.Block+j%kernel.Block]
		}
	}
}
