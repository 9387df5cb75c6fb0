package nn

import (
	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// SwiGLU is silu(gate)·up for x = [gate; up] stacked (Shazeer 2020, eq. 6).
func (g *Graph) SwiGLU(x *Var) (*Var, error) {
	n := x.rows / 2
	y := &Var{rows: n, needGrad: x.needGrad}
	run := func(xs kernel.Tensor, round bool) {
		ys := g.mem.act.get(xs.N(), n)
		var halves *kernel.Halves
		if round {
			halves = g.mem.roundAhead(ys)
		}
		kernel.Parallel(xs.N(), func(b int) {
			kernel.SwiGLU(xs.Band(0, n).Blk(b), xs.Band(n, n).Blk(b), ys.Blk(b))
			if halves != nil {
				halves.SetBlock(b, ys.Blk(b))
			}
		})
	}
	y.act.buf = g.mem.act.reserve(n)
	y.act.recompute = func() error {
		xs, err := x.act.again()
		if err == nil {
			run(xs, false)
		}
		return err
	}
	fwd := newOp("swiglu", activationType, nominal(n), func(in []G.Value) (G.Value, error) {
		run(values(in[0], x.rows), y.act.rounded)
		return y.act.filled()
	})
	fwd.wrt = []bool{x.needGrad}
	fwd.diff = func(grad *G.Node) (G.Nodes, error) {
		bwd := newOp("swiglu backward", activationType, nominal(x.rows), func(in []G.Value) (G.Value, error) {
			xs, err := x.act.again()
			if err != nil {
				return nil, err
			}
			dy, dx := values(in[0], n), g.mem.dMLP.get(xs.N(), x.rows)
			var halves *kernel.Halves
			if x.act.gradRounded {
				halves = g.mem.roundAhead(dx)
			}
			kernel.Parallel(xs.N(), func(b int) {
				kernel.SwiGLUBackward(xs.Band(0, n).Blk(b), xs.Band(n, n).Blk(b), dy.Blk(b), dx.Band(0, n).Blk(b), dx.Band(n, n).Blk(b))
				if halves != nil {
					halves.SetBlock(b, dx.Blk(b))
				}
			})
			return g.mem.dMLP.value, nil
		})
		g.mem.dMLP.reserve(x.rows)
		dx, err := bwd.apply(grad)
		return G.Nodes{dx}, err
	}
	var err error
	y.node, err = fwd.apply(x.node)
	return y, err
}
