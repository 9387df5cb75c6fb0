package switcher

import (
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// overlay shows the base of a model that has adapters.
type overlay struct {
	*journal
	byName map[string]int
	pool   sync.Pool // of *segment
}

func newOverlay(j *journal) *overlay {
	o := &overlay{journal: j, byName: map[string]int{}, pool: sync.Pool{New: func() any { return new(segment) }}}
	for i := range j.Tensors {
		o.byName[j.Tensors[i].Name] = i
	}
	return o
}

// restore puts what the base has into chunk, the bytes of a tensor from off on.
func (o *overlay) restore(t checkpoint.Tensor, off int64, chunk []byte) error {
	i, ok := o.byName[t.Name]
	if !ok {
		return nil
	}
	s := o.pool.Get().(*segment)
	defer o.pool.Put(s)
	rec := &o.Tensors[i]
	low, high := off/int64(rec.size), (off+int64(len(chunk)))/int64(rec.size)
	for first := low - low%rec.step(o.Block); first < high; first += rec.step(o.Block) {
		p, ok := o.find(i, first)
		if !ok {
			continue
		}
		if err := o.segment(s, p); err != nil {
			return err
		}
		if s.run {
			from, to := max(low, first), min(high, first+int64(s.n))
			copy(chunk[(from-low)*int64(rec.size):], s.base[(from-first)*int64(rec.size):(to-first)*int64(rec.size)])
			continue
		}
		for k, key := range s.keys {
			if e := first + int64(key>>1); e >= low && e < high {
				copy(chunk[(e-low)*int64(rec.size):], s.base[k*rec.size:(k+1)*rec.size])
			}
		}
	}
	return nil
}

// compare fails where the weights are not what the switch left. It returns how many entries differ from the base by adapters.
func (j *journal) compare(files []io.ReaderAt, workers int) (entries int64, err error) {
	type worker struct {
		segment
		window, live []byte
	}
	pool := sync.Pool{New: func() any { return new(worker) }}
	one := func(i int) (int64, error) {
		w := pool.Get().(*worker)
		defer pool.Put(w)
		if err := j.segment(&w.segment, j.places[i]); err != nil {
			return 0, err
		}
		t := &j.Tensors[w.tensor]
		w.keepLive(t.size)
		if w.n == 0 {
			return 0, nil
		}
		low, high := 0, w.n
		if !w.run {
			low, high = int(w.keys[0]>>1), int(w.keys[w.n-1]>>1)+1
		}
		w.window = slices.Grow(w.window[:0], (high-low)*t.size)[:(high-low)*t.size]
		if _, err := files[t.File].ReadAt(w.window, t.Offset+(w.first+int64(low))*int64(t.size)); err != nil {
			return 0, shortened(err, j.Files[t.File].Name)
		}
		now := w.window
		if !w.run {
			w.live = gather(w.live, w.window, low, w.keys, t.size)
			now = w.live
		}
		if crc32.Checksum(now, castagnoli) != w.after {
			return 0, errChanged(j.path, t.Name)
		}
		return int64(w.n), nil
	}
	err = ordered(workers, len(j.places), one, func(_ int, n int64) error {
		entries += n
		return nil
	})
	return entries, err
}

// errChanged is the error of weights that something else has changed since the last switch.
func errChanged(path, name string) error {
	return fault.New(fault.Unrecoverable, path, "the weights are not as the last switch left them: %s has changed since", fault.Quote(name)).
		WithHint("put the base's weights back, and then remove this file")
}
