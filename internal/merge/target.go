package merge

import (
	"context"
	"slices"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Term is one adapter's change of a weight.
type Term struct {
	Delta   adapter.Delta
	Weight  float64 // α; a term of weight 0 takes no part, so that it does not vote either
	Adapter int     // index of the adapter, for statistics
	Salt    string  // distinguishes the adapter's random numbers: its digest
}

// entries returns the change as one of entries.
func (t *Term) entries() (adapter.Entries, bool) {
	e, ok := t.Delta.(adapter.Entries)
	return e, ok
}

// Target is a weight of shape (out, in) and the changes that are to be merged into it. It is set up by New and Prepare;
// then any number of workers may work on its rows beside each other.
type Target struct {
	checkpoint.Tensor
	Terms  []Term // of a canonical order
	Method *Method
	Params Params

	adapters int // how many there are in all
	weights  []float64
	pruners  []pruner // of each term, nil where all entries stay
	sparse   bool     // no term has more than some entries
	ctx      context.Context
}

// New returns a target. The tensor must be of a float type and of the deltas' shape, and terms in an order that does not
// depend on how the user gave them. adapters is the number of adapters, of which not all need to be here; with 0 nothing is
// counted, and there are no statistics.
func New(t checkpoint.Tensor, terms []Term, m *Method, p Params, adapters int) *Target {
	target := &Target{Tensor: t, Method: m, Params: p, adapters: adapters, sparse: true}
	for _, term := range terms {
		if term.Weight == 0 {
			continue
		}
		weight := term.Weight
		if t.DType != checkpoint.F64 {
			weight = float64(float32(weight)) // products with float32 values are then exact
		}
		_, sparse := term.entries()
		target.sparse = target.sparse && sparse
		target.Terms = append(target.Terms, term)
		target.weights = append(target.weights, weight)
	}
	return target
}

// NewSum returns a target of the plain weighted sum, set up, of which nothing is counted.
func NewSum(t checkpoint.Tensor, terms []Term) *Target {
	target := New(t, terms, &linear, DefaultParams(), 0)
	target.pruners = make([]pruner, len(target.Terms))
	return target
}

// Sparse says whether only some entries change. Where no term takes part none does.
func (t *Target) Sparse() bool { return t.sparse }

// Prepare finds what depends on a whole change, such as the threshold of its largest entries. It reads the changes up to
// three times, in blocks and on all threads.
func (t *Target) Prepare(ctx context.Context) error {
	t.ctx = ctx
	t.pruners = make([]pruner, len(t.Terms))
	if t.Method.prune == nil || t.Params.Density == 1 {
		return nil
	}
	for i := range t.Terms {
		var err error
		if t.pruners[i], err = t.Method.prune(t, &t.Terms[i]); err != nil {
			return err
		}
	}
	return nil
}

// blockElements is about how many elements are worked on at a time, in whole rows, where no more than fewTerms changes are not
// sparse; with more of them it is less, so that their rows take about the same memory.
const (
	blockElements = 1 << 18
	fewTerms      = 4
)

// blockRows returns how many rows a block has, but for the last.
func (t *Target) blockRows() int {
	elements := blockElements / max(1, t.denseTerms()/fewTerms)
	return min(t.Shape[0], max(1, elements/max(t.Shape[1], 1)))
}

// denseTerms is of how many terms a worker has rows with all elements: of all, where one is not sparse.
func (t *Target) denseTerms() int {
	if t.sparse {
		return 0
	}
	return len(t.Terms)
}

// WorkerBytes is about how much memory a worker takes.
func (t *Target) WorkerBytes() int64 {
	elements := int64(t.blockRows()) * int64(t.Shape[1])
	stored := int64(t.DType.Size())
	if t.sparse {
		entries := int64(0) // of a block, were they spread evenly; twice that for where they are not
		for _, term := range t.Terms {
			entries += 2 * int64(term.Delta.Parameters()) / int64(max(1, t.Blocks()))
		}
		return elements*stored + entries*(40+2*stored)
	}
	return elements * (3*stored + 4*int64(t.denseTerms()) + 24)
}

// Blocks returns the number of blocks of rows. It depends on the shape and the terms alone.
func (t *Target) Blocks() int {
	if t.Len() == 0 {
		return 0
	}
	return (t.Shape[0] + t.blockRows() - 1) / t.blockRows()
}

// Rows returns the first row of a block and the number of its rows.
func (t *Target) Rows(block int) (first, n int) {
	first = block * t.blockRows()
	return first, min(t.blockRows(), t.Shape[0]-first)
}

// rowBytes is the size of a stored row.
func (t *Target) rowBytes() int { return t.Shape[1] * t.DType.Size() }

// Read returns the stored bytes of rows [first, first+n), in the memory of buf where that suffices.
func (t *Target) Read(buf []byte, first, n int) ([]byte, error) {
	size := n * t.rowBytes()
	buf = slices.Grow(buf[:0], size)[:size]
	return buf, t.ReadAt(buf, int64(first)*int64(t.rowBytes()))
}

// base returns rows of the weight in float32, nil where no change depends on them.
func (t *Target) base(first, n int) ([]float32, error) {
	if !slices.ContainsFunc(t.Terms, func(term Term) bool { return adapter.NeedsBase(term.Delta) }) {
		return nil, nil
	}
	stored, err := t.Read(nil, first, n)
	if err != nil {
		return nil, err
	}
	base := make([]float32, n*t.Shape[1])
	return base, checkpoint.DecodeFloat32(base, t.DType, stored)
}

// errNotFinite is the error of an entry whose sum its type cannot hold.
func (t *Target) errNotFinite(flat int, base, delta float64) error {
	in := t.Shape[1]
	return fault.New(fault.Numerical, t.Path(), "%s: entry [%d, %d] would not be finite in %s: the base has %v, the adapters add %v",
		fault.Quote(t.Name), flat/in, flat%in, t.DType, base, delta)
}
