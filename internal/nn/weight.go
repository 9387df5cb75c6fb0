package nn

import (
	"fmt"
	"strings"

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

// takes returns an error where x has not w's inputs.
func (w *Weight) takes(x *Var) error {
	if w.In != x.rows {
		return fmt.Errorf("%s takes %d features, not %d", w.Name, w.In, x.rows)
	}
	return nil
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

// moduleNames returns the names of weights that are one operator: model.layers.0.self_attn.q_proj, k_proj, v_proj.
func moduleNames(weights []*Weight) string {
	names := weights[0].Name
	block := names[:strings.LastIndexByte(names, '.')+1]
	for _, w := range weights[1:] {
		names += ", " + strings.TrimPrefix(w.Name, block)
	}
	return names
}
