package nn

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// Embed looks up the batch's token ids in the rows of table (vocabulary × features).
func (g *Graph) Embed(table *Weight) (*Var, error) {
	p := g.trained(table.Dense)
	v := &Var{rows: table.In, needGrad: p != nil}
	v.act.own(g, table.In, &g.mem.stream)
	inputs := []*G.Node{g.tick}
	if p != nil {
		inputs = append(inputs, g.param(p))
	}
	fwd := newOp("embedding", activationType, nominal(table.In), func([]G.Value) (G.Value, error) {
		x := v.act.buf.get(g.blocks, table.In)
		if err := embed(table, g.batch.IDs, x); err != nil {
			return nil, err
		}
		if g.Training && g.Noise.Alpha > 0 {
			g.Noise.add(x, g.batch.Lengths, g.batch.Number)
		}
		return v.act.filled()
	})
	if p != nil {
		fwd.wrt = []bool{false, true}
		fwd.diff = func(grad *G.Node) (G.Nodes, error) {
			bwd := newOp("embedding backward", vectorType, fwd.shape[:1], func(in []G.Value) (G.Value, error) {
				// Where the output head is tied to the table, the loss has written its share already.
				if !table.Tied {
					clear(p.Grad)
				}
				embedBackward(table, g.batch.IDs, values(in[0], table.In), p.Grad)
				return p.grad, nil
			})
			dt, err := bwd.apply(grad)
			return G.Nodes{nil, dt}, err
		}
	}
	var err error
	v.node, err = fwd.apply(inputs...)
	return v, err
}

// values views a graph value as an activation of the given number of features.
func values(v G.Value, rows int) kernel.Tensor {
	return kernel.NewTensor(v.Data().([]float32), rows)
}

// embed writes the table's rows of ids to x; the padding of the last block is zero.
func embed(table *Weight, ids []int32, x kernel.Tensor) error {
	for p, id := range ids {
		if id < 0 || int(id) >= table.Out {
			return fmt.Errorf("token id %d at position %d is outside the vocabulary of %d", id, p, table.Out)
		}
	}
	n := table.In
	kernel.Parallel(x.N(), func(b int) {
		blk := x.Blk(b)
		for t := range kernel.Block {
			p := b*kernel.Block + t
			if p >= len(ids) {
				for f := range n {
					blk[f*kernel.Block+t] = 0
				}
				continue
			}
			row := int(ids[p]) * n
			if table.Half != nil {
				for f, e := range table.Half[row:][:n] {
					blk[f*kernel.Block+t] = kernel.FromHalf(e)
				}
				continue
			}
			for f, e := range table.Data[row:][:n] {
				blk[f*kernel.Block+t] = e
			}
		}
	})
	return nil
}

// embedBackward adds dx to the rows of dtable (vocabulary × features) that ids name. Features are split over the
// workers, so that each sum runs over the positions in order.
func embedBackward(table *Weight, ids []int32, dx kernel.Tensor, dtable []float32) {
	const features = 16
	n := table.In
	kernel.Parallel((n+features-1)/features, func(part int) {
		lo := part * features
		hi := min(lo+features, n)
		for p, id := range ids {
			blk := dx.Blk(p / kernel.Block)
			row := dtable[int(id)*n:][:n]
			for f := lo; f < hi; f++ {
				row[f] += blk[f*kernel.Block+p%kernel.Block]
			}
		}
	})
}
