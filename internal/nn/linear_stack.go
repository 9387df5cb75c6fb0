package nn

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// findStack makes the weights a stack, where they are small ones in float32 with nothing beside them, and tells what makes the
// input and the result's gradient that they are taken block by block.
func (l *linear) findStack() {
	s := &kernel.Stack{In: l.x.rows, Out: l.y.rows}
	if !s.Small() || slices.ContainsFunc(l.weights, func(w *Weight) bool {
		return w.Half != nil || w.adapted() || w.Dense != nil || w.Tally != nil || w.Masked != nil || w.Bias != nil
	}) {
		return
	}
	off := 0
	for _, w := range l.weights {
		s.Weights = append(s.Weights, w.Data)
		if w.Sparse != nil && l.g.Training {
			l.sampled = append(l.sampled, kernel.Sampled{First: off, Ptr: w.Sparse.Ptr, Cols: w.Sparse.Cols})
		}
		off += w.Out
	}
	l.stack, l.x.act.pulled, l.y.act.gradPulled = s, true, true
}

// computeStack is compute with a stack.
func (l *linear) computeStack(x, r kernel.Tensor) {
	y, a := l.y.act.buf.get(l.g.blocks, l.y.rows), &l.x.act
	pending := a.pending
	a.pending = nil
	acc := l.residual != nil
	// When nothing is kept the stream is one buffer, and the sum is in place.
	copies := acc && &r.Data[0] != &y.Data[0]
	l.stack.Mul(x, y, acc, func(b int) {
		if pending != nil {
			pending(b)
		}
		if copies {
			copy(y.Blk(b), r.Blk(b))
		}
	})
	l.keep(y)
}

// backwardStack is backward with a stack.
func (l *linear) backwardStack(grad G.Value) (G.Value, error) {
	g, a := l.g, &l.x.act
	dy, dyBlock := values(grad, l.y.rows), l.y.act.gradPending
	l.y.act.gradPending = nil
	var x, dx kernel.Tensor
	var xBlock, done func(b int)
	var err error
	if len(l.sampled) > 0 {
		if x, xBlock, err = a.againBlocks(); err != nil {
			return nil, err
		}
		off := 0
		for _, w := range l.weights {
			if w.Sparse != nil {
				l.sampled[off].DS = w.Sparse.Grad
				off++
			}
		}
	}
	dxValue := grad
	if l.x.needGrad {
		buf := l.kind.dIn(&g.mem)
		dx = buf.get(g.blocks, l.x.rows)
		dxValue = buf.value
		if a.gradDone != nil && !g.watched {
			if done, err = a.gradDone(dx); err != nil {
				return nil, err
			}
			a.gradTaken = true
		}
	}
	l.stack.Backward(l.sampled, dy, x, dx, func(b int) {
		if dyBlock != nil {
			dyBlock(b)
		}
		if xBlock != nil {
			xBlock(b)
		}
	}, done)
	return dxValue, nil
}
