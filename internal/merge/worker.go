package merge

import (
	"slices"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
)

// Worker works on the rows of a target, in memory of its own. It belongs to one goroutine.
type Worker struct {
	*Target
	stats Stats

	base    []float32   // the block's rows of the weight, where a term depends on them
	dense   [][]float32 // of each term of a target that is not sparse, the block's rows of its change
	delta   []float32   // the merged change of these rows, in room or in the only term's block
	room    []float32
	scratch [][]float32 // of each term, one row that was pruned

	raw, views []view    // of each term, the current row, before and after pruning
	values     []float32 // of each term, what it has at the current entry

	// The entries of the block that some term of a sparse target has, in row-major order.
	first int       // row of the block
	at    []int32   // index into the block
	sum   []float64 // their merged changes
	parts []part

	add adder
}

// part says that an adapter contributes to an entry of Worker.at.
type part struct{ entry, adapter int32 }

// NewWorker returns a worker for t, in the memory of an old one that is not used any more, which may be nil.
func (t *Target) NewWorker(old *Worker) *Worker {
	w := old
	if w == nil {
		w = &Worker{}
	}
	w.Target = t
	n := len(t.Terms)
	w.dense, w.scratch = slices.Grow(w.dense[:0], n)[:n], slices.Grow(w.scratch[:0], n)[:n]
	w.raw, w.views, w.values = make([]view, n), make([]view, n), make([]float32, n)
	return w
}

// Apply adds the merged change to block, the stored bytes of whole rows from row first on, and returns what it found. An
// entry that would not be finite is a Numerical error.
func (w *Worker) Apply(block []byte, first int) (*Stats, error) {
	n := len(block) / w.rowBytes()
	w.stats = NewStats(w.adapters)
	if !w.sparse {
		if err := w.mergeDense(block, first, n); err != nil {
			return nil, err
		}
		return &w.stats, w.addDense(block, first)
	}
	w.mergeSparse(first, n)
	if w.DType != checkpoint.BF16 || !w.add.sparseHalves(checkpoint.Halves(block), w.at, w.sum) {
		if err := w.addEntries(block, first, false); err != nil {
			return nil, err
		}
	}
	if w.counts() {
		w.count()
	}
	return &w.stats, nil
}

// Select merges the changes of rows [first, first+n) of a sparse target. It returns which elements of these rows they are of,
// ascending; the list is valid until the worker's next use.
func (w *Worker) Select(first, n int) []int32 {
	w.stats = NewStats(w.adapters)
	w.mergeSparse(first, n)
	return w.at
}

// AddSelected adds what Select has merged to the stored numbers of those elements alone, with the bits that Apply gives. An
// entry that would not be finite is a Numerical error.
func (w *Worker) AddSelected(stored []byte) error {
	a := &w.add
	if w.DType == checkpoint.BF16 {
		a.values = slices.Grow(a.values[:0], len(w.sum))[:len(w.sum)]
		for k, d := range w.sum {
			a.values[k] = float32(d)
		}
		a.old = append(a.old[:0], stored...)
		if a.halves(checkpoint.Halves(stored), a.values, nil) {
			return nil
		}
		copy(stored, a.old) // to find which one it is
	}
	bad, err := a.block(w.DType, stored, true, nil, w.sum)
	if err != nil || bad < 0 {
		return err
	}
	return w.errNotFinite(w.first*w.Shape[1]+int(w.at[bad]), a.before(w.DType, bad), w.sum[bad])
}

// addEntries adds sum to the entries of at, or to all.
func (w *Worker) addEntries(block []byte, first int, all bool) error {
	bad, err := w.add.block(w.DType, block, all, w.at, w.sum)
	if err != nil || bad < 0 {
		return err
	}
	place := bad
	if !all {
		place = int(w.at[bad])
	}
	return w.errNotFinite(first*w.Shape[1]+place, w.add.before(w.DType, bad), w.sum[bad])
}

// mergeSparse fills at, sum and parts with the merged change of the rows of a sparse target.
func (w *Worker) mergeSparse(first, n int) {
	w.first, w.at, w.sum, w.parts = first, w.at[:0], w.sum[:0], w.parts[:0]
	for r := range n {
		w.view(first+r, r)
		for i, p := range w.pruners {
			w.views[i] = w.raw[i]
			if p != nil {
				w.scratch[i] = append(w.scratch[i][:0], w.raw[i].values...)
				w.views[i].values = w.scratch[i]
				p.row(first+r, w.raw[i].cols, w.scratch[i])
			}
		}
		switch {
		case w.single():
			w.sumOne(r * w.Shape[1])
		case len(w.views) == 2 && w.Method.combine == nil:
			w.sumPair(r * w.Shape[1])
		default:
			w.mergeEntries(r * w.Shape[1])
		}
	}
}

// changes computes the rows of all changes that are not sparse, and makes room for the others.
func (w *Worker) changes(block []byte, first, n int) error {
	size := n * w.Shape[1]
	if slices.ContainsFunc(w.Terms, func(t Term) bool { return adapter.NeedsBase(t.Delta) }) {
		w.base = slices.Grow(w.base[:0], size)[:size]
		if err := checkpoint.DecodeFloat32(w.base, w.DType, block); err != nil {
			return err
		}
	}
	for i, t := range w.Terms {
		w.dense[i] = slices.Grow(w.dense[i][:0], size)[:size]
		if _, ok := t.entries(); !ok {
			t.Delta.Rows(w.dense[i], w.base, first, n)
		}
	}
	return nil
}

// counts says whether statistics are wanted.
func (t *Target) counts() bool { return t.adapters > 0 }

