// Package compare tells two models apart, tensor by tensor, without loading either, or two adapters by what they do.
package compare

import (
	"context"
	"maps"
	"slices"

	"shira/internal/checkpoint"
)

// Status says how the tensors of one name differ.
type Status string

const (
	Equal   Status = "equal"   // same type, same shape, same bytes
	Retyped Status = "retyped" // other types, same values
	Changed Status = "changed" // other values
	Shape   Status = "shape"   // other shapes: nothing is compared
	OnlyA   Status = "only_a"
	OnlyB   Status = "only_b"
)

// Tensor compares the tensors of one name. Fields are only ever added to its JSON.
type Tensor struct {
	Name     string `json:"name"`
	Status   Status `json:"status"`
	DTypeA   string `json:"dtype_a"` // "" where A has no such tensor
	DTypeB   string `json:"dtype_b"`
	ShapeA   []int  `json:"shape_a"`
	ShapeB   []int  `json:"shape_b"`
	Elements int64  `json:"elements"` // that were compared
	Changed  int64  `json:"changed"`  // of these, how many have other values; bits of one type, so that −0 is not 0

	// Of the difference B − A, for types that are floats. Where a value is not finite, so are these, and JSON has null.
	MaxAbs   *float64 `json:"max_abs"`
	MeanAbs  *float64 `json:"mean_abs"`
	Relative *float64 `json:"relative"` // ‖B − A‖ / ‖A‖, null where A is zero
}

// Result compares two models.
type Result struct {
	Equal    bool     `json:"equal"` // all tensors are; metadata does not count
	Elements int64    `json:"elements"`
	Changed  int64    `json:"changed"`
	Tensors  []Tensor `json:"tensors"` // those of A in the order of its data, then those that only B has, by name
}

// Count returns how many tensors have a status.
func (r *Result) Count(s Status) int {
	n := 0
	for _, t := range r.Tensors {
		if t.Status == s {
			n++
		}
	}
	return n
}

// Models compares a and b. Both are read once or twice, in blocks, whatever their size; progress, which may be nil, is
// told of bytes of a. The result does not depend on the number of threads.
func Models(ctx context.Context, a, b *checkpoint.Model, progress func(done, total int64)) (*Result, error) {
	r := &Result{Equal: true, Tensors: []Tensor{}}
	onlyB := map[string]bool{}
	for _, name := range b.Names() {
		onlyB[name] = true
	}
	done := int64(0)
	for _, ta := range a.Tensors() {
		t := Tensor{Name: ta.Name, Status: OnlyA, DTypeA: ta.DType.String(), ShapeA: ta.Shape}
		if tb, ok := b.Lookup(ta.Name); ok {
			delete(onlyB, ta.Name)
			t.DTypeB, t.ShapeB = tb.DType.String(), tb.Shape
			if err := t.compare(ctx, ta, tb); err != nil {
				return nil, err
			}
		}
		r.add(t)
		if done += ta.Size(); progress != nil {
			progress(done, a.Size())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(onlyB)) {
		tb, _ := b.Lookup(name)
		r.add(Tensor{Name: name, Status: OnlyB, DTypeB: tb.DType.String(), ShapeB: tb.Shape})
	}
	return r, nil
}

func (r *Result) add(t Tensor) {
	r.Equal = r.Equal && t.Status == Equal
	r.Elements += t.Elements
	r.Changed += t.Changed
	r.Tensors = append(r.Tensors, t)
}

// compare fills in what follows from the data of both.
func (t *Tensor) compare(ctx context.Context, a, b checkpoint.Tensor) error {
	if !slices.Equal(a.Shape, b.Shape) {
		t.Status = Shape
		return nil
	}
	t.Elements = int64(a.Len())
	if a.DType == b.DType {
		switch same, err := equal(ctx, a, b); {
		case err != nil:
			return err
		case same:
			t.Status = Equal
			return nil
		}
	}
	values := a.DType.IsFloat() && b.DType.IsFloat()
	if a.DType != b.DType && !values {
		t.Status, t.Changed = Changed, t.Elements // nothing says what the values of such types have in common
		return nil
	}
	d, err := differences(ctx, a, b)
	if err != nil {
		return err
	}
	if t.Status, t.Changed = Changed, d.changed; t.Changed == 0 {
		t.Status = Retyped
	}
	if values {
		t.MaxAbs, t.MeanAbs, t.Relative = finite(d.max), finite(d.sum/float64(t.Elements)), d.relative()
	}
	return nil
}

// finite returns a pointer to v, nil where JSON has no form for it.
func finite(v float64) *float64 {
	if v-v != 0 {
		return nil
	}
	return &v
}
