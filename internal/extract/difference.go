package extract

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/kernel"
)

// difference is tuned − base of one weight, in float32.
type difference struct {
	pair
	ctx context.Context
}

func newDifference(ctx context.Context, p pair) *difference { return &difference{p, ctx} }

func (d *difference) blockRows() int { return max(1, blockElements/max(d.base.Shape[1], 1)) }

// blocks returns the number of blocks of rows.
func (d *difference) blocks() int { return (d.base.Shape[0] + d.blockRows() - 1) / d.blockRows() }

// rows returns the first row of a block and how many there are.
func (d *difference) rows(block int) (first, n int) {
	first = block * d.blockRows()
	return first, min(d.blockRows(), d.base.Shape[0]-first)
}

// scan calls visit with each row of a block.
func (d *difference) scan(block int, visit func(row int, values []float32)) error {
	first, n := d.rows(block)
	rows, err := d.read(first, n)
	if err != nil {
		return err
	}
	in := d.base.Shape[1]
	for i := range n {
		visit(first+i, rows.values[i*in:(i+1)*in])
	}
	return nil
}

// rows are some rows of both models.
type rows struct {
	dtype       checkpoint.DType
	base, tuned []byte
	fused       []byte    // what base + values is, rounded once
	x           []float32 // the base's values
	values      []float32 // of the difference; 0 where bits are the same
}

// read reads rows [first, first+n) of both models. A difference that is not finite is a Numerical error.
func (d *difference) read(first, n int) (*rows, error) {
	if err := fault.Canceled(d.ctx, d.tuned.Path(), "nothing written"); err != nil {
		return nil, err
	}
	in, dtype := d.base.Shape[1], d.base.DType
	size, elements := dtype.Size(), n*in
	r := &rows{
		dtype: dtype, base: make([]byte, elements*size), tuned: make([]byte, elements*size), fused: make([]byte, elements*size),
		x: make([]float32, elements), values: make([]float32, elements),
	}
	off := int64(first) * int64(in*size)
	for _, err := range []error{d.base.ReadAt(r.base, off), d.tuned.ReadAt(r.tuned, off)} {
		if err != nil {
			return nil, err
		}
	}
	if err := r.subtract(); err != nil {
		return nil, err
	}
	for k, v := range r.values {
		if v-v != 0 {
			return nil, d.errNotFinite(first*in+k, v)
		}
	}
	return r, nil
}

// partElements is about how many elements a thread works on at a time, in whole rows.
const partElements = 1 << 16

// delta writes rows [first, first+n) of the difference to dst, on all threads, and returns how many entries have other bits.
func (d *difference) delta(dst []float32, first, n int) (changed int64, err error) {
	in := d.base.Shape[1]
	step := max(1, partElements/max(in, 1))
	parts := (n + step - 1) / step
	counts, errs := make([]int64, parts), make([]error, parts)
	kernel.Parallel(parts, func(i int) {
		lo := i * step
		rows := min(step, n-lo)
		counts[i], errs[i] = d.part(dst[lo*in:(lo+rows)*in], first+lo, rows)
	})
	for i, c := range counts {
		if errs[i] != nil {
			return 0, errs[i]
		}
		changed += c
	}
	return changed, nil
}

// part is delta on one thread.
func (d *difference) part(dst []float32, first, n int) (changed int64, err error) {
	dtype, in := d.base.DType, d.base.Shape[1]
	if dtype != checkpoint.BF16 && dtype != checkpoint.F32 {
		r, err := d.read(first, n)
		if err != nil {
			return 0, err
		}
		copy(dst, r.values)
		return r.count(), nil
	}
	if err := fault.Canceled(d.ctx, d.tuned.Path(), "nothing written"); err != nil {
		return 0, err
	}
	row := in * dtype.Size()
	both := buffers.Get().(*[]byte)
	defer buffers.Put(both)
	*both = slices.Grow((*both)[:0], 2*n*row)[:2*n*row]
	base, tuned := (*both)[:n*row], (*both)[n*row:]
	for _, err := range []error{d.base.ReadAt(base, int64(first)*int64(row)), d.tuned.ReadAt(tuned, int64(first)*int64(row))} {
		if err != nil {
			return 0, err
		}
	}
	var bad int
	if dtype == checkpoint.BF16 {
		changed, bad = subtractHalves(dst, checkpoint.Halves(base), checkpoint.Halves(tuned))
	} else {
		changed, bad = subtractFloats(dst, checkpoint.Floats(base), checkpoint.Floats(tuned))
	}
	if bad >= 0 {
		return 0, d.errNotFinite(first*in+bad, dst[bad])
	}
	return changed, nil
}

