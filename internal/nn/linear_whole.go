package nn

import (
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"shira/internal/kernel"
)

// takePieces offers to take the result's gradient in pieces, where that is of use.
func (l *linear) takePieces() {
	if g := l.g; l.whole && !g.Checkpointing {
		l.y.act.taker = l
		g.takenRows, g.takenTokenRows = max(g.takenRows, l.y.rows), max(g.takenTokenRows, l.to-l.from)
	}
}

// findSampled tells whether the backward pass needs x and dy in bfloat16 alone, and finds the outputs with sampled gradients.
func (l *linear) findSampled() bool {
	if !l.g.Training || !l.even {
		return false
	}
	off := 0
	for _, w := range l.weights {
		if w.Half == nil || w.adapted() || w.Dense != nil || w.Tally != nil || w.Masked != nil || w.Bias != nil && w.Bias.Dense != nil {
			return false
		}
		if s := w.Sparse; s != nil {
			if off%kernel.Block != 0 || !kernel.WholePays(len(s.Cols), w.Out, w.In) {
				return false
			}
			if l.to == 0 {
				l.from = off
			}
			l.to = off + w.Out
		}
		off += w.Out
	}
	return true
}

// hands says whether dx is handed on in pieces.
func (l *linear) hands() bool { return l.whole && len(l.weights) == 1 && l.x.act.taker != nil }

// backwardWhole is backward for operands in bfloat16 alone. Where dx is handed on, what takes it computes x at the same time.
func (l *linear) backwardWhole(dy G.Value) (G.Value, error) {
	g, m := l.g, &l.g.mem
	hands := l.x.needGrad && l.hands() && !g.watched
	if l.to > 0 {
		m.xTokens.stale = true
		m.xTokens.ResetRight(l.x.rows, g.blocks)
		if !hands {
			if err := l.x.act.fillTokens(g, l.x.rows, &m.xTokens.TokenHalves); err != nil {
				return nil, err
			}
		}
	}
	// After x, which may have to be computed again in the memory of dy.
	if !l.taken {
		l.takeAll(values(dy, l.y.rows))
	}
	l.taken = false
	dx := dy
	switch {
	case hands:
		t := l.x.act.taker
		t.begin()
		if l.to > 0 {
			l.x.act.tokens = &m.xTokens.TokenHalves
		}
		kernel.MatMulHalfTo(l.weights[0].Half, true, l.dy, l.x.rows, t.take)
		l.x.act.tokens = nil
		dx = t.gradient()
	case l.x.needGrad:
		buf := l.kind.dIn(m)
		y, off := buf.get(g.blocks, l.x.rows), 0
		for i, w := range l.weights {
			kernel.MatMulHalf(w.Half, true, l.dy.Band(off, w.Out), y, i > 0)
			off += w.Out
		}
		dx = buf.value
	}
	off := 0
	for _, w := range l.weights {
		if s := w.Sparse; s != nil {
			kernel.SddmmHalf(s.Ptr, s.Cols, l.dyTokens.Band(off-l.from, w.Out), &m.xTokens.TokenHalves, s.Grad)
		}
		off += w.Out
	}
	return dx, nil
}

// begin makes room for dy, to be taken in pieces.
func (l *linear) begin() {
	l.reset(&l.g.mem.taken, &l.g.mem.takenTokens)
	l.taken = true
}

// reset makes h and t the memory of dy.
func (l *linear) reset(h *kernel.Halves, t *kernel.TokenHalves) {
	l.dy, l.dyTokens = h, t
	if l.x.needGrad {
		h.Reset(l.y.rows, l.g.blocks)
	}
	if l.to > 0 {
		t.ResetLeft(l.to-l.from, l.g.blocks)
	}
}

// takeAll takes dy as it is.
func (l *linear) takeAll(dy kernel.Tensor) {
	m := &l.g.mem
	ready := l.x.needGrad && m.ahead == &dy.Data[0]
	m.ahead = nil
	l.reset(&m.halves, &m.dyTokens)
	kernel.Parallel(l.g.blocks, func(b int) {
		if ready {
			l.takeTokens(b, 0, dy.Blk(b))
		} else {
			l.take(b, 0, dy.Blk(b))
		}
	})
}

// take rounds a piece of dy.
func (l *linear) take(b, f int, dy []float32) {
	if l.x.needGrad {
		l.dy.SetBand(b, f, dy)
	}
	l.takeTokens(b, f, dy)
}

// takeTokens rounds what of a piece of dy is in [from, to), for sampled products.
func (l *linear) takeTokens(b, f int, dy []float32) {
	lo, hi := max(f, l.from), min(f+len(dy)/kernel.Block, l.to)
	if lo < hi {
		l.dyTokens.SetBand(b, lo-l.from, dy[(lo-f)*kernel.Block:(hi-f)*kernel.Block])
	}
}

// gradient is the graph's value for dy, when that was taken in pieces.
func (l *linear) gradient() G.Value {
	if !l.g.watched || !l.x.needGrad {
		return l.g.hollow()
	}
	dy := make([]float32, l.g.blocks*l.y.rows*kernel.Block)
	l.dy.Expand(kernel.NewTensor(dy, l.y.rows))
	return tensor.New(tensor.WithShape(l.g.blocks, l.y.rows, kernel.Block), tensor.WithBacking(dy))
}

// fillTokens arranges the value, of rows features, as the right operand of sampled products.
func (a *activation) fillTokens(g *Graph, rows int, tokens *kernel.TokenHalves) error {
	part := a.parts
	switch {
	case a.halves != nil:
		h, err := a.againHalves()
		if err != nil {
			return err
		}
		part = h.Features
	case part == nil:
		x, err := a.again()
		if err == nil {
			kernel.Parallel(g.blocks, func(b int) { tokens.SetBand(b, 0, x.Blk(b)) })
		}
		return err
	}
	kernel.Parallel(g.blocks, func(b int) {
		room := borrow(strip * kernel.Block)
		defer spare.Put(room)
		for f := 0; f < rows; f += strip {
			x := (*room)[:min(strip, rows-f)*kernel.Block]
			part(b, f, x)
			tokens.SetBand(b, f, x)
		}
	})
	return nil
}
