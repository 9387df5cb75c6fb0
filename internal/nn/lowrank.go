package nn

import (
	"sync"

	"shira/internal/kernel"
)

// LowRank is a change of a weight by two thin factors, which is computed beside it: y += s·F⁻¹(B·(g ⊙ z)), z = A·F(x). Without
// transform and gate it is LoRA (Hu et al. 2021, section 4.1), with them FouRA (Borse et al. 2024).
type LowRank struct {
	R         int
	Scale     float32 // s
	Transform Transform
	Gate      *Gate   // g; nil for 1
	Dropout   float64 // share of the values of x that the change does not see in training
	Seed      uint64  // of the dropout

	// A is (R, In) and B is (Out, R); with DFT they are (R, In/2+1, 2) and (Out/2+1, R, 2), real and imaginary parts last.
	A, B Param

	down, up Weight // A·F and s·F⁻¹·B, what products read
	z, gated buffer // A·F(x) and g ⊙ that, where they are kept
	stream   uint64 // of the dropout's random numbers
}

// Transform is the basis in which a LowRank holds its factors.
type Transform int

// The transforms. They are orthonormal and linear in each token, F on the input features and F⁻¹ on the output features, so
// that A·F(x) = (A·F)·x and F⁻¹(B·u) = (F⁻¹·B)·u: the factors are transformed, once for each step, and not the tokens.
const (
	NoTransform Transform = iota
	// DCT is the cosine transform.
	DCT
	// DFT is the Fourier transform of real values, of which half are kept: factors, and the components between them, are
	// complex, and each component has one gate.
	DFT
)

// Factors returns the number of values of the factors of rank r.
func (t Transform) Factors(r, out, in int) (a, b int) {
	if t == DFT {
		return r * (in/2 + 1) * 2, (out/2 + 1) * r * 2
	}
	return r * in, out * r
}

// Rows returns the number of features between the factors: with DFT the real parts come first, then the imaginary ones.
func (t Transform) Rows(r int) int {
	if t == DFT {
		return 2 * r
	}
	return r
}

// Add makes a, which has its values, a change of w.
func (w *Weight) Add(a *LowRank) {
	rows := a.Transform.Rows(a.R)
	a.stream = streamOf(a.Seed, w.Name)
	a.A.Kind, a.B.Kind = FactorA, FactorB
	a.down = Weight{Name: w.Name, Out: rows, In: w.In, Data: a.A.Value}
	if a.Transform != NoTransform {
		a.down.Data = make([]float32, rows*w.In)
	}
	a.up = Weight{Name: w.Name, Out: w.Out, In: rows, Data: make([]float32, w.Out*rows)}
	if w.Half != nil {
		a.down.Half, a.up.Half = make([]uint16, rows*w.In), make([]uint16, w.Out*rows)
	}
	w.LowRank = append(w.LowRank, a)
	a.sync()
}

// sync makes what products read from A and B.
func (a *LowRank) sync() {
	down, up := a.down.Data, a.up.Data
	in, out, r := a.down.In, a.up.Out, a.R
	switch a.Transform {
	case NoTransform:
		copy(up, a.B.Value) // down is A
	case DCT: // F is orthonormal: the rows of A·F, like the columns of F⁻¹·B, are inverse transforms
		kernel.DCT(in, r, true, vectors(a.A.Value, in), vectors(down, in))
		kernel.DCT(out, r, true, columns(a.B.Value, r), columns(up, r))
	case DFT:
		// z[k] = Σ_f A[k,f]·X[f] with X[f] = 1/√n·Σ_j x[j]·e^{−2πi·fj/n}: x is multiplied by the transform of A's row.
		re, im := complexVectors(a.A.Value, in/2+1)
		kernel.FFT(in, r, false, re, im, in/2+1, vectors(down, in), vectors(down[r*in:], in), in)
		// y[j] = 1/√m·Σ_f w_f·Re(B[f,k]·z[k]·e^{2πi·fj/m}): likewise, Re(b·z) being Re(b)·Re(z) − Im(b)·Im(z).
		b := borrow(len(a.B.Value))
		defer spare.Put(b)
		copy(*b, a.B.Value)
		weighFrequencies(*b, out, r)
		re, im = complexColumns(*b, r)
		kernel.FFT(out, r, true, re, im, out/2+1, columns(up, 2*r), columns(up[r:], 2*r), out)
		negateSecond(up, r)
	}
	for i := range up {
		up[i] *= a.Scale
	}
	if a.down.Half != nil {
		kernel.RoundHalves(a.down.Half, down)
		kernel.RoundHalves(a.up.Half, up)
	}
}

