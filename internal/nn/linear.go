package nn

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"shira/internal/kernel"
)

// Weight is a matrix, out × in, row-major, as it lies in the checkpoint, in Data or, in bfloat16, in Half: products with
// Half round activations to bfloat16 as well and sum in float32. At most one of Sparse, Dense and LowRank trains it.
type Weight struct {
	Name    string
	Out, In int
	Data    []float32
	Half    []uint16 // beside Data only where Dense trains that
	Bias    *Gain    // one value per output, or nil

	Sparse *Sparse
	Dense  *Param // its Value is Data
	Tally  *Tally // sums the gradient of a weight that nothing trains

	LowRank   []*LowRank // changes beside the weight
	Magnitude *Magnitude // of the weight with Sparse or LowRank
	Masked    *Masked    // trains Sparse by other parameters

	Tied bool // the table of an embedding that is the output head as well
}

// Sparse trains some entries of a weight, in place (SHiRA, section 3): the weight holds base + value at them, so that
// the forward and backward products do not know of it.
type Sparse struct {
	Ptr  []int   // the entries of row i are Ptr[i] … Ptr[i+1]
	Cols []int32 // ascending in each row
	Base []float32
	Param
}

// NewSparse makes the entries at rows and cols, in row-major order, of w trainable, starting from the given values
// (nil for zero), which training changes in place. base holds all values of the weight before training; they may be more precise than w's own. NewSparse
// writes base + value to the weight, whose memory must be writable.
func NewSparse(w *Weight, base []float32, rows, cols []int32, values []float32) *Sparse {
	k := len(rows)
	s := &Sparse{Ptr: make([]int, w.Out+1), Cols: cols, Base: make([]float32, k)}
	s.Name = w.Name
	if s.Value = values; values == nil {
		s.Value = make([]float32, k)
	}
	for i, r := range rows {
		s.Ptr[r+1]++
		s.Base[i] = base[int(r)*w.In+int(cols[i])]
	}
	for i := range w.Out {
		s.Ptr[i+1] += s.Ptr[i]
	}
	w.Sparse = s
	w.Sync()
	return s
}

// Sync writes the trained values into what products read, after an optimizer step.
func (w *Weight) Sync() {
	switch {
	case w.Masked != nil:
		w.Masked.sync(w)
	case w.Sparse != nil:
		w.Sparse.write(w)
	case w.Half != nil && w.Dense != nil:
		kernel.RoundHalves(w.Half, w.Data)
	}
	for _, a := range w.LowRank {
		a.sync()
	}
	if w.Magnitude != nil {
		w.Magnitude.measure(w, w.change())
		w.Magnitude.scale()
	}
}

// write puts base + value into the weight.
func (s *Sparse) write(w *Weight) {
	for r := range w.Out {
		lo, hi := s.Ptr[r], s.Ptr[r+1]
		base, value := s.Base[lo:hi], s.Value[lo:hi]
		if w.Half != nil {
			row := w.Half[r*w.In:][:w.In]
			for i, c := range s.Cols[lo:hi] {
				row[c] = kernel.ToHalf(base[i] + value[i])
			}
			continue
		}
		row := w.Data[r*w.In:][:w.In]
		for i, c := range s.Cols[lo:hi] {
			row[c] = base[i] + value[i]
		}
	}
}

// Set writes values, row-major, to the memory that w has.
func (w *Weight) Set(values []float32) {
	copy(w.Data, values)
	if w.Half != nil {
		kernel.RoundHalves(w.Half, values)
	}
}

// operand is an activation as the right side of products.
type operand struct {
	x      kernel.Tensor
	halves *kernel.Halves // x in bfloat16, or nil
}

// operandIn is operand with the given memory.
func (m *shared) operandIn(h *kernel.Halves, w *Weight, x kernel.Tensor) operand {
	if w.Half == nil {
		return operand{x, nil}
	}
	h.Set(x)
	return operand{x, h}
}

// operand prepares x for products with w and weights of the same type.
func (m *shared) operand(w *Weight, x kernel.Tensor) operand {
	if w.Half == nil {
		return operand{x, nil}
	}
	return operand{x, m.round(x)}
}

// band returns the operand's features [off, off+rows).
func (o operand) band(off, rows int) operand {
	if o.halves != nil {
		o.halves = o.halves.Band(off, rows)
	}
	return operand{o.x.Band(off, rows), o.halves}
}

// mul computes y = W·x, or Wᵀ·x with trans, or adds that to y with acc.
func (o operand) mul(w *Weight, trans bool, y kernel.Tensor, acc bool) {
	if o.halves != nil {
		kernel.MatMulHalf(w.Half, trans, o.halves, y, acc)
		return
	}
	kernel.MatMul(w.Data, trans, o.x, y, acc)
}

// mulSerial computes rows of y = W·x, as many as y has, from row r on, in the calling goroutine.
func (o operand) mulSerial(w *Weight, r int, y kernel.Tensor) {
	from, to := r*w.In, (r+y.Rows)*w.In
	if o.halves != nil {
		kernel.MatMulHalfSerial(w.Half[from:to], o.halves, y)
		return
	}
	kernel.MatMulSerial(w.Data[from:to], o.x, y)
}

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
		if w.In != x.rows {
			return nil, fmt.Errorf("%s takes %d features, not %d", w.Name, w.In, x.rows)
		}
		y.rows += w.Out
		for _, p := range g.paramsOf(w) {
			inputs, wrt = append(inputs, g.param(p)), append(wrt, true)
			l.params = append(l.params, p)
		}
	}
	y.needGrad = y.needGrad || len(l.params) > 0
	l.y = y
	for _, w := range weights {
		g.reserveAdapted(w, residual != nil)
	}
	l.even = !slices.ContainsFunc(weights[:len(weights)-1], func(w *Weight) bool { return w.Out%2 == 1 })
	l.place()
	fwd := newOp("linear "+weights[0].Name, activationType, nominal(y.rows), l.forward)
	fwd.wrt, fwd.diff, fwd.flops, fwd.show = wrt, l.diff, l.flops, l.y.act.show
	var err error
	y.node, err = fwd.apply(inputs...)
	return y, err
}

