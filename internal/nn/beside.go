package nn

import (
	"slices"

	"shira/internal/kernel"
)

// beside is the memory of what is computed beside weights, used by all of them in turn.
type beside struct {
	z, gated, dz buffer // of a low-rank change
	gate         gateMemory
	v, scaled    buffer // of a weight with a magnitude: its output without that, and dy with it
	x, dx        buffer // what dropout leaves of the input, and its gradient

	halves, scaledHalves, xHalves kernel.Halves

	minus []float32 // −1 for each feature
}

func (m *beside) all() []*buffer {
	return append([]*buffer{&m.z, &m.gated, &m.dz, &m.v, &m.scaled, &m.x, &m.dx}, m.gate.all()...)
}

// adapted says whether something is computed beside w.
func (w *Weight) adapted() bool { return len(w.LowRank) > 0 || w.Magnitude != nil }

// beside is the number of products for each token beside those with w itself.
func (w *Weight) beside() int {
	n := 0
	for _, a := range w.LowRank {
		n += a.down.Out * (a.down.In + a.up.Out)
	}
	return n
}

// TrainingBytes is the memory of what training w needs besides trained values, their gradients and moments.
func (w *Weight) TrainingBytes() int64 {
	n := 0
	if s := w.Sparse; s != nil {
		n += 4*3*len(s.Cols) + 8*w.Out // base and indices, of which the adapter has two
	}
	if m := w.Masked; m != nil {
		n += 4*(3*len(m.v)+len(m.a)+len(m.b)) + m.LowRank.derived() + 16*w.Out
	}
	for _, a := range w.LowRank {
		n += a.derived()
	}
	if w.Magnitude != nil {
		n += 16 * w.Out
	}
	return int64(n)
}

// derived is the memory of what products read.
func (a *LowRank) derived() int {
	n := 4*len(a.up.Data) + 2*(len(a.up.Half)+len(a.down.Half))
	if a.Basis != kernel.Plain {
		n += 4 * len(a.down.Data)
	}
	return n
}

// drops says whether w's change sees a part of its input only.
func (w *Weight) drops(g *Graph) bool {
	return slices.ContainsFunc(w.LowRank, func(a *LowRank) bool { return a.drops(g) })
}

// reserveAdapted announces what w needs, whose output is added to a residual or not.
func (g *Graph) reserveAdapted(w *Weight, residual bool) {
	if !w.adapted() {
		return
	}
	m, halves := &g.mem.beside, 0
	for _, a := range w.LowRank {
		rows := a.down.Out
		z, gated := a.buffers(g)
		z.reserve(rows)
		if z != &m.z {
			g.kept = append(g.kept, z)
		}
		if a.Gate != nil {
			gated.reserve(rows)
			if gated != &m.gated {
				g.kept = append(g.kept, gated)
			}
			a.Gate.reserve(g)
		}
		if g.Training {
			m.dz.reserve(rows)
		}
		halves += rows
	}
	drops := w.drops(g)
	if drops {
		m.x.reserve(w.In)
		m.dx.reserve(w.In)
	}
	if drops || g.Checkpointing {
		halves += w.In
	}
	if w.Magnitude != nil {
		if residual || drops || g.Training {
			m.v.reserve(w.Out)
		}
		if g.Training {
			m.scaled.reserve(w.Out)
			halves += w.Out
		}
	}
	if w.Half != nil {
		g.besideRows = max(g.besideRows, halves)
	}
}

// input returns what w's change sees of x.
func (g *Graph) input(w *Weight, x operand) operand {
	if !w.drops(g) {
		return x
	}
	m, a := &g.mem.beside, w.LowRank[0]
	y := m.x.get(x.x.N(), w.In)
	newDropout(a.stream, g.batch.Number, a.Dropout).apply(x.x, y, false)
	return g.mem.operandIn(&m.xHalves, w, y)
}

// addChanges adds w's changes for x to y.
func (g *Graph) addChanges(w *Weight, x operand, y kernel.Tensor) {
	if len(w.LowRank) == 0 {
		return
	}
	x = g.input(w, x)
	for _, a := range w.LowRank {
		a.forward(g, x, y)
	}
}

