package nn

import (
	"math"

	"shira/internal/kernel"
)

// Gate opens each component of a LowRank for some tokens and closes it for others (FouRA, section 4): with z the components of
// a token, u = W₂·gelu(W₁·z + b₁) + b₂, h the entropy of σ(u) in nats and g = σ((h − θ)/τ). A token's gate sees that token alone.
// Complex components count as two inputs and have one gate.
type Gate struct {
	Hidden      int // features of gelu; 0 for u = W₂·z + b₂
	Temperature float32
	// Hard opens a component wholly where g > ½ and closes it elsewhere. That has no slope: with Through, the backward pass
	// takes that of g, so that the gate learns (Bengio et al. 2013); without, the gate has no gradient.
	Hard, Through bool

	// W1 is (Hidden, inputs), B1 (Hidden), W2 (R, Hidden or inputs), B2 (R), Threshold (R). W1 and B1 are empty with Hidden 0.
	W1, B1, W2, B2, Threshold Param

	// Mean, where set, is the gate for all tokens, and nothing else counts.
	Mean []float32

	// Seen, where not nil, sums up how far each component was open, for all tokens that come by.
	Seen *Opening
}

// Opening is how far components were open, summed over tokens.
type Opening struct {
	sum    []float64
	tokens int
}

// NewOpening returns the opening of r components before any token.
func NewOpening(r int) *Opening { return &Opening{sum: make([]float64, r)} }

// params returns what is trained of the gate.
func (g *Gate) params() []*Param {
	switch {
	case g == nil || g.Mean != nil || g.Hard && !g.Through:
		return nil
	case g.Hidden == 0:
		return []*Param{&g.W2, &g.B2, &g.Threshold}
	}
	return []*Param{&g.W1, &g.B1, &g.W2, &g.B2, &g.Threshold}
}

// gateMemory is what all gates use in turn.
type gateMemory struct {
	pre, act buffer // of gelu
	u, open  buffer // g, before it is made hard
	du, dact buffer
}

func (m *gateMemory) all() []*buffer { return []*buffer{&m.pre, &m.act, &m.u, &m.open, &m.du, &m.dact} }

func (g *Gate) reserve(graph *Graph) {
	if g.Mean != nil {
		return
	}
	m := &graph.mem.beside.gate
	for _, b := range []*buffer{&m.u, &m.open, &m.du} {
		b.reserve(len(g.B2.Value))
	}
	for _, b := range []*buffer{&m.pre, &m.act, &m.dact} {
		b.reserve(g.Hidden)
	}
}

// forward writes v = g ⊙ z.
func (g *Gate) forward(graph *Graph, z, v kernel.Tensor) {
	if g.Mean == nil {
		g.compute(graph, z)
	}
	r := g.components()
	open := graph.mem.beside.gate.open.data
	kernel.Parallel(z.N(), func(b int) {
		src, dst := z.Blk(b), v.Blk(b)
		for f := range z.Rows {
			for t := range kernel.Block {
				dst[f*kernel.Block+t] = src[f*kernel.Block+t] * g.at(open, r, b, f%r, t)
			}
		}
	})
	if g.Seen != nil && !graph.watched {
		g.Seen.add(len(graph.batch.IDs), func(p, k int) float32 { return g.at(open, r, p/kernel.Block, k, p%kernel.Block) })
	}
}

// components is the number of gates.
func (g *Gate) components() int {
	if g.Mean != nil {
		return len(g.Mean)
	}
	return len(g.B2.Value)
}

// at is the gate of component k of r for token t of block b.
func (g *Gate) at(open []float32, r, b, k, t int) float32 {
	if g.Mean != nil {
		return g.Mean[k]
	}
	v := open[(b*r+k)*kernel.Block+t]
	switch {
	case !g.Hard:
		return v
	case v > 0.5:
		return 1
	}
	return 0
}

