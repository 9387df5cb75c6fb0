package nn

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// strip is the number of features that are computed at a time where values go from one form to another: 4 KiB.
const strip = kernel.Block

// SwiGLU is silu(gate)·up for x = [gate; up] stacked (Shazeer 2020, eq. 6).
func (g *Graph) SwiGLU(x *Var) (*Var, error) {
	if x.rows%2 != 0 {
		return nil, fmt.Errorf("SwiGLU takes an even number of features, not %d", x.rows)
	}
	s := &swiglu{g: g, x: x, n: x.rows / 2}
	s.y = &Var{rows: s.n, needGrad: x.needGrad}
	a := &s.y.act
	a.buf, a.recompute, a.blocks = &g.mem.act, s.again, s.blocks
	if x.act.halves != nil {
		a.optional, a.parts = true, s.piece
	} else {
		a.buf.reserve(s.n)
	}
	if x.act.taker != nil {
		a.taker = s
	}
	fwd := newOp("swiglu", activationType, nominal(s.n), s.forward)
	fwd.wrt, fwd.diff = []bool{x.needGrad}, s.diff
	var err error
	s.y.node, err = fwd.apply(x.node)
	return s.y, err
}

type swiglu struct {
	g    *Graph
	x, y *Var
	n    int // features of the result

	taken  bool           // the gradient of the result was taken in pieces, in this run
	xs     kernel.Tensor  // [gate; up], where they are not in bfloat16
	dx     kernel.Tensor  // their gradients, where they are not taken in pieces
	halves *kernel.Halves // and these in bfloat16, or nil
}

func (s *swiglu) forward(in []G.Value) (G.Value, error) {
	a, m := &s.y.act, &s.g.mem
	s.taken, a.tokens = false, nil
	if s.x.act.halves == nil {
		s.xs = values(in[0], s.x.rows)
	}
	if a.hollow && !s.g.watched {
		m.halves.Reset(s.n, s.g.blocks)
		kernel.Parallel(s.g.blocks, s.block(kernel.Tensor{}, &m.halves))
		return s.g.hollow(), nil
	}
	ys := a.buf.get(s.g.blocks, s.n)
	var halves *kernel.Halves
	if a.rounded {
		halves = m.roundAhead(ys)
	}
	a.fill(s.g, s.block(ys, halves))
	return a.filled()
}

// again computes the result once more.
func (s *swiglu) again() error {
	f, err := s.blocks()
	if err == nil {
		kernel.Parallel(s.g.blocks, f)
	}
	return err
}

// blocks returns what computes a block of the result once more.
func (s *swiglu) blocks() (_ func(b int), err error) {
	if s.x.act.halves == nil {
		if s.xs, err = s.x.act.again(); err != nil {
			return nil, err
		}
	}
	return s.block(s.y.act.buf.get(s.g.blocks, s.n), nil), nil
}

// block returns what writes a block of the result to ys, unless that has no values, and to halves, unless they are nil.
func (s *swiglu) block(ys kernel.Tensor, halves *kernel.Halves) func(b int) {
	return func(b int) {
		var room [strip * kernel.Block]float32
		for f := 0; f < s.n; f += strip {
			size := min(strip, s.n-f) * kernel.Block
			y := room[:size]
			if ys.Data != nil {
				y = ys.Blk(b)[f*kernel.Block:][:size]
			}
			s.piece(b, f, y)
			if halves != nil {
				halves.SetBand(b, f, y)
			}
		}
	}
}

// piece writes the result's features from f on of block b, at most a strip of them.
func (s *swiglu) piece(b, f int, y []float32) {
	var room [strip * kernel.Block]float32
	gate, up := s.inputs(b, f, y, room[:len(y)])
	kernel.SwiGLU(gate, up, y)
}

// inputs returns gate's and up's features from f on of block b, as many as there is room for: where they lie, or in the room.
func (s *swiglu) inputs(b, f int, gateRoom, upRoom []float32) (gate, up []float32) {
	if p := s.x.act.halves; p != nil {
		p.Features(b, f, gateRoom)
		p.Features(b, s.n+f, upRoom)
		return gateRoom, upRoom
	}
	xs := s.xs.Blk(b)
	return xs[f*kernel.Block:][:len(gateRoom)], xs[(s.n+f)*kernel.Block:][:len(upRoom)]
}

func (s *swiglu) diff(grad *G.Node) (G.Nodes, error) {
	bwd := newOp("swiglu backward", activationType, nominal(s.x.rows), s.backward)
	if s.x.act.taker == nil {
		s.g.mem.dMLP.reserve(s.x.rows)
	}
	dx, err := bwd.apply(grad)
	return G.Nodes{dx}, err
}

func (s *swiglu) backward(in []G.Value) (_ G.Value, err error) {
	if s.x.act.halves == nil {
		if s.xs, err = s.x.act.again(); err != nil {
			return nil, err
		}
	}
	if !s.taken {
		dy := values(in[0], s.n)
		s.begin()
		f := func(b int) { s.take(b, 0, dy.Blk(b)) }
		if a := &s.x.act; a.gradPulled && !s.g.watched {
			a.gradPending = f
		} else {
			kernel.Parallel(s.g.blocks, f)
		}
	}
	s.taken = false
	if t := s.x.act.taker; t != nil {
		return t.gradient(), nil
	}
	return s.g.mem.dMLP.value, nil
}

// begin makes room for the gradients of gate and up.
func (s *swiglu) begin() {
	s.taken = true
	if t := s.x.act.taker; t != nil {
		t.begin()
		return
	}
	s.dx, s.halves = s.g.mem.dMLP.get(s.g.blocks, s.x.rows), nil
	if s.x.act.gradRounded {
		s.halves = s.g.mem.roundAhead(s.dx)
	}
}

// take computes the gradients of gate and up of a piece of the result's, and the result again where somebody waits for it.
func (s *swiglu) take(b, f int, dy []float32) {
	const size = strip * kernel.Block
	room := borrow(3 * size)
	defer spare.Put(room)
	for ; len(dy) > 0; f, dy = f+strip, dy[min(size, len(dy)):] {
		n := min(size, len(dy))
		dgate, dup := (*room)[:n], (*room)[size:][:n]
		t := s.x.act.taker
		if t == nil {
			dgate, dup = s.dx.Blk(b)[f*kernel.Block:][:n], s.dx.Blk(b)[(s.n+f)*kernel.Block:][:n]
		}
		gate, up := s.inputs(b, f, dgate, dup)
		if s.y.act.tokens != nil {
			y := (*room)[2*size:][:n]
			kernel.SwiGLU(gate, up, y)
			s.y.act.tokens.SetBand(b, f, y)
		}
		kernel.SwiGLUBackward(gate, up, dy[:n], dgate, dup)
		if t != nil {
			t.take(b, f, dgate)
			t.take(b, s.n+f, dup)
		} else if s.halves != nil {
			s.halves.SetBand(b, f, dgate)
			s.halves.SetBand(b, s.n+f, dup)
		}
	}
}

// gradient is the graph's value for the gradient of the result, when that was taken in pieces.
func (s *swiglu) gradient() G.Value { return s.g.hollow() }
