package nn

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// linearKind says where a projection stands in the layer, and so which shared memory it uses.
type linearKind struct {
	out, dIn func(*shared) *buffer
	halves   func(*shared) *kernel.Halves // what reads the result takes it in bfloat16, where that is what products are in
	wide     bool                         // the result is wider than the stream
	last     bool                         // the result is the layer's
	pairs    bool                         // what follows reads a kept result as it is kept, in bfloat16
}

var (
	// QKV projects the normed stream to queries, keys and values.
	QKV = linearKind{
		out: func(m *shared) *buffer { return &m.qkv }, dIn: func(m *shared) *buffer { return &m.dNormed }, wide: true,
		halves: func(m *shared) *kernel.Halves { return &m.qkvHalves },
	}
	// GateUp projects the normed stream to the two inputs of SwiGLU.
	GateUp = linearKind{
		out: func(m *shared) *buffer { return &m.mlp }, dIn: func(m *shared) *buffer { return &m.dNormed }, wide: true, pairs: true,
	}
	// Out projects the attention's output back to the stream.
	Out = linearKind{out: func(m *shared) *buffer { return &m.stream }, dIn: func(m *shared) *buffer { return &m.dHeads }}
	// Down projects SwiGLU's output back to the stream.
	Down = linearKind{
		out: func(m *shared) *buffer { return &m.stream }, dIn: func(m *shared) *buffer { return &m.dAct }, last: true,
	}
)

// Linear is y = [W₁; W₂; …]·x + bias, the outputs of the weights stacked. With a residual r it is y = r + W·x + bias,
// and closes the block that the norm of r opened.
func (g *Graph) Linear(kind linearKind, x, residual *Var, weights ...*Weight) (*Var, error) {
	l := &linear{g: g, kind: kind, x: x, residual: residual, weights: weights}
	y := &Var{needGrad: x.needGrad || residual != nil && residual.needGrad}
	inputs, wrt := []*G.Node{x.node}, []bool{x.needGrad}
	if residual != nil {
		inputs, wrt = append(inputs, residual.node), append(wrt, false)
	}
	for _, w := range weights {
		if err := w.takes(x); err != nil {
			return nil, err
		}
		y.rows += w.Out
		for _, p := range g.paramsOf(w) {
			inputs, wrt = append(inputs, g.param(p)), append(wrt, true)
			l.params = append(l.params, p)
		}
	}
	if residual != nil && residual.rows != y.rows {
		return nil, fmt.Errorf("%s gives %d features, to be added to %d", weights[0].Name, y.rows, residual.rows)
	}
	y.needGrad = y.needGrad || len(l.params) > 0
	l.y = y
	for _, w := range weights {
		g.reserveAdapted(w, residual != nil)
	}
	l.even = !slices.ContainsFunc(weights[:len(weights)-1], func(w *Weight) bool { return w.Out%2 == 1 })
	l.place()
	fwd := newOp("linear "+moduleNames(weights), activationType, nominal(y.rows), l.forward)
	fwd.wrt, fwd.diff, fwd.flops = wrt, l.diff, l.flops
	var err error
	y.node, err = fwd.apply(inputs...)
	return y, err
}

// place decides where the result lives. A layer's last sum is the next one's input, which is kept always.
func (l *linear) place() {
	g, a, share := l.g, &l.y.act, l.kind.out(&l.g.mem)
	l.whole = l.findSampled()
	l.findStack()
	if l.weights[0].Half != nil {
		l.x.act.rounded, a.gradRounded = true, l.even
		g.halfRows = max(g.halfRows, l.x.rows, l.y.rows)
		for _, w := range l.weights {
			if w.Sparse != nil && g.Training && !l.whole {
				g.xTokenRows, g.dyTokenRows = max(g.xTokenRows, w.In), max(g.dyTokenRows, w.Out)
			}
		}
	} else if l.stack == nil {
		g.floatRows = max(g.floatRows, l.x.rows, l.y.rows)
	}
	if l.whole && l.to > l.from {
		g.xTokenRows, g.dyTokenRows = max(g.xTokenRows, l.x.rows), max(g.dyTokenRows, l.to-l.from)
	}
	switch x := &l.x.act; {
	case x.optional:
		if x.hollow = l.whole; !l.whole {
			x.buf.reserve(l.x.rows)
		}
	case x.halves != nil && len(l.params) > 0 && !l.whole: // gradients take values
		x.buf.reserve(l.x.rows)
	}
	plain := l.even && !slices.ContainsFunc(l.weights, func(w *Weight) bool { return w.adapted() || w.Bias != nil || w.Half == nil })
	switch {
	case l.kind.halves != nil && l.weights[0].Half != nil && kernel.PairProducts():
		if l.direct = plain; !plain {
			share.reserve(l.y.rows)
		}
		a.keepHalves(g, l.y.rows, share, l.kind.halves(&g.mem), l.again)
		l.takePieces()
	case l.kind.last || !g.Training:
		a.own(g, l.y.rows, share)
	case l.kind.wide && g.HalfActivations && !g.Checkpointing:
		if l.direct = plain && l.kind.pairs; l.direct {
			a.keepHalves(g, l.y.rows, share, nil, nil)
			l.takePieces()
			break
		}
		g.keptHalf += l.y.rows
		a.buf = share.reserve(l.y.rows)
		l.kept = &kernel.Halves{}
		a.recompute = func() error {
			l.kept.Expand(a.buf.get(l.kept.Blocks(), l.y.rows))
			return nil
		}
	default:
		a.ownOr(g, l.y.rows, share, l.again)
	}
}

