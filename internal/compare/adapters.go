package compare

import (
	"context"
	"maps"
	"math"
	"slices"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Adapters compares what two adapters do to the weights of their modules: ΔW, whatever their methods and files. A base is
// needed, and must have been checked against both, where a change depends on it, and may be nil elsewhere.
func Adapters(ctx context.Context, a, b *adapter.Adapter, base *checkpoint.Model) (*Result, error) {
	r := &Result{Equal: true, Tensors: []Tensor{}}
	onlyB := map[string]adapter.Delta{}
	for _, d := range b.Deltas {
		onlyB[d.Module()] = d
	}
	for _, da := range a.Deltas {
		t := Tensor{Name: da.Module(), Status: OnlyA, DTypeA: a.Config.Method, ShapeA: shapeOf(da)}
		if db := onlyB[t.Name]; db != nil {
			delete(onlyB, t.Name)
			t.DTypeB, t.ShapeB = b.Config.Method, shapeOf(db)
			if err := t.compareDeltas(ctx, da, db, base); err != nil {
				return nil, err
			}
		}
		r.add(t)
	}
	for _, name := range slices.Sorted(maps.Keys(onlyB)) {
		r.add(Tensor{Name: name, Status: OnlyB, DTypeB: b.Config.Method, ShapeB: shapeOf(onlyB[name])})
	}
	return r, nil
}

func shapeOf(d adapter.Delta) []int {
	out, in := d.Shape()
	return []int{out, in}
}

// compareDeltas fills in what follows from the rows of two deltas of one module.
func (t *Tensor) compareDeltas(ctx context.Context, a, b adapter.Delta, base *checkpoint.Model) error {
	if t.ShapeA[0] == 0 || t.ShapeB[0] == 0 { // PEFT's files of SHiRA do not have it
		return fault.New(fault.Usage, "", "%s: an adapter does not say the shape of its weight", fault.Quote(t.Name)).
			WithHint("give the base they are for: --base BASE")
	}
	if !slices.Equal(t.ShapeA, t.ShapeB) {
		t.Status = Shape
		return nil
	}
	out, in := a.Shape()
	n := max(1, min(out, blockElements/in))
	rows := rowsOf{base: make([]float32, n*in), x: make([]float32, n*in), y: make([]float32, n*in)}
	if base != nil {
		rows.weight, _ = base.Lookup(adapter.WeightName(a))
	} else if adapter.NeedsBase(a) || adapter.NeedsBase(b) {
		return fault.New(fault.Usage, "", "%s: what the adapter changes depends on the base", fault.Quote(t.Name)).
			WithHint("give the base: --base BASE")
	}
	var total difference
	for first := 0; first < out; first += n {
		if err := fault.Canceled(ctx, "", "not compared"); err != nil {
			return err
		}
		d, err := rows.difference(a, b, first, min(n, out-first), in)
		if err != nil {
			return err
		}
		total.add(d)
	}
	t.Elements, t.Changed = int64(out)*int64(in), total.changed
	t.MaxAbs, t.MeanAbs, t.Relative = finite(total.max), finite(total.sum/float64(t.Elements)), total.relative()
	if t.Status = Equal; total.changed > 0 {
		t.Status = Changed
	}
	return nil
}

// rowsOf holds the same rows of a weight and of two changes of it.
type rowsOf struct {
	weight     checkpoint.Tensor // its zero value where no base is given
	stored     []byte
	base, x, y []float32
}

// difference compares rows [first, first+n).
func (r *rowsOf) difference(a, b adapter.Delta, first, n, in int) (d difference, err error) {
	if r.weight.Name != "" {
		row := in * r.weight.DType.Size()
		r.stored = slices.Grow(r.stored[:0], n*row)[:n*row]
		if err := r.weight.ReadAt(r.stored, int64(first)*int64(row)); err != nil {
			return d, err
		}
		if err := checkpoint.DecodeFloat32(r.base[:n*in], r.weight.DType, r.stored); err != nil {
			return d, err
		}
	}
	a.Rows(r.x[:n*in], r.base[:n*in], first, n)
	b.Rows(r.y[:n*in], r.base[:n*in], first, n)
	for i, x := range r.x[:n*in] {
		y := r.y[i]
		d.normA += float64(float64(x) * float64(x))
		if math.Abs(float64(y)-float64(x)) != 0 { // an entry that is not in a mask is one of 0
			d.count(float64(y) - float64(x))
		}
	}
	return d, nil
}