func (o *Opening) add(tokens int, at func(p, k int) float32) {
	o.tokens += tokens
	for p := range tokens {
		for k := range o.sum {
			o.sum[k] += float64(at(p, k))
		}
	}
}

// Mean returns the mean opening of each component.
func (o *Opening) Mean() []float32 {
	m := make([]float32, len(o.sum))
	for k, s := range o.sum {
		m[k] = float32(s / float64(max(1, o.tokens)))
	}
	return m
}

// compute fills the gate's memory: pre, act, u and open, for z.
func (g *Gate) compute(graph *Graph, z kernel.Tensor) {
	m, n, r := &graph.mem.beside.gate, z.N(), len(g.B2.Value)
	u, open := m.u.get(n, r), m.open.get(n, r)
	input := z
	var pre, act kernel.Tensor
	if g.Hidden > 0 {
		pre, act = m.pre.get(n, g.Hidden), m.act.get(n, g.Hidden)
		input = act
	}
	kernel.Parallel(n, func(b int) {
		if g.Hidden > 0 {
			affine(g.W1.Value, g.B1.Value, z.Blk(b), pre.Blk(b))
			gelu(pre.Blk(b), act.Blk(b))
		}
		affine(g.W2.Value, g.B2.Value, input.Blk(b), u.Blk(b))
		g.open(u.Blk(b), open.Blk(b))
	})
}

// affine writes y = W·x + bias for one block.
func affine(w, bias, x, y []float32) {
	for f, v := range bias {
		row := y[f*kernel.Block:][:kernel.Block]
		for t := range row {
			row[t] = v
		}
	}
	in := len(x) / kernel.Block
	kernel.Gemm(len(bias), kernel.Block, in, w, in, false, x, kernel.Block, y, kernel.Block, true)
}

// open writes σ((h − θ)/τ) for one block of u, h the entropy of σ(u).
func (g *Gate) open(u, open []float32) {
	for k, theta := range g.Threshold.Value {
		row, dst := u[k*kernel.Block:][:kernel.Block], open[k*kernel.Block:][:kernel.Block]
		var e [kernel.Block]float32
		for t, v := range row {
			e[t] = -abs(v)
		}
		exp(&e)
		for t, v := range row {
			// With e = exp(−|u|), h = ln(1+e) + |u|·e/(1+e).
			h := log1p(e[t]) + abs(v)*e[t]/(1+e[t])
			dst[t] = (h - theta) / g.Temperature
			e[t] = -abs(dst[t])
		}
		exp(&e)
		for t, v := range dst {
			if v < 0 {
				dst[t] = e[t] / (1 + e[t])
			} else {
				dst[t] = 1 / (1 + e[t])
			}
		}
	}
}

// backward replaces the gradient dv of v = g ⊙ z by that of z, and writes those of the gate's parameters.
func (g *Gate) backward(graph *Graph, z, dv kernel.Tensor) {
	r := g.components()
	learns := len(g.params()) > 0
	m, n := &graph.mem.beside.gate, z.N()
	if g.Mean == nil {
		g.compute(graph, z)
	}
	open := m.open.data
	var du, u kernel.Tensor
	if learns {
		du, u = m.du.get(n, r), kernel.NewTensor(m.u.data, r)
	}
	// Sums over the tokens of a block, and over the blocks below in their order.
	dtheta := borrow(n * r)
	defer spare.Put(dtheta)
	kernel.Parallel(n, func(b int) {
		zb, db := z.Blk(b), dv.Blk(b)
		for k := range r {
			var dg [kernel.Block]float32
			for f := k; f < z.Rows; f += r {
				row, d := zb[f*kernel.Block:][:kernel.Block], db[f*kernel.Block:][:kernel.Block]
				for t, v := range row {
					dg[t] += v * d[t]
					d[t] *= g.at(open, r, b, k, t)
				}
			}
			if !learns {
				continue
			}
			(*dtheta)[b*r+k] = g.slope(u.Blk(b)[k*kernel.Block:], open[(b*r+k)*kernel.Block:], &dg, du.Blk(b)[k*kernel.Block:])
		}
	})
	if !learns {
		return
	}
	clear(g.Threshold.Grad)
	for b := range n {
		for k, v := range (*dtheta)[b*r:][:r] {
			g.Threshold.Grad[k] += v
		}
	}
	biasBackward(du, g.B2.Grad)
	dact := dv // to add to
	input := z
	if g.Hidden > 0 {
		dact, input = m.dact.get(n, g.Hidden), kernel.NewTensor(m.act.data, g.Hidden)
	}
	kernel.GradDense(du, input, g.W2.Grad, false)
	kernel.MatMul(g.W2.Value, true, du, dact, g.Hidden == 0)
	if g.Hidden == 0 {
		return
	}
	kernel.Parallel(n, func(b int) { geluBackward(m.pre.data[b*g.Hidden*kernel.Block:], dact.Blk(b)) })
	biasBackward(dact, g.B1.Grad)
	kernel.GradDense(dact, z, g.W1.Grad, false)
	kernel.MatMul(g.W1.Value, true, dact, dv, true)
}

