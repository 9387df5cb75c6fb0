package nn

import (
	"sync"

	"shira/internal/kernel"
)

// LowRank is a change of a weight by two thin factors, which is computed beside it: y += s·F⁻¹(B·(g ⊙ z)), z = A·F(x). Without
// transform and gate it is LoRA (Hu et al. 2021, section 4.1), with them FouRA (Borse et al. 2024).
type LowRank struct {
	R       int
	Scale   float32      // s
	Basis   kernel.Basis // F, and the shapes of A and B
	Gate    *Gate        // g; nil for 1
	Dropout float64      // share of the values of x that the change does not see in training
	Seed    uint64       // of the dropout

	A, B Param

	down, up Weight // A·F and s·F⁻¹·B, what products read
	z, gated buffer // A·F(x) and g ⊙ that, where they are kept
	stream   uint64 // of the dropout's random numbers
}

// Add makes a, which has its values, a change of w.
func (w *Weight) Add(a *LowRank) {
	rows := a.Basis.Components(a.R)
	a.stream = streamOf(a.Seed, w.Name)
	a.A.Kind, a.B.Kind = FactorA, FactorB
	a.down = Weight{Name: w.Name, Out: rows, In: w.In, Data: a.A.Value}
	if a.Basis != kernel.Plain {
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
	if a.Basis != kernel.Plain { // else down is A
		a.Basis.Down(a.R, a.down.In, a.A.Value, down)
	}
	a.Basis.Up(a.R, a.up.Out, a.B.Value, up)
	for i := range up {
		up[i] *= a.Scale
	}
	if a.down.Half != nil {
		kernel.RoundHalves(a.down.Half, down)
		kernel.RoundHalves(a.up.Half, up)
	}
}

// forward adds the change for x to y.
func (a *LowRank) forward(g *Graph, x operand, y kernel.Tensor) {
	m := &g.mem
	m.operandIn(&m.beside.halves, &a.up, a.components(g, x)).mul(&a.up, false, y, true)
}

// components returns g ⊙ A·F(x).
func (a *LowRank) components(g *Graph, x operand) kernel.Tensor {
	n := g.blocks
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
	n := g.blocks
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
	for i := range dup {
		dup[i] *= a.Scale
	}
	kernel.Parallel(2, func(i int) {
		if i == 0 {
			a.Basis.DownGrad(a.R, in, ddown, a.A.Grad)
		} else {
			a.Basis.UpGrad(a.R, out, dup, a.B.Grad)
		}
	})
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