type linear struct {
	g              *Graph
	kind           linearKind
	x, residual, y *Var
	weights        []*Weight
	params         []*Param
	kept           *kernel.Halves // the result, where it is kept in bfloat16
	direct         bool           // the result is written in bfloat16 alone
	even           bool           // each weight's outputs begin at an even one, as pairs of features do
	stack          *kernel.Stack  // the weights, where they are small, and sampled entries are all that is trained of them
	sampled        []kernel.Sampled

	// whole says that the backward pass needs its operands in bfloat16 alone; outputs [from, to) have sampled gradients.
	whole    bool
	from, to int
	taken    bool // dy was taken in pieces, in this run
	dy       *kernel.Halves
	dyTokens *kernel.TokenHalves
}

func (l *linear) forward(in []G.Value) (G.Value, error) {
	l.taken, l.y.act.gradPending = false, nil
	var r kernel.Tensor
	if l.residual != nil {
		r = values(in[1], l.y.rows)
	}
	l.compute(values(in[0], l.x.rows), r)
	if l.y.act.halves != nil {
		return l.y.act.filledHalves(l.g)
	}
	return l.y.act.filled()
}

// again computes the result once more during the backward pass.
func (l *linear) again() error {
	var x kernel.Tensor
	var err error
	if l.x.act.halves != nil {
		_, err = l.x.act.againHalves()
	} else {
		x, err = l.x.act.again()
	}
	if err != nil {
		return err
	}
	var r kernel.Tensor
	if l.residual != nil {
		if r, err = l.residual.act.again(); err != nil {
			return err
		}
	}
	l.compute(x, r)
	return nil
}

// compute writes the result for x and, in a linear with a residual, r.
func (l *linear) compute(x, r kernel.Tensor) {
	if l.stack != nil {
		l.computeStack(x, r)
		return
	}
	o := l.operand(x)
	if l.direct {
		l.computePairs(o)
		return
	}
	y := l.y.act.buf.get(l.g.blocks, l.y.rows)
	acc := l.residual != nil
	// When nothing is kept the stream is one buffer, and the sum is in place.
	if acc && &r.Data[0] != &y.Data[0] {
		kernel.Parallel(y.N(), func(b int) { copy(y.Blk(b), r.Blk(b)) })
	}
	off := 0
	for _, w := range l.weights {
		band := y.Band(off, w.Out)
		if w.Magnitude != nil {
			l.g.scaled(w, o, band, acc)
		} else {
			if w.Bias != nil {
				addBias(w.Bias.Data, band, acc)
			}
			o.mul(w, false, band, acc || w.Bias != nil)
			l.g.addChanges(w, o, band)
		}
		off += w.Out
	}
	l.keep(y)
}

// keep keeps the result y in bfloat16 where that is how it is kept.
func (l *linear) keep(y kernel.Tensor) {
	// What follows must see what the backward pass will see: attention's probabilities are computed twice, and belong to
	// sums that are kept.
	switch {
	case l.y.act.halves != nil:
		l.y.act.halves.Set(y)
	case l.kept != nil:
		l.kept.SetRounding(y)
	case l.kind.wide && l.g.HalfActivations && l.g.Training:
		l.g.mem.halves.SetRounding(y)
	}
}

// operand prepares the input x for products. In float32 it may not be there yet: only what drops some of it reads it there.
func (l *linear) operand(x kernel.Tensor) operand {
	m, h := &l.g.mem, l.x.act.halves
	switch {
	case l.x.act.hollow:
		m.ahead = nil
		return operand{x: x, halves: &m.halves}
	case h == nil:
		return m.operand(l.weights[0], x)
	}
	if slices.ContainsFunc(l.weights, func(w *Weight) bool { return w.drops(l.g) }) {
		l.x.act.show()
		x = kernel.NewTensor(l.x.act.buf.data, l.x.rows)
	}
	return operand{x: x, halves: h}
}

// computePairs writes the result in bfloat16 alone.
func (l *linear) computePairs(x operand) {
	y := l.y.act.halves
	y.Reset(l.y.rows, l.g.blocks)
	off := 0
	for _, w := range l.weights {
		at := off
		kernel.MatMulHalfTo(w.Half, false, x.halves, w.Out, func(b, r int, c []float32) { y.SetBand(b, at+r, c) })
		off += w.Out
	}
}

func (l *linear) flops() float64 {
	n := l.y.rows * l.x.rows
	for _, w := range l.weights {
		n += w.beside()
	}
	return l.g.productFlops(n)
}
