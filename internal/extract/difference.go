package extract

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"

	"shira/internal/checkpoint"
	"shira/internal/fault"
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
			return nil, fault.New(fault.Numerical, d.tuned.Path(), "%s: the difference at [%d, %d] is %v",
				fault.Quote(d.tuned.Name), first+k/in, k%in, v)
		}
	}
	return r, nil
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
