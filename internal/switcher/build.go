package switcher

import (
	"hash/crc32"
	"slices"
)

// change is what a state of a model has other than the base.
type change interface {
	// entries returns what differs in the block of t, n elements from first on: all of it, or the elements at list, counted
	// from first and ascending, in the memory of dst.
	entries(t *tensor, first int64, n int, dst []uint32) (list []uint32, all bool)

	// values returns what these elements are, given what they are in the base, in the memory of dst.
	values(t *tensor, first int64, list []uint32, all bool, base, dst []byte) ([]byte, error)
}

// builder makes the segments of a journal: what the blocks of a model are, were in the base, and which of them will differ
// from it.
type builder struct {
	*header
	shards *shards
	old    *journal // of the state that the model is in; nil for the base
	oldOf  []int    // for each tensor its index in old, −1 where it has none
	change change
}

// block is the work on one block, in memory that serves for many.
type block struct {
	out  segment
	form []byte // of out in the file; empty where there is nothing to say

	was    segment  // what the old journal says differs from the base
	list   []uint32 // what will
	all    bool     // all of it will
	window []byte   // the weights, from element low on
	low    int
	now    []byte // what they are at was
	base   []byte // what they are in the base at list
	after  []byte // what they will be
	differ int64  // how many of these are not the same bits
}

// build makes the segment of the block of tensor i that begins at element first.
func (b *builder) build(w *block, i int, first int64) error {
	t := &b.Tensors[i]
	n := t.blockLen(b.Block, first)
	w.form = w.form[:0]
	w.list, w.all = b.change.entries(t, first, n, w.list[:0])
	if err := b.readOld(w, i, first); err != nil {
		return err
	}
	if len(w.list) == 0 && !w.all && w.was.n == 0 {
		return nil
	}
	high := w.bounds(n)
	w.window = slices.Grow(w.window[:0], (high-w.low)*t.size)[:(high-w.low)*t.size]
	if _, err := b.shards.open[t.File].ReadAt(w.window, t.Offset+(first+int64(w.low))*int64(t.size)); err != nil {
		return shortened(err, b.Files[t.File].Name)
	}
	if err := b.check(w, t); err != nil {
		return err
	}
	w.out.tensor, w.out.first = i, first
	w.merge(n)
	w.collect(t.size)
	var err error
	base := w.out.base
	if !w.out.run && !w.out.whole && w.was.n > 0 {
		w.base = w.base[:0]
		for k, key := range w.out.keys {
			if key&1 != 0 {
				w.base = append(w.base, w.out.base[k*t.size:(k+1)*t.size]...)
			}
		}
		base = w.base
	}
	w.after = w.after[:0]
	if w.all || len(w.list) > 0 {
		if w.after, err = b.change.values(t, first, w.list, w.all, base, w.after); err != nil {
			return err
		}
	}
	switch t.size {
	case 2:
		w.differ = differing(as[uint16](w.after), as[uint16](base))
	case 4:
		w.differ = differing(as[uint32](w.after), as[uint32](base))
	default:
		w.differ = differing(as[uint64](w.after), as[uint64](base))
	}
	w.out.after = crc32.Checksum(w.after, castagnoli)
	w.form = w.out.appendTo(w.form)
	return nil
}

// differing counts the elements of a that b, which may be longer, has otherwise.
func differing[T comparable](a, b []T) int64 {
	n := int64(0)
	for k, v := range a {
		if v != b[k] {
			n++
		}
	}
	return n
}

// readOld reads what the old journal says of the block.
func (b *builder) readOld(w *block, i int, first int64) error {
	w.was.n, w.was.run, w.was.whole, w.was.keys = 0, false, false, w.was.keys[:0]
	if b.old == nil || b.oldOf[i] < 0 {
		return nil
	}
	p, ok := b.old.find(b.oldOf[i], first)
	if !ok {
		return nil
	}
	if err := b.old.segment(&w.was, p); err != nil {
		return err
	}
	w.was.keepLive(b.Tensors[i].size)
	return nil
}

// keepLive drops the entries that do not differ from the base, and what they all were before.
func (s *segment) keepLive(size int) {
	s.before, s.whole = nil, false
	if s.run {
		if !s.live {
			s.n, s.run = 0, false
		}
		return
	}
	n := 0
	for i, key := range s.keys {
		if key&1 != 0 {
			s.keys[n] = key
			copy(s.base[n*size:(n+1)*size], s.base[i*size:])
			n++
		}
	}
	s.keys, s.n, s.base = s.keys[:n], n, s.base[:n*size]
}

// bounds sets low, and returns high, so that elements [low, high) of a block of n have all entries.
func (w *block) bounds(n int) (high int) {
	if w.all || w.was.run {
		w.low = 0
		return n
	}
	w.low, high = n, 0
	if len(w.list) > 0 {
		w.low, high = int(w.list[0]), int(w.list[len(w.list)-1])+1
	}
	if w.was.n > 0 {
		w.low, high = min(w.low, int(w.was.keys[0]>>1)), max(high, int(w.was.keys[w.was.n-1]>>1)+1)
	}
	return high
}

// check compares the weights with what the last switch left.
func (b *builder) check(w *block, t *tensor) error {
	if w.was.n == 0 {
		return nil
	}
	now := w.window
	if !w.was.run {
		w.now = gather(w.now, w.window, w.low, w.was.keys, t.size)
		now = w.now
	}
	if crc32.Checksum(now, castagnoli) != w.was.after {
		return errChanged(b.old.path, t.Name)
	}
	return nil
}

// merge makes the entries of out, in a block of n: those that differ from the base now or will, the latter live. Where all do
// now, only the latter are listed.
func (w *block) merge(n int) {
	o := &w.out
	o.run, o.whole, o.live, o.n, o.keys = false, false, false, n, o.keys[:0]
	switch {
	case w.all:
		o.run, o.live = true, true
		return
	case w.was.run:
		o.whole, o.n = true, len(w.list)
		for _, i := range w.list {
			o.keys = append(o.keys, i<<1|1)
		}
		return
	}
	was := w.was.keys
	for _, i := range w.list {
		for len(was) > 0 && was[0]>>1 < i {
			o.keys = append(o.keys, was[0]&^1)
			was = was[1:]
		}
		if len(was) > 0 && was[0]>>1 == i {
			was = was[1:]
		}
		o.keys = append(o.keys, i<<1|1)
	}
	for _, key := range was {
		o.keys = append(o.keys, key&^1)
	}
	o.n = len(o.keys)
}

// collect takes what the entries of out are, and were in the base.
func (w *block) collect(size int) {
	o := &w.out
	switch {
	case o.run || o.whole:
		o.before = w.window
	default:
		o.buf = gather(o.buf, w.window, w.low, o.keys, size)
		o.before = o.buf
	}
	switch {
	case w.was.n == 0:
		o.base = o.before
	case o.whole:
		w.now = gather(w.now, w.was.base, 0, o.keys, size)
		o.base = w.now
	case w.was.run:
		o.base = w.was.base
	case o.run:
		w.now = append(w.now[:0], o.before...)
		scatter(w.now, w.was.keys, 0, size, w.was.base)
		o.base = w.now
	default:
		w.now = append(w.now[:0], o.before...)
		k := 0
		for i, key := range w.was.keys {
			for o.keys[k]>>1 != key>>1 {
				k++
			}
			copy(w.now[k*size:(k+1)*size], w.was.base[i*size:])
		}
		o.base = w.now
	}
}