// view sets raw to a row of the weight, which is row r of the block, and counts what it has.
func (w *Worker) view(row, r int) {
	in := w.Shape[1]
	for i := range w.Terms {
		t := &w.Terms[i]
		if e, ok := t.entries(); ok {
			cols, values := e.Row(row)
			w.raw[i] = view{false, cols, values}
		} else {
			w.raw[i] = view{true, nil, w.dense[i][r*in : (r+1)*in]}
		}
		if !w.counts() {
			continue
		}
		v := w.raw[i]
		s := &w.stats.Adapters[t.Adapter]
		s.Mask += int64(len(v.values))
		s.Squares += squares(v.values)
		for k := range i {
			o := &w.Terms[k]
			a, b := min(t.Adapter, o.Adapter), max(t.Adapter, o.Adapter)
			w.stats.Pairs[a][b].compare(v, w.raw[k], t.Weight, o.Weight)
		}
	}
}

// combined returns the merged change at an entry where the terms have w.values.
func (w *Worker) combined() float64 {
	if w.Method.combine != nil {
		return w.Method.combine(&w.Params, w.values, w.weights)
	}
	sum := 0.0
	for i, v := range w.values {
		sum += float64(w.weights[i] * float64(v)) // rounded here: never fused with the sum
	}
	return sum
}

// mergeEntries appends the entries of the current row that any term has, columns ascending. Its first element is that of
// index base of the block.
func (w *Worker) mergeEntries(base int) {
	for {
		col, found := int32(0), false
		for _, v := range w.views {
			if len(v.cols) > 0 && (!found || v.cols[0] < col) {
				col, found = v.cols[0], true
			}
		}
		if !found {
			return
		}
		for i := range w.views {
			v := &w.views[i]
			w.values[i] = 0
			if len(v.cols) == 0 || v.cols[0] != col {
				continue
			}
			if w.values[i] = v.values[0]; w.values[i] != 0 {
				w.parts = append(w.parts, part{int32(len(w.at)), int32(w.Terms[i].Adapter)})
			}
			v.cols, v.values = v.cols[1:], v.values[1:]
		}
		w.at, w.sum = append(w.at, int32(base)+col), append(w.sum, w.combined())
	}
}

// sumOne is mergeEntries for a single term, whose entries need no account of their parts.
func (w *Worker) sumOne(base int) {
	v, weight := w.views[0], w.weights[0]
	n := len(w.at)
	w.at = slices.Grow(w.at, len(v.cols))[:n+len(v.cols)]
	w.sum = slices.Grow(w.sum, len(v.cols))[:n+len(v.cols)]
	for i, col := range v.cols {
		w.at[n+i] = int32(base) + col
		w.sum[n+i] = 0 + float64(weight*float64(v.values[i])) // a sum is never −0
	}
}

// sumPair is mergeEntries for the sum of two terms, the most frequent case.
func (w *Worker) sumPair(base int) {
	a, b := w.views[0], w.views[1]
	first, second := int32(w.Terms[0].Adapter), int32(w.Terms[1].Adapter)
	for i, j := 0, 0; i < len(a.cols) || j < len(b.cols); {
		col, sum := int32(0), 0.0
		inA := j == len(b.cols) || i < len(a.cols) && a.cols[i] <= b.cols[j]
		inB := i == len(a.cols) || j < len(b.cols) && b.cols[j] <= a.cols[i]
		if inA {
			col = a.cols[i]
			if v := a.values[i]; v != 0 {
				sum = float64(w.weights[0] * float64(v)) // rounded here: never fused with the sum
				w.parts = append(w.parts, part{int32(len(w.at)), first})
			}
			i++
		}
		if inB {
			col = b.cols[j]
			if v := b.values[j]; v != 0 {
				sum += float64(w.weights[1] * float64(v))
				w.parts = append(w.parts, part{int32(len(w.at)), second})
			}
			j++
		}
		w.at, w.sum = append(w.at, int32(base)+col), append(w.sum, sum)
	}
}

// count fills in what survives in a sparse target.
func (w *Worker) count() {
	s := &w.stats
	s.Entries, s.Changed, s.Squares = w.add.entries, w.add.changed, w.add.squares
	if w.single() {
		s.Adapters[w.Terms[0].Adapter].Survival = s.Survival
		return
	}
	for _, p := range w.parts {
		a := &s.Adapters[p.adapter]
		a.Entries++
		if w.add.flags[p.entry] {
			a.Changed++
		}
	}
}

// Merged writes the merged change of rows from row first on to dst, n×in, without adding it to anything. block has the
// stored bytes of those rows.
func (w *Worker) Merged(dst []float32, block []byte, first int) error {
	n := len(block) / w.rowBytes()
	w.stats = NewStats(w.adapters)
	if !w.sparse {
		err := w.mergeDense(block, first, n)
		copy(dst, w.delta)
		return err
	}
	w.mergeSparse(first, n)
	clear(dst)
	for k, v := range w.sum {
		dst[w.at[k]] = float32(v)
	}
	return nil
}

// Entries appends the merged change of rows [first, first+n) of a sparse target, in row-major order.
func (w *Worker) Entries(s *adapter.Sparse, first, n int) {
	w.stats = NewStats(w.adapters)
	w.mergeSparse(first, n)
	in := int32(w.Shape[1])
	for k, v := range w.sum {
		s.RowIdx = append(s.RowIdx, int32(first)+w.at[k]/in)
		s.ColIdx = append(s.ColIdx, w.at[k]%in)
		s.Values = append(s.Values, float32(v))
	}
}