// backward turns the gradients of down and of up/s into those of A and B. It overwrites up's.
func (a *LowRank) backward(ddown, dup []float32) {
	in, out, r := a.down.In, a.up.Out, a.R
	for i := range dup {
		dup[i] *= a.Scale
	}
	switch a.Transform {
	case NoTransform:
		copy(a.A.Grad, ddown)
		copy(a.B.Grad, dup)
	case DCT:
		kernel.DCT(in, r, false, vectors(ddown, in), vectors(a.A.Grad, in))
		kernel.DCT(out, r, false, columns(dup, r), columns(a.B.Grad, r))
	case DFT:
		re, im := complexVectors(a.A.Grad, in/2+1)
		kernel.FFT(in, r, true, vectors(ddown, in), vectors(ddown[r*in:], in), in, re, im, in/2+1)
		negateSecond(dup, r)
		re, im = complexColumns(a.B.Grad, r)
		kernel.FFT(out, r, false, columns(dup, 2*r), columns(dup[r:], 2*r), out, re, im, out/2+1)
		weighFrequencies(a.B.Grad, out, r)
	}
}

// vectors views the rows of a matrix of n columns.
func vectors(m []float32, n int) kernel.Columns { return kernel.Columns{Data: m, Step: 1, Next: n} }

// columns views the columns of a matrix of n columns.
func columns(m []float32, n int) kernel.Columns { return kernel.Columns{Data: m, Step: n, Next: 1} }

// complexVectors views the rows of a complex matrix of n columns.
func complexVectors(m []float32, n int) (re, im kernel.Columns) {
	return kernel.Columns{Data: m, Step: 2, Next: 2 * n}, kernel.Columns{Data: m[1:], Step: 2, Next: 2 * n}
}

// complexColumns views the columns of a complex matrix of n columns.
func complexColumns(m []float32, n int) (re, im kernel.Columns) {
	return kernel.Columns{Data: m, Step: 2 * n, Next: 2}, kernel.Columns{Data: m[1:], Step: 2 * n, Next: 2}
}

// weighFrequencies doubles the rows of b, r complex values each, but those of the constant and, where n is even, of the last
// frequency: the others stand for their conjugates as well.
func weighFrequencies(b []float32, n, r int) {
	for i := 2 * r; i < (n+1)/2*2*r; i++ {
		b[i] *= 2
	}
}

// negateSecond negates the second r values of each 2r.
func negateSecond(m []float32, r int) {
	for i := range m {
		if i/r%2 == 1 {
			m[i] = -m[i]
		}
	}
}

// forward adds the change for x to y.
func (a *LowRank) forward(g *Graph, x operand, y kernel.Tensor) {
	m := &g.mem
	m.operandIn(&m.beside.halves, &a.up, a.components(g, x)).mul(&a.up, false, y, true)
}

// components returns g ⊙ A·F(x).
func (a *LowRank) components(g *Graph, x operand) kernel.Tensor {
	n := x.x.N()
	zs, gated := a.buffers(g)
	z := zs.get(n, a.down.Out)
	x.mul(&a.down, false, z, false)
	if a.Gate == nil {
		return z
	}
	v := gated.get(n, a.down.Out)
	a.Gate.forward(g, z, v)
	return v
}

// buffers returns where components go. Without a backward pass, and where that computes layers again, nothing is kept.
func (a *LowRank) buffers(g *Graph) (z, gated *buffer) {
	if g.Training && !g.Checkpointing {
		return &a.z, &a.gated
	}
	return &g.mem.beside.z, &g.mem.beside.gated
}

// drops says whether a sees a part of its input only.
func (a *LowRank) drops(g *Graph) bool { return g.Training && a.Dropout > 0 }

// gradients writes the gradients of a's parameters for the gradient dy of y, and returns that of A·F(x), which
// x's gradient is made of.
func (a *LowRank) gradients(g *Graph, x operand, dy operand) kernel.Tensor {
	n := x.x.N()
	if g.Checkpointing {
		a.components(g, x)
	}
	zs, gated := a.buffers(g)
	z := kernel.NewTensor(zs.data, a.down.Out)
	v := z
	if a.Gate != nil {
		v = kernel.NewTensor(gated.data, a.down.Out)
	}
	dz := g.mem.beside.dz.get(n, a.down.Out)
	dy.mul(&a.up, true, dz, false)

	rows, in, out := a.down.Out, a.down.In, a.up.Out
	buf := borrow(2*rows*in + rows*out)
	defer spare.Put(buf)
	dup := (*buf)[:rows*out]
	kernel.GradDense(dy.x, v, dup, false)
	if a.Gate != nil {
		a.Gate.backward(g, z, dz)
	}
	// Transposed, so that it is x, the wider one, whose rows are read as they lie.
	across := (*buf)[rows*out:][:rows*in]
	kernel.GradDense(x.x, dz, across, false)
	ddown := (*buf)[rows*out+rows*in:]
	for i := range in {
		for r, v := range across[i*rows:][:rows] {
			ddown[r*in+i] = v
		}
	}
	a.backward(ddown, dup)
	return dz
}

// back adds the gradient of x, given that of A·F(x).
func (a *LowRank) back(g *Graph, dz, dx kernel.Tensor) {
	g.mem.operandIn(&g.mem.beside.halves, &a.down, dz).mul(&a.down, true, dx, true)
}

// spare keeps working memory between calls.
var spare = sync.Pool{New: func() any { return new([]float32) }}

// borrow returns n values with any content, to be given back by spare.Put.
func borrow(n int) *[]float32 {
	b := spare.Get().(*[]float32)
	grow(b, n)
	*b = (*b)[:n]
	return b
}
