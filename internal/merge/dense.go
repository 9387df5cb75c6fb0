package merge

import (
	"math"
	"slices"

	"shira/internal/checkpoint"
)

// mergeDense sets delta to the merged change of n rows from row first on, float32, where the target is not sparse. The block
// of each term then has what pruning left of it.
func (w *Worker) mergeDense(block []byte, first, n int) error {
	in := w.Shape[1]
	if err := w.changes(block, first, n); err != nil {
		return err
	}
	for r := range n {
		w.view(first+r, r)
		for i := range w.Terms {
			v, row := w.raw[i], w.dense[i][r*in:(r+1)*in]
			if !v.all {
				clear(row)
				w.scratch[i] = append(w.scratch[i][:0], v.values...)
				v.values = w.scratch[i]
			}
			if p := w.pruners[i]; p != nil {
				p.row(first+r, v.cols, v.values)
			}
			if !v.all {
				for k, c := range v.cols {
					row[c] = v.values[k]
				}
			}
		}
	}
	w.combineDense(n * in)
	return nil
}

// single says that the merged change is that of the only term, times its weight.
func (w *Worker) single() bool { return len(w.Terms) == 1 && w.Method.combine == nil }

// combineDense sets delta, and for float64 weights sum, to the combination of the terms' blocks.
func (w *Worker) combineDense(size int) {
	if w.single() && w.DType != checkpoint.F64 {
		w.delta = w.dense[0]
		if weight := float32(w.weights[0]); weight != 1 {
			for k, v := range w.delta {
				w.delta[k] = weight * v
			}
		}
		return
	}
	w.room = slices.Grow(w.room[:0], size)[:size]
	w.delta = w.room
	if w.Method.combine != nil {
		w.sum = slices.Grow(w.sum[:0], size)[:size]
		for k := range w.sum {
			for i := range w.values {
				w.values[i] = w.dense[i][k]
			}
			w.sum[k] = w.Method.combine(&w.Params, w.values, w.weights)
		}
	} else {
		w.sum = slices.Grow(w.sum[:0], size)[:size]
		clear(w.sum)
		for i, weight := range w.weights {
			for k, v := range w.dense[i] {
				w.sum[k] += float64(weight * float64(v)) // rounded here: never fused with the sum
			}
		}
	}
	for k, v := range w.sum {
		w.delta[k] = float32(v)
	}
}

// addDense adds delta to the block.
func (w *Worker) addDense(block []byte, first int) error {
	a := &w.add
	a.old = append(a.old[:0], block...)
	a.entries, a.changed = 0, 0
	var flags []bool
	if w.counts() && !w.single() {
		a.flags = slices.Grow(a.flags[:0], len(w.delta))[:len(w.delta)]
		flags = a.flags
	}
	finite := false
	switch w.DType {
	case checkpoint.BF16:
		finite = a.halves(checkpoint.Halves(block), w.delta, flags)
	case checkpoint.F32:
		finite = a.floats(checkpoint.Floats(block), w.delta, flags)
	}
	if !finite { // another type, or an error to be found
		copy(block, a.old)
		if w.DType != checkpoint.F64 {
			w.sum = slices.Grow(w.sum[:0], len(w.delta))[:len(w.delta)]
			for k, v := range w.delta {
				w.sum[k] = float64(v)
			}
		}
		if err := w.addEntries(block, first, true); err != nil {
			return err
		}
	} else if w.counts() {
		a.squares = w.squares()
	}
	if w.counts() {
		w.countDense()
	}
	return nil
}

// squares returns ‖delta‖², which of a single term that nothing was pruned of is known already.
func (w *Worker) squares() float64 {
	if w.single() && w.pruners[0] == nil {
		return w.weights[0] * w.weights[0] * w.stats.Adapters[w.Terms[0].Adapter].Squares
	}
	return squares(w.delta)
}

// countDense fills in what survives.
func (w *Worker) countDense() {
	s := &w.stats
	s.Entries, s.Changed, s.Squares = w.add.entries, w.add.changed, w.add.squares
	if w.single() {
		s.Adapters[w.Terms[0].Adapter].Survival = s.Survival
		return
	}
	for i := range w.Terms {
		a := &s.Adapters[w.Terms[i].Adapter]
		for k, v := range w.dense[i] {
			if v != 0 {
				a.Entries++
				if w.add.flags[k] {
					a.Changed++
				}
			}
		}
	}
}

// halves adds delta to bfloat16 numbers, rounding to nearest, ties to even. Where it is 0 the bits stay. It counts entries
// and changes, sets flags where there are any, and says whether all sums are finite. There are no branches in it, since
// which entries change cannot be foreseen.
func (a *adder) halves(h []uint16, delta []float32, flags []bool) (finite bool) {
	var entries, changed, bad uint32
	h = h[:len(delta)]
	for k, d := range delta {
		old := uint32(h[k])
		u := math.Float32bits(math.Float32frombits(old<<16) + d)
		now := (u + 0x7fff + u>>16&1) >> 16
		x := math.Float32bits(d) << 1 // 0 for both zeros
		some := (x | -x) >> 31        // 1 where there is something to add
		now = old ^ (now^old)&-some
		h[k] = uint16(now)
		diff := ((now ^ old) + 0xffff) >> 16 // 1 where there are other bits
		bad |= (now&0x7f80 + 0x80) >> 15 & some
		entries += some
		changed += diff
		if flags != nil {
			flags[k] = diff != 0
		}
	}
	a.entries, a.changed = int64(entries), int64(changed)
	return bad == 0
}

// floats is halves for float32 numbers.
func (a *adder) floats(f []float32, delta []float32, flags []bool) (finite bool) {
	var entries, changed int64
	finite = true
	f = f[:len(delta)]
	for k, d := range delta {
		old := f[k]
		if flags != nil {
			flags[k] = false
		}
		if d == 0 {
			continue
		}
		now := old + d
		f[k] = now
		finite = finite && now-now == 0
		entries++
		if math.Float32bits(now) != math.Float32bits(old) {
			changed++
			if flags != nil {
				flags[k] = true
			}
		}
	}
	a.entries, a.changed = entries, changed
	return finite
}