// slope writes the gradient of u for that of g, of one component and block, and returns that of θ.
func (g *Gate) slope(u, open []float32, dg *[kernel.Block]float32, du []float32) (dtheta float32) {
	var e [kernel.Block]float32
	for t := range e {
		e[t] = -abs(u[t])
	}
	exp(&e)
	for t, d := range dg {
		dh := d * open[t] * (1 - open[t]) / g.Temperature
		dtheta -= dh
		// The entropy's slope is −u·p·(1−p), p = σ(u).
		p := 1 / (1 + e[t])
		du[t] = -dh * u[t] * p * (e[t] * p)
	}
	return dtheta
}

// gelu writes x·Φ(x), Φ the normal distribution, as PyTorch's default does.
func gelu(x, y []float32) {
	for at := 0; at < len(x); at += kernel.Block {
		phi, _ := normal((*[kernel.Block]float32)(x[at:]))
		for t, p := range phi {
			y[at+t] = x[at+t] * p
		}
	}
}

// geluBackward multiplies dy by gelu's slope Φ(x) + x·φ(x).
func geluBackward(x, dy []float32) {
	for at := 0; at < len(dy); at += kernel.Block {
		phi, density := normal((*[kernel.Block]float32)(x[at:]))
		for t := range phi {
			dy[at+t] *= phi[t] + x[at+t]*density[t]
		}
	}
}

// normal returns the normal distribution and its density, the former within 1e-7 (Abramowitz & Stegun 1964, 7.1.26).
func normal(x *[kernel.Block]float32) (phi, density [kernel.Block]float32) {
	var e [kernel.Block]float32
	for t, v := range x {
		e[t] = -v * v / 2
	}
	exp(&e)
	for t, v := range x {
		y := abs(v) / math.Sqrt2
		k := 1 / (1 + 0.3275911*y)
		tail := k * (0.254829592 + k*(-0.284496736+k*(1.421413741+k*(-1.453152027+k*1.061405429)))) * e[t] / 2
		if phi[t] = tail; v >= 0 {
			phi[t] = 1 - tail
		}
		density[t] = e[t] / float32(math.Sqrt(2*math.Pi))
	}
	return phi, density
}

// exp replaces each value by its exponential.
func exp(x *[kernel.Block]float32) {
	var shift, sum [kernel.Block]float32
	kernel.ExpCols(x[:], 1, &shift, &sum)
}

// log1p is ln(1+e) for e from 0 to 1: with s = e/(2+e), 2·artanh(s).
func log1p(e float32) float32 {
	s := e / (2 + e)
	q := s * s
	return 2 * s * (1 + q*(1./3+q*(1./5+q*(1./7+q*(1./9+q*(1./11+q*(1./13)))))))
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }
