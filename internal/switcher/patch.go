package switcher

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"shira/internal/fsx"
)

// spanGap is the longest stretch of unchanged bytes between two entries that is read and written with them: less than
// what a second call costs.
const spanGap = 16 << 10

// patcher writes the entries of segments to weights. It reads and writes parts of files rather than a mapping, in which a
// disk fault or a file that becomes shorter would kill the process.
type patcher struct {
	*journal
	shards *shards
	window []byte
}

// put writes values, one for each entry of s, or of its block where s is whole, and returns how many bytes of the file it wrote.
func (p *patcher) put(s *segment, values []byte) (int64, error) {
	t := &p.Tensors[s.tensor]
	f := p.shards.open[t.File]
	start := t.Offset + s.first*int64(t.size)
	if s.run || s.whole {
		_, err := f.WriteAt(values, start)
		f.WriteBehind(start, int64(len(values)))
		return int64(len(values)), err
	}
	var written int64
	for from := 0; from < s.n; {
		to := from + 1
		for to < s.n && int(s.keys[to]>>1-s.keys[to-1]>>1)*t.size <= spanGap {
			to++
		}
		n, err := p.span(f, start, s.keys[from:to], t.size, values[from*t.size:to*t.size])
		if err != nil {
			return written, err
		}
		written += n
		from = to
	}
	return written, nil
}

// span reads the bytes from the first entry of keys to the last, puts the values in, and writes them back.
func (p *patcher) span(f fsx.File, start int64, keys []uint32, size int, values []byte) (int64, error) {
	low, high := int(keys[0]>>1), int(keys[len(keys)-1]>>1)
	off, n := start+int64(low*size), (high-low+1)*size
	p.window = slices.Grow(p.window[:0], n)[:n]
	if len(keys) == high-low+1 {
		copy(p.window, values)
	} else {
		if _, err := f.ReadAt(p.window, off); err != nil {
			return 0, shortened(err, "")
		}
		scatter(p.window, keys, low, size, values)
	}
	_, err := f.WriteAt(p.window, off)
	f.WriteBehind(off, int64(n))
	return int64(n), err
}

// scatter writes values to the elements of block that keys name, counted from element low.
func scatter(block []byte, keys []uint32, low, size int, values []byte) {
	switch size {
	case 2:
		for k, key := range keys {
			binary.LittleEndian.PutUint16(block[2*(int(key>>1)-low):], binary.LittleEndian.Uint16(values[2*k:]))
		}
	case 4:
		for k, key := range keys {
			binary.LittleEndian.PutUint32(block[4*(int(key>>1)-low):], binary.LittleEndian.Uint32(values[4*k:]))
		}
	default:
		for k, key := range keys {
			binary.LittleEndian.PutUint64(block[8*(int(key>>1)-low):], binary.LittleEndian.Uint64(values[8*k:]))
		}
	}
}

// gather returns the elements of block that keys name, counted from element low, in the memory of dst where that suffices.
func gather(dst, block []byte, low int, keys []uint32, size int) []byte {
	n := len(keys) * size
	dst = slices.Grow(dst[:0], n)[:n]
	switch size {
	case 2:
		for k, key := range keys {
			binary.LittleEndian.PutUint16(dst[2*k:], binary.LittleEndian.Uint16(block[2*(int(key>>1)-low):]))
		}
	case 4:
		for k, key := range keys {
			binary.LittleEndian.PutUint32(dst[4*k:], binary.LittleEndian.Uint32(block[4*(int(key>>1)-low):]))
		}
	default:
		for k, key := range keys {
			binary.LittleEndian.PutUint64(dst[8*k:], binary.LittleEndian.Uint64(block[8*(int(key>>1)-low):]))
		}
	}
	return dst
}

// valuesFunc says what the entries of a segment become. The result may lie in its own memory or the segment's.
type valuesFunc func(s *segment) ([]byte, error)

// patch writes, for every segment of the journal, what a function that newValues returns makes of it, and makes that durable.
// It tells of the blocks' bytes, and returns how many bytes it wrote.
func (j *journal) patch(ctx context.Context, sh *shards, workers int, newValues func(*journal) valuesFunc,
	tell func(bytes int64)) (written int64, err error) {

	type worker struct {
		patcher
		s      segment
		values valuesFunc
	}
	pool := sync.Pool{New: func() any { return &worker{patcher: patcher{journal: j, shards: sh}, values: newValues(j)} }}
	one := func(i int) (int64, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		w := pool.Get().(*worker)
		defer pool.Put(w)
		if err := j.segment(&w.s, j.places[i]); err != nil {
			return 0, err
		}
		values, err := w.values(&w.s)
		if err != nil {
			return 0, err
		}
		return w.put(&w.s, values)
	}
	err = ordered(workers, len(j.places), one, func(i int, n int64) error {
		written += n
		t := &j.Tensors[j.places[i].tensor]
		tell(int64(t.blockLen(j.Block, j.places[i].first)) * int64(t.size))
		return nil
	})
	if err != nil {
		return written, err
	}
	for _, f := range sh.open { // never a second time: the system may have dropped what it could not write
		if err := f.Datasync(); err != nil {
			return written, err
		}
	}
	return written, nil
}
