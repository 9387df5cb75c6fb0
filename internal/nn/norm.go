package nn

import (
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// Gain is the weight of a norm, one value per feature.
type Gain struct {
	Name string
	Data []float32
	// Dense, where set, trains the gain; its Value is Data.
	Dense *Param
}

// RMSNorm is y = x / √(mean(x²) + eps) · gain, per token (Zhang & Sennrich 2019, eq. 4). It opens a residual block: its
// backward pass adds the gradient that reaches x around the block.
func (g *Graph) RMSNorm(x *Var, gain *Gain, eps float64) (*Var, error) {
	if len(gain.Data) != x.rows {
		return nil, fmt.Errorf("%s takes %d features, not %d", gain.Name, len(gain.Data), x.rows)
	}
	p := g.trained(gain.Dense)
	y := &Var{rows: x.rows, needGrad: x.needGrad || p != nil}
	var rms buffer // 1/√(mean(x²)+eps), one row
	a := &y.act
	a.buf = g.mem.normed.reserve(x.rows)
	a.blocks = func() (func(b int), error) {
		in, err := x.act.again()
		if err != nil {
			return nil, err
		}
		r, out := rms.get(in.N(), 1), a.buf.get(in.N(), x.rows)
		return func(b int) { kernel.Norm(gain.Data, in.Blk(b), (*[kernel.Block]float32)(r.Blk(b)), out.Blk(b)) }, nil
	}
	a.recompute = g.timed(func() error {
		f, err := a.blocks()
		if err == nil {
			kernel.Parallel(g.blocks, f)
		}
		return err
	})
	inputs := []*G.Node{x.node}
	if p != nil {
		inputs = append(inputs, g.param(p))
	}
	fwd := newOp("norm "+gain.Name, activationType, nominal(x.rows), func(in []G.Value) (G.Value, error) {
		xs := values(in[0], x.rows)
		r := rms.get(g.blocks, 1)
		ys := a.buf.get(g.blocks, x.rows)
		a.gradTaken = false
		var halves *kernel.Halves
		if a.rounded {
			halves = g.mem.roundAhead(ys)
		}
		a.fill(g, func(b int) {
			rb := (*[kernel.Block]float32)(r.Blk(b))
			invRMS(xs.Blk(b), eps, rb)
			kernel.Norm(gain.Data, xs.Blk(b), rb, ys.Blk(b))
			if halves != nil {
				halves.SetBlock(b, ys.Blk(b))
			}
		})
		return a.filled()
	})
	fwd.wrt = []bool{x.needGrad, true}[:len(inputs)]
	fwd.diff = func(grad *G.Node) (G.Nodes, error) {
		// The stream's gradient is updated in place: whatever else read it runs before the gradient of y exists.
		ins := []*G.Node{grad}
		if x.residual != nil {
			ins = append(ins, x.residual)
		}
		// backward returns what adds a block's gradient to that of the stream.
		backward := func(dy kernel.Tensor) (func(b int), error) {
			xs, err := x.act.again()
			if err != nil {
				return nil, err
			}
			dx := g.mem.dStream.get(g.blocks, x.rows)
			return func(b int) {
				normBackward(gain.Data, xs.Blk(b), dy.Blk(b), (*[kernel.Block]float32)(rms.data[b*kernel.Block:]), dx.Blk(b))
			}, nil
		}
		bwd := newOp("norm backward "+gain.Name, activationType, nominal(x.rows), func(in []G.Value) (G.Value, error) {
			dy := values(in[0], x.rows)
			if p != nil {
				xs, err := x.act.again()
				if err != nil {
					return nil, err
				}
				gainBackward(xs, dy, rms.data, p.Grad)
			}
			switch {
			case !x.needGrad:
				return in[0], nil
			case a.gradTaken:
				a.gradTaken = false
				return g.mem.dStream.value, nil
			case x.residual == nil:
				clear(g.mem.dStream.get(g.blocks, x.rows).Data)
			}
			f, err := backward(dy)
			if err != nil {
				return nil, err
			}
			kernel.Parallel(g.blocks, f)
			return g.mem.dStream.value, nil
		})
		if p == nil && x.needGrad && x.residual != nil {
			a.gradDone = backward
		}
		d, err := bwd.apply(ins...)
		if err != nil {
			return nil, err
		}
		grads := G.Nodes{nil}
		if x.needGrad {
			grads[0] = d
			g.mem.dStream.reserve(x.rows)
		}
		if p != nil {
			dp, err := g.gradOf(p, d)
			if err != nil {
				return nil, err
			}
			grads = append(grads, dp)
		}
		return grads, nil
	}
	var err error
	y.node, err = fwd.apply(inputs...)
	return y, err
}

// invRMS writes 1/√(mean over features of x² + eps) per token of one block.
func invRMS(x []float32, eps float64, r *[kernel.Block]float32) {
	clear(r[:])
	kernel.DotCols(x, x, r)
	n := float64(len(x) / kernel.Block)
	for t, s := range r {
		r[t] = float32(1 / math.Sqrt(float64(s)/n+eps))
	}
}

// normBackward adds to dx the gradient through y = x·r·w of one block:
// dx = w·dy·r − x·r³/n·Σ_f(w·dy·x).
func normBackward(w, x, dy []float32, r *[kernel.Block]float32, dx []float32) {
	var c [kernel.Block]float32
	kernel.DotCols3(w, x, dy, &c)
	for t, rt := range r {
		c[t] *= rt * rt * rt / float32(len(w))
	}
	kernel.NormBackward(w, x, dy, r, &c, dx)
}

// gainBackward writes dw[f] = Σ_t x[f,t]·r[t]·dy[f,t].
func gainBackward(x, dy kernel.Tensor, r []float32, dw []float32) {
	const features = 16
	kernel.Parallel((len(dw)+features-1)/features, func(part int) {
		for f := part * features; f < min((part+1)*features, len(dw)); f++ {
			var s float32
			for b := range x.N() {
				xb, db, rb := x.Blk(b)[f*kernel.Block:][:kernel.Block], dy.Blk(b)[f*kernel.Block:][:kernel.Block], r[b*kernel.Block:][:kernel.Block]
				for t, v := range xb {
					s += v * rb[t] * db[t]
				}
			}
			dw[f] = s
		}
	})
}
