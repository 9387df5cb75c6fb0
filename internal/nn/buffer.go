package nn

import (
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"shira/internal/kernel"
)

// buffer is memory for one activation. It grows to the largest batch and is then reused: no allocation in steady state.
type buffer struct {
	data  []float32
	value *tensor.Dense
	rows  int
	n     int
	most  int // features of the widest activation that the graph will put here

	owner *activation // whose value the buffer holds
}

// reserve announces an activation of the given number of features, for Graph.Memory, and returns the buffer.
func (b *buffer) reserve(rows int) *buffer {
	b.most = max(b.most, rows)
	return b
}

// get returns the buffer as an activation of n blocks of rows features. Its contents are what the last user left.
func (b *buffer) get(n, rows int) kernel.Tensor {
	size := n * rows * kernel.Block
	if cap(b.data) < size {
		b.data = make([]float32, size)
	}
	if b.value == nil || b.n != n || b.rows != rows || len(b.data) != size {
		b.data = b.data[:size]
		b.n, b.rows = n, rows
		b.value = tensor.New(tensor.WithShape(n, rows, kernel.Block), tensor.WithBacking(b.data))
	}
	return kernel.NewTensor(b.data, rows)
}

// activation is a value of the forward pass that the backward pass may need again. One that is not kept as it is lives in
// a buffer shared by all layers, and recompute fills that again.
type activation struct {
	buf       *buffer
	recompute func() error // nil where the buffer is the activation's own
	// halves is the value in bfloat16, where that is all that the next operator reads and that is kept.
	halves *kernel.Halves
	rows   int // features of halves
	// Products with the value, and with its gradient, are in bfloat16.
	rounded, gradRounded bool

	// Where float32 values would only pass through memory, they do not exist as a whole.
	optional bool // who reads the value says whether it must be in the buffer, and reserves that
	hollow   bool // the value is in the memory of the next product's operand alone
	// parts computes features from f on of block b again, at most a strip of them.
	parts func(b, f int, y []float32)
	// Who reads the value multiplies small weights with it, block by block, and makes each block when its turn comes: with pending in
	// the forward pass, and with what blocks returns where it needs the value again.
	pulled  bool
	pending func(b int)
	blocks  func() (func(b int), error)
	// The same of the gradient. gradDone, where not nil, gives what is to be done with each block of it in turn, and gradTaken says
	// that it was.
	gradPulled  bool
	gradPending func(b int)
	gradDone    func(grad kernel.Tensor) (func(b int), error)
	gradTaken   bool

	// taker takes the gradient in pieces, or is nil. tokens, where not nil, gets the value again at the same time.
	taker  taker
	tokens *kernel.TokenHalves
}

// taker takes the gradient of an activation in pieces that are in the cache: features from f on of block b, after begin. Pieces begin
// at even features, and at multiples of 32 where products of tiles hand them on. Threads take different ones.
type taker interface {
	begin()
	take(b, f int, dy []float32)
	gradient() G.Value // for the graph
}

// keepHalves makes a an activation in bfloat16, of which share holds the values in float32 after again. Without a backward pass it
// lives in halves, and with checkpointing as well, where recompute computes it again.
func (a *activation) keepHalves(g *Graph, rows int, share *buffer, halves *kernel.Halves, recompute func() error) {
	a.buf, a.halves, a.rows = share, halves, rows
	switch {
	case g.Training && g.Checkpointing:
		a.recompute = g.timed(recompute)
	case g.Training:
		a.halves = &kernel.Halves{}
		g.keptHalf += rows
	}
}

// againHalves returns the activation's value in bfloat16 during the backward pass.
func (a *activation) againHalves() (*kernel.Halves, error) {
	if a.recompute != nil && a.buf.owner != a {
		if err := a.recompute(); err != nil {
			return nil, err
		}
		a.buf.owner = a
	}
	return a.halves, nil
}

// show writes a value that is in bfloat16 to the buffer.
func (a *activation) show() {
	a.halves.Expand(a.buf.get(a.halves.Blocks(), a.rows))
	a.buf.owner = a
}

