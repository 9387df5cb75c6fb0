package compare

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// blockElements is how many elements are compared at a time, a thread.
const blockElements = 1 << 18

// difference is what a block or a tensor differs by.
type difference struct {
	changed int64
	max     float64 // |b − a|
	sum     float64 // Σ |b − a|
	squares float64 // Σ (b − a)²
	normA   float64 // Σ a²
}

func (d *difference) add(e difference) {
	d.changed += e.changed
	if e.max > d.max || e.max != e.max {
		d.max = e.max
	}
	d.sum += e.sum
	d.squares += e.squares
	d.normA += e.normA
}

func (d *difference) relative() *float64 {
	if d.normA == 0 {
		return nil
	}
	return finite(math.Sqrt(d.squares / d.normA))
}

// pair reads the same elements of two tensors of one shape.
type pair struct {
	a, b   checkpoint.Tensor
	x, y   []byte
	fx, fy []float32
}

// read reads block i of both.
func (p *pair) read(i int) error {
	n := min(blockElements, p.a.Len()-i*blockElements)
	for _, side := range []struct {
		t   checkpoint.Tensor
		buf *[]byte
	}{{p.a, &p.x}, {p.b, &p.y}} {
		size := side.t.DType.Size()
		if *side.buf == nil {
			*side.buf = make([]byte, min(blockElements, side.t.Len())*size)
		}
		*side.buf = (*side.buf)[:n*size]
		if err := side.t.ReadAt(*side.buf, int64(i)*blockElements*int64(size)); err != nil {
			return err
		}
	}
	return nil
}

// equal says whether the bytes of two tensors of one type and shape are.
func equal(ctx context.Context, a, b checkpoint.Tensor) (bool, error) {
	var differ atomic.Bool
	err := blocks(ctx, a, b, func(p *pair, i int) error {
		if differ.Load() {
			return nil
		}
		if err := p.read(i); err != nil {
			return err
		}
		if !bytes.Equal(p.x, p.y) {
			differ.Store(true)
		}
		return nil
	})
	return !differ.Load(), err
}

// differences compares the values of two tensors of one shape, of float types or of one type.
func differences(ctx context.Context, a, b checkpoint.Tensor) (difference, error) {
	found := make([]difference, (a.Len()+blockElements-1)/blockElements)
	err := blocks(ctx, a, b, func(p *pair, i int) error {
		if err := p.read(i); err != nil {
			return err
		}
		var err error
		found[i], err = p.difference()
		return err
	})
	var total difference
	for _, d := range found {
		total.add(d)
	}
	return total, err
}

// difference compares the block that was read.
func (p *pair) difference() (d difference, err error) {
	size := p.a.DType.Size()
	if !p.a.DType.IsFloat() {
		for i := 0; i < len(p.x); i += size {
			if !bytes.Equal(p.x[i:i+size], p.y[i:i+size]) {
				d.changed++
			}
		}
		return d, nil
	}
	if p.a.DType == checkpoint.F64 || p.b.DType == checkpoint.F64 {
		return p.wide()
	}
	n := len(p.x) / size
	if p.fx == nil {
		p.fx, p.fy = make([]float32, n), make([]float32, n)
	}
	p.fx, p.fy = p.fx[:n], p.fy[:n]
	if err := checkpoint.DecodeFloat32(p.fx, p.a.DType, p.x); err != nil {
		return d, err
	}
	if err := checkpoint.DecodeFloat32(p.fy, p.b.DType, p.y); err != nil {
		return d, err
	}
	for i, x := range p.fx {
		y := p.fy[i]
		d.normA += float64(float64(x) * float64(x)) // rounded here: never fused with the sum
		if math.Float32bits(x) != math.Float32bits(y) {
			d.count(float64(y) - float64(x))
		}
	}
	return d, nil
}

// wide is difference where one of the types is F64.
func (p *pair) wide() (d difference, err error) {
	x, err := wideValues(p.a.DType, p.x)
	if err != nil {
		return d, err
	}
	y, err := wideValues(p.b.DType, p.y)
	if err != nil {
		return d, err
	}
	for i := range x {
		d.normA += float64(x[i] * x[i])
		if math.Float64bits(x[i]) != math.Float64bits(y[i]) {
			d.count(y[i] - x[i])
		}
	}
	return d, nil
}

func wideValues(dtype checkpoint.DType, data []byte) ([]float64, error) {
	out := make([]float64, len(data)/dtype.Size())
	if dtype == checkpoint.F64 {
		for i := range out {
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
		}
		return out, nil
	}
	narrow := make([]float32, len(out))
	err := checkpoint.DecodeFloat32(narrow, dtype, data)
	for i, v := range narrow {
		out[i] = float64(v)
	}
	return out, err
}

// count counts a changed entry.
func (d *difference) count(delta float64) {
	d.changed++
	abs := math.Abs(delta)
	if abs > d.max || abs != abs {
		d.max = abs
	}
	d.sum += abs
	d.squares += float64(abs * abs)
}

// blocks calls f for every block of a, on all cores, until one fails or ctx is canceled.
func blocks(ctx context.Context, a, b checkpoint.Tensor, f func(p *pair, i int) error) error {
	n := (a.Len() + blockElements - 1) / blockElements
	workers := min(runtime.GOMAXPROCS(0), n)
	errs := make([]error, workers)
	var next atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			p := pair{a: a, b: b}
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				err := fault.Canceled(ctx, a.Path(), "not compared")
				if err == nil {
					err = f(&p, i)
				}
				if err != nil {
					errs[w] = err
					next.Store(int64(n)) // the others may stop
					return
				}
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