// place decides where the result lives. A layer's last sum is the next one's input, which is kept always.
func (l *linear) place() {
	g, a, share := l.g, &l.y.act, l.kind.out(&l.g.mem)
	l.whole = l.findSampled()
	if l.weights[0].Half != nil {
		l.x.act.rounded, a.gradRounded = true, l.even
		g.halfRows = max(g.halfRows, l.x.rows, l.y.rows)
		for _, w := range l.weights {
			if w.Sparse != nil && g.Training && !l.whole {
				g.tokenRows = max(g.tokenRows, w.In+w.Out)
			}
		}
	}
	if l.whole && l.to > l.from {
		g.tokenRows = max(g.tokenRows, l.x.rows+l.to-l.from)
	}
	if x := &l.x.act; x.optional {
		if x.hollow = l.whole; !l.whole {
			x.buf.reserve(l.x.rows)
		}
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

// takePieces offers to take the result's gradient in pieces, where that is of use.
func (l *linear) takePieces() {
	if g := l.g; l.whole && !g.Checkpointing {
		l.y.act.taker = l
		g.takenRows = max(g.takenRows, l.y.rows+l.to-l.from)
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

// paramsOf returns what the graph trains of w.
func (g *Graph) paramsOf(w *Weight) []*Param {
	if !g.Training {
		return nil
	}
	return w.Params()
}

// Params returns what is trained of w in a training graph.
func (w *Weight) Params() []*Param {
	var all []*Param
	switch {
	case w.Masked != nil:
		all = append(all, w.Masked.params()...)
	case w.Sparse != nil:
		all = append(all, &w.Sparse.Param)
	}
	for _, a := range w.LowRank {
		all = append(append(all, &a.A, &a.B), a.Gate.params()...)
	}
	if w.Magnitude != nil {
		all = append(all, &w.Magnitude.Param)
	}
	if w.Dense != nil {
		all = append(all, w.Dense)
	}
	if w.Tally != nil {
		all = append(all, &w.Tally.stand)
	}
	if w.Bias != nil && w.Bias.Dense != nil {
		all = append(all, w.Bias.Dense)
	}
	return all
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

	// whole says that the backward pass needs its operands in bfloat16 alone; outputs [from, to) have sampled gradients.
	whole    bool
	from, to int
	taken    bool // dy was taken in pieces
	dy       *kernel.Halves
	dyTokens *kernel.TokenHalves
}

func (l *linear) forward(in []G.Value) (G.Value, error) {
	var r kernel.Tensor
	if l.residual != nil {
		r = values(in[1], l.y.rows)
	}
	l.compute(values(in[0], l.x.rows), r)
	if !l.direct {
		return l.y.act.filled()
	}
	if l.g.watched {
		_, err := l.y.act.again()
		return l.y.act.buf.value, err
	}
	return l.g.hollow(), nil
}

// again computes the result once more during the backward pass.
func (l *linear) again() error {
	x, err := l.x.act.again()
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

// operand prepares the input x for products. In float32 it may not be there yet.
func (l *linear) operand(x kernel.Tensor) operand {
	m, h := &l.g.mem, l.x.act.halves
	switch {
	case l.x.act.hollow:
		m.ahead = nil
		return operand{x, &m.halves}
	case h == nil:
		return m.operand(l.weights[0], x)
	}
	if slices.ContainsFunc(l.weights, func(w *Weight) bool { return w.drops(l.g) }) {
		h.Expand(x)
	}
	return operand{x, h}
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

func (l *linear) diff(grad *G.Node) (G.Nodes, error) {
	if l.residual != nil && l.residual.needGrad {
		l.residual.residual = grad
	}
	out := nominal(l.x.rows)
	bwd := newOp("linear backward "+l.weights[0].Name, activationType, out, l.backward)
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
	if a.parts == nil {
		x, err := a.again()
		if err == nil {
			kernel.Parallel(g.blocks, func(b int) { tokens.SetBand(b, 0, x.Blk(b)) })
		}
		return err
	}
	part, err := a.parts()
	if err != nil {
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

func (l *linear) flops() float64 {
	n := l.y.rows * l.x.rows
	for _, w := range l.weights {
		n += w.beside()
	}
	return l.g.productFlops(n)
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
		if w.Tally != nil {
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

// addBias writes bias[f] to every token of y, or adds it.
func addBias(bias []float32, y kernel.Tensor, acc bool) {
	kernel.Parallel(y.N(), func(b int) {
		blk := y.Blk(b)
		for f, v := range bias {
			row := blk[f*kernel.Block:][:kernel.Block]
			for t := range row {
				if acc {
					row[t] += v
				} else {
					row[t] = v
				}
			}
		}
	})
}

// biasBackward writes db[f] = Σ_t dy[f,t].
func biasBackward(dy kernel.Tensor, db []float32) {
	for f := range db {
		var s float32
		for b := range dy.N() {
			for _, v := range dy.Blk(b)[f*kernel.Block:][:kernel.Block] {
				s += v
			}
		}
		db[f] = s
	}
}