// filled says that the buffer holds a's value now, and returns it.
func (a *activation) filled() (G.Value, error) {
	a.buf.owner = a
	return a.buf.value, nil
}

// filledHalves says that a's value is in bfloat16 now, and returns what the graph has of it: nothing, unless somebody looks.
func (a *activation) filledHalves(g *Graph) (G.Value, error) {
	if g.watched {
		a.show()
		return a.filled()
	}
	a.buf.owner = a
	return g.hollow(), nil
}

// again returns the activation's value during the backward pass.
func (a *activation) again() (kernel.Tensor, error) {
	if a.halves != nil {
		_, err := a.againHalves()
		if err == nil {
			a.show()
		}
		return kernel.NewTensor(a.buf.data, a.buf.rows), err
	}
	if a.recompute != nil && a.buf.owner != a {
		if err := a.recompute(); err != nil {
			return kernel.Tensor{}, err
		}
		a.buf.owner = a
	}
	return kernel.NewTensor(a.buf.data, a.buf.rows), nil
}

// fill runs f, which computes a block of the value, for all blocks, or leaves that to who reads the value.
func (a *activation) fill(g *Graph, f func(b int)) {
	if a.pending = nil; a.pulled && !g.watched {
		a.pending = f
		return
	}
	kernel.Parallel(g.blocks, f)
}

// againBlocks is again for a reader that calls the function it returns before it reads a block, unless that is nil.
func (a *activation) againBlocks() (kernel.Tensor, func(b int), error) {
	if a.blocks == nil || a.buf.owner == a {
		x, err := a.again()
		return x, nil, err
	}
	f, err := a.blocks()
	a.buf.owner = a
	return kernel.NewTensor(a.buf.data, a.buf.rows), f, err
}

// all returns every buffer.
func (m *shared) all() []*buffer {
	return append([]*buffer{
		&m.stream, &m.normed, &m.heads, &m.mlp, &m.act, &m.qkv,
		&m.dStream, &m.dNormed, &m.dHeads, &m.dMLP, &m.dAct, &m.dQKV,
	}, m.beside.all()...)
}

// own gives a a buffer of its own, or share where there is no backward pass.
func (a *activation) own(g *Graph, rows int, share *buffer) {
	if !g.Training {
		a.buf = share.reserve(rows)
		return
	}
	a.buf = (&buffer{}).reserve(rows)
	g.kept = append(g.kept, a.buf)
}

// ownOr is own, but with checkpointing a lives in share, and recompute computes it again.
func (a *activation) ownOr(g *Graph, rows int, share *buffer, recompute func() error) {
	if !g.Training || !g.Checkpointing {
		a.own(g, rows, share)
		return
	}
	a.buf, a.recompute = share.reserve(rows), g.timed(recompute)
}

// shared is the memory that all layers use in turn. Every chain of operators is linear, so that a layer's use has ended
// before the next one's begins.
type shared struct {
	stream, normed, heads, mlp, act, qkv       buffer // forward
	dStream, dNormed, dHeads, dMLP, dAct, dQKV buffer // gradients

	// The right operand of a product in bfloat16, and the first value of what it was rounded from, where that was done
	// ahead of the product.
	halves kernel.Halves
	ahead  *float32

	qkvHalves, headsHalves kernel.Halves // forward
	dHeadsHalves           kernel.Halves // gradients

	// Operands of sampled products in bfloat16.
	xTokens struct {
		kernel.TokenHalves
		stale bool
	}
	dyTokens kernel.TokenHalves

	// A gradient that was taken in pieces, for products and for sampled ones.
	taken       kernel.Halves
	takenTokens kernel.TokenHalves

	beside beside
}

// roundAhead makes room for x in bfloat16, to be filled block by block while the values are in the cache. The next product
// of x then finds it.
func (m *shared) roundAhead(x kernel.Tensor) *kernel.Halves {
	m.halves.Reset(x.Rows, x.N())
	m.ahead = &x.Data[0]
	return &m.halves
}

// round returns x in bfloat16.
func (m *shared) round(x kernel.Tensor) *kernel.Halves {
	if m.ahead != &x.Data[0] {
		m.halves.Set(x)
	}
	m.ahead = nil
	return &m.halves
}
