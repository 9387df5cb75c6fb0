package nn

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

func (l *linear) diff(grad *G.Node) (G.Nodes, error) {
	if l.residual != nil && l.residual.needGrad {
		l.residual.residual = grad
	}
	out := nominal(l.x.rows)
	bwd := newOp("linear backward "+moduleNames(l.weights), activationType, out, l.backward)
	bwd.flops = l.backwardFlops
	d, err := bwd.apply(grad)
	if err != nil {
		return nil, err
	}
	grads := G.Nodes{nil}
	if l.x.needGrad {
		grads[0] = d
		if !l.hands() {
			l.kind.dIn(&l.g.mem).reserve(l.x.rows)
		}
	}
	if l.residual != nil {
		grads = append(grads, nil)
	}
	for _, p := range l.params {
		dp, err := l.g.gradOf(p, d)
		if err != nil {
			return nil, err
		}
		grads = append(grads, dp)
	}
	return grads, nil
}

// backward writes the gradients of the trained parameters and returns dx, or dy itself where nothing needs dx.
func (l *linear) backward(in []G.Value) (G.Value, error) {
	if l.whole {
		return l.backwardWhole(in[0])
	}
	if l.stack != nil {
		return l.backwardStack(in[0])
	}
	dy := values(in[0], l.y.rows)
	var x kernel.Tensor
	if len(l.params) > 0 {
		var err error
		if x, err = l.x.act.again(); err != nil {
			return nil, err
		}
		l.g.gradients(l.weights, dy, x)
		if err := l.magnitudes(dy); err != nil {
			return nil, err
		}
	}
	if !l.x.needGrad && !slices.ContainsFunc(l.weights, (*Weight).adapted) {
		return in[0], nil
	}
	buf := l.kind.dIn(&l.g.mem)
	var dx kernel.Tensor
	if l.x.needGrad {
		dx = buf.get(dy.N(), l.x.rows)
	}
	var o operand
	if l.even {
		o = l.g.mem.operand(l.weights[0], dy)
	}
	off := 0
	for i, w := range l.weights {
		var part operand
		if l.even {
			part = o.band(off, w.Out)
		} else {
			part = l.g.mem.operand(w, dy.Band(off, w.Out))
		}
		switch {
		case w.adapted():
			l.backwardAdapted(w, x, part, dx, i > 0)
		case l.x.needGrad:
			part.mul(w, true, dx, i > 0)
		}
		off += w.Out
	}
	if !l.x.needGrad {
		return in[0], nil
	}
	return buf.value, nil
}

func (l *linear) backwardFlops() float64 {
	n := 0
	if l.x.needGrad {
		n = l.y.rows * l.x.rows
	}
	for _, w := range l.weights {
		if w.Sparse != nil {
			n += len(w.Sparse.Cols)
		}
		n += 2 * w.beside()
		if w.Dense != nil || w.Tally != nil {
			n += w.Out * w.In
		}
	}
	return l.g.productFlops(n)
}

// gradients writes the gradients of the trained parameters of weights for their outputs' gradients dy, stacked, and their
// inputs x, but those of what is computed beside a weight.
func (g *Graph) gradients(weights []*Weight, dy, x kernel.Tensor) {
	g.mem.xTokens.stale = true
	off := 0
	for _, w := range weights {
		part := dy.Band(off, w.Out)
		off += w.Out
		if w.Sparse != nil && w.Magnitude == nil {
			g.sampled(w, part, x)
		}
		if w.Masked != nil {
			w.Masked.backward(w)
		}
		if w.Dense != nil {
			kernel.GradDense(part, x, w.Dense.Grad, false)
		}
		if w.Tally != nil && !g.watched { // a run that is watched is one again
			kernel.GradDense(part, x, w.Tally.Sum, true)
		}
		if w.Bias != nil && w.Bias.Dense != nil {
			biasBackward(part, w.Bias.Dense.Grad)
		}
	}
}

// sampled writes the gradients of w's entries. With weights in bfloat16 they are products of values rounded to that; dense
// ones are not.
func (g *Graph) sampled(w *Weight, dy, x kernel.Tensor) {
	s, m := w.Sparse, &g.mem
	if w.Half == nil {
		kernel.Sddmm(s.Ptr, s.Cols, dy, x, s.Grad)
		return
	}
	if m.xTokens.stale {
		m.xTokens.Set(x)
		m.xTokens.stale = false
	}
	m.dyTokens.Set(dy)
	kernel.SddmmHalf(s.Ptr, s.Cols, &m.dyTokens, &m.xTokens.TokenHalves, s.Grad)
}