// scaled writes y = c ⊙ (W·x + change) + bias, or adds it with acc. Where the change does not see all of x, it is only
// the factor's excess over one that is computed of what it sees, x̃: W·x + (c−1) ⊙ W·x̃ + c ⊙ change (as PEFT does).
func (g *Graph) scaled(w *Weight, x operand, y kernel.Tensor, acc bool) {
	m := &g.mem.beside
	v, apart := y, acc || w.drops(g)
	if apart {
		v = m.v.get(y.N(), w.Out)
	}
	seen := g.input(w, x)
	seen.mul(w, false, v, false)
	if w.drops(g) {
		x.mul(w, false, y, acc)
		m.subtract(v, y)
	}
	for _, a := range w.LowRank {
		a.forward(g, seen, v)
	}
	if apart {
		addScaledRows(w.Magnitude.factors, v, y)
	} else {
		scaleRows(w.Magnitude.factors, v, y)
	}
	if w.Bias != nil {
		addBias(w.Bias.Data, y, true)
	}
}

// subtract takes x from y.
func (m *beside) subtract(x, y kernel.Tensor) {
	for len(m.minus) < y.Rows {
		m.minus = append(m.minus, -1)
	}
	addScaledRows(m.minus[:y.Rows], x, y)
}

// magnitudes writes the gradients of the weights' magnitudes for the outputs' gradient. It comes before products of that, as
// activations may have to be computed again.
func (l *linear) magnitudes(dy kernel.Tensor) error {
	off := 0
	for _, w := range l.weights {
		part, at := dy.Band(off, w.Out), off
		off += w.Out
		if w.Magnitude == nil {
			continue
		}
		if w.drops(l.g) {
			x, err := l.x.act.again()
			if err != nil {
				return err
			}
			seen := l.g.input(w, operand{x: x})
			v := l.g.mem.beside.v.get(dy.N(), w.Out)
			seen.mul(w, false, v, false)
			for _, a := range w.LowRank {
				a.forward(l.g, seen, v)
			}
			w.Magnitude.gradient(part, v)
			continue
		}
		// c ⊙ v is what the layer put out, less what was added to it.
		y, err := l.y.act.again()
		if err != nil {
			return err
		}
		y = y.Band(at, w.Out)
		if l.residual != nil || w.Bias != nil {
			v := l.g.mem.beside.v.get(dy.N(), w.Out)
			kernel.Parallel(y.N(), func(b int) { copy(v.Blk(b), y.Blk(b)) })
			if l.residual != nil {
				r, err := l.residual.act.again()
				if err != nil {
					return err
				}
				l.g.mem.beside.subtract(r, v)
			}
			if w.Bias != nil {
				subtractBias(w.Bias.Data, v)
			}
			y = v
		}
		w.Magnitude.gradientOfOutput(part, y)
	}
	return nil
}

// backwardAdapted writes the gradients of w's changes for the gradient dy of its outputs, and those of its inputs to dx, where
// that is wanted, or adds them with acc.
func (l *linear) backwardAdapted(w *Weight, x kernel.Tensor, dy operand, dx kernel.Tensor, acc bool) {
	g, m, wanted := l.g, &l.g.mem.beside, l.x.needGrad
	drops := w.drops(g)
	dSeen := dx
	if drops {
		dSeen = m.dx.get(x.N(), w.In)
	}
	switch {
	case w.Magnitude == nil:
		if wanted {
			dy.mul(w, true, dx, acc)
		}
		if wanted && drops {
			clear(dSeen.Data)
		}
	case drops:
		if wanted {
			dy.mul(w, true, dx, acc)
			scaled := m.scaled.get(x.N(), w.Out)
			scaleRows(w.Magnitude.factors, dy.x, scaled)
			m.subtract(dy.x, scaled)
			g.mem.operandIn(&m.scaledHalves, w, scaled).mul(w, true, dSeen, false)
		}
		dy = g.scaledGradient(w, dy)
	default:
		dy = g.scaledGradient(w, dy)
		if wanted {
			dy.mul(w, true, dx, acc)
		}
	}
	if w.Sparse != nil {
		g.sampled(w, dy.x, x)
	}
	if len(w.LowRank) == 0 {
		return
	}
	seen := operand{x: x}
	switch {
	case drops:
		seen = g.input(w, seen)
	case g.Checkpointing:
		seen = g.mem.operandIn(&m.xHalves, w, x)
	}
	for _, a := range w.LowRank {
		dz := a.gradients(g, seen, dy)
		if wanted {
			a.back(g, dz, dSeen)
		}
	}
	if wanted && drops {
		a := w.LowRank[0]
		newDropout(a.stream, g.batch.Number, a.Dropout).apply(dSeen, dx, true)
	}
}

// scaledGradient returns c ⊙ dy.
func (g *Graph) scaledGradient(w *Weight, dy operand) operand {
	m := &g.mem.beside
	scaled := m.scaled.get(dy.x.N(), w.Out)
	scaleRows(w.Magnitude.factors, dy.x, scaled)
	return g.mem.operandIn(&m.scaledHalves, w, scaled)
}