// buffers are for the bytes of both models.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// infinite has the bits that are all set in what is not finite.
const infinite = 0x7f800000

// subtractHalves writes tuned − base to dst, bfloat16 numbers. It returns how many have other bits, and the last place where
// these have a difference that is not finite, −1 for none. Where the bits are the same the difference is 0, whatever they are.
func subtractHalves(dst []float32, base, tuned []uint16) (changed int64, bad int) {
	base, tuned, bad = base[:len(dst)], tuned[:len(dst)], -1
	for k := range dst {
		b, t := uint32(base[k]), uint32(tuned[k])
		changed += int64(((b ^ t) + 0xffff) >> 16)
		v := math.Float32frombits(t<<16) - math.Float32frombits(b<<16)
		if math.Float32bits(v)&infinite == infinite {
			if b == t {
				v = 0
			} else {
				bad = k
			}
		}
		dst[k] = v
	}
	return changed, bad
}

// subtractFloats is subtractHalves for float32 numbers.
func subtractFloats(dst, base, tuned []float32) (changed int64, bad int) {
	base, tuned, bad = base[:len(dst)], tuned[:len(dst)], -1
	for k := range dst {
		b, t := math.Float32bits(base[k]), math.Float32bits(tuned[k])
		if b != t {
			changed++
		}
		v := tuned[k] - base[k]
		if math.Float32bits(v)&infinite == infinite {
			if b == t {
				v = 0
			} else {
				bad = k
			}
		}
		dst[k] = v
	}
	return changed, bad
}

// errNotFinite is the error of a difference.
func (d *difference) errNotFinite(flat int, v float32) error {
	in := d.base.Shape[1]
	return fault.New(fault.Numerical, d.tuned.Path(), "%s: the difference at [%d, %d] is %v", fault.Quote(d.tuned.Name), flat/in, flat%in, v)
}

// subtract fills in values and fused.
func (r *rows) subtract() error {
	if r.dtype == checkpoint.F64 {
		for k := range r.values {
			if !r.differs(k) {
				copy(r.fused[8*k:8*k+8], r.base[8*k:])
				continue
			}
			b := r.wide(r.base, k)
			r.values[k] = float32(r.wide(r.tuned, k) - b)
			binary.LittleEndian.PutUint64(r.fused[8*k:], math.Float64bits(b+float64(r.values[k])))
		}
		return nil
	}
	if err := checkpoint.DecodeFloat32(r.x, r.dtype, r.base); err != nil {
		return err
	}
	if err := checkpoint.DecodeFloat32(r.values, r.dtype, r.tuned); err != nil {
		return err
	}
	sum := make([]float32, len(r.x))
	for k, x := range r.x {
		if r.differs(k) {
			r.values[k] -= x
		} else {
			r.values[k] = 0
		}
		sum[k] = x + r.values[k]
	}
	return checkpoint.EncodeFloat32(r.fused, r.dtype, sum)
}

func (r *rows) wide(data []byte, k int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(data[8*k:]))
}

// differs says whether entry k has other bits in the tuned model.
func (r *rows) differs(k int) bool { return !bytes.Equal(r.at(r.base, k), r.at(r.tuned, k)) }

func (r *rows) at(data []byte, k int) []byte {
	size := r.dtype.Size()
	return data[k*size : (k+1)*size]
}

// count returns how many entries differ.
func (r *rows) count() int64 {
	n := int64(0)
	for k := range r.values {
		if r.differs(k) {
			n++
		}
	}
	return n
}

// exact returns the change of entry k, and whether base + change is the tuned value bit for bit. Where the rounded
// difference does not give it, one of its neighbours may.
func (r *rows) exact(k int) (float32, bool) {
	v := r.values[k]
	if bytes.Equal(r.at(r.fused, k), r.at(r.tuned, k)) {
		return v, true
	}
	if r.dtype == checkpoint.F64 {
		return v, false
	}
	for _, near := range []float32{math.Nextafter32(v, float32(math.Inf(1))), math.Nextafter32(v, float32(math.Inf(-1)))} {
		var stored [4]byte
		b := stored[:r.dtype.Size()]
		if checkpoint.EncodeFloat32(b, r.dtype, []float32{r.x[k] + near}) == nil && bytes.Equal(b, r.at(r.tuned, k)) {
			return near, true
		}
	}
	return v, false
}
