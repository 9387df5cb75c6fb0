package fuse

import (
	"context"
	"io"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
)

// target is a weight of the base, of shape (out, in), that one or more adapters change.
type target struct {
	checkpoint.Tensor
	terms  []term // in canonical order
	counts counts
}

// term is one adapter's part of the sum.
type term struct {
	delta   adapter.Delta
	weight  float64
	adapter int // index in the order given
}

// blockBytes is about how much of a tensor is worked on at a time, in whole rows.
const blockBytes = 1 << 20

// copyTo writes the weight's new data to w, counting what changes.
func (t *target) copyTo(ctx context.Context, w io.Writer, adapters int, tell func(n int64)) error {
	row := t.Shape[1] * t.DType.Size()
	b := &blocks{
		ctx: ctx, w: w, tell: tell, row: row,
		buf: make([]byte, 0, row*min(max(1, blockBytes/row), t.Shape[0])),
		sum: summer{target: t, counts: newCounts(adapters)},
	}
	if err := t.Entry().Write(b); err != nil {
		return err
	}
	t.counts = b.sum.counts
	return nil
}

// blocks is a writer that gathers a tensor's bytes into blocks of whole rows, adds the deltas and passes them on.
type blocks struct {
	ctx  context.Context
	w    io.Writer
	tell func(n int64)
	row  int    // bytes
	buf  []byte // cap is that of a block
	done int    // rows passed on
	sum  summer
}

// Write takes the next bytes of the tensor. The block that holds the last row is passed on with that row.
func (b *blocks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), cap(b.buf)-len(b.buf))
		b.buf, rest = append(b.buf, rest[:n]...), rest[n:]
		last := len(b.buf) == (b.sum.Shape[0]-b.done)*b.row
		if len(b.buf) < cap(b.buf) && !last {
			continue
		}
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (b *blocks) flush() error {
	if err := interrupted(b.ctx, b.sum.Path()); err != nil {
		return err
	}
	if err := b.sum.addTo(b.buf, b.done); err != nil {
		return err
	}
	if _, err := b.w.Write(b.buf); err != nil {
		return err
	}
	b.tell(int64(len(b.buf)))
	b.done += len(b.buf) / b.row
	b.buf = b.buf[:0]
	return nil
}
