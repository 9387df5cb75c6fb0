package nn

import (
	"math"

	"shira/internal/kernel"
)

// Heads of few features have kernels of their own: products of matrices with so few rows fill no registers, and calling them
// takes as long as they do.

// small tells whether a's heads are such.
func (a *attention) small() bool { return a.h.Size == kernel.SmallHead && kernel.AttendsSmall() }

// smallForward is forward for small heads. What is kept for the backward pass is two numbers for each query and head.
func (a *attention) smallForward(qkv, y kernel.Tensor) {
	h, d, total := a.h, a.h.Size, len(a.g.batch.IDs)
	if a.y.needGrad {
		grow(&a.shifts, h.Query*total)
		grow(&a.inverses, h.Query*total)
	}
	toBase2 := column(a.scale() * math.Log2E)
	a.tasks(func(s *scratch, start, length, kv int) {
		a.loadKV(s, qkv, start, length, kv)
		ld := kernel.Blocks(length) * blk
		p, o := grow(&s.p, ld*blk), grow(&s.o, d*blk)
		for head := kv * (h.Query / h.KV); head < (kv+1)*(h.Query/h.KV); head++ {
			for b := range ld / blk {
				count := min(blk, length-b*blk)
				a.loadQ(s, qkv, start, length, head, b)
				kernel.ScaleCols(s.q, &toBase2)
				kernel.Attend(b*blk, blk, s.k, s.v, ld, s.q, p, o, &s.maxima, &s.sum)
				if a.y.needGrad {
					at := head*total + start + b*blk
					copy(a.shifts[at:][:count], s.maxima[:])
					copy(a.inverses[at:][:count], s.sum[:])
				}
				store(o, y.Band(head*d, d), start+b*blk, count)
			}
		}
	})
}

// column holds v for every token of a block.
func column(v float32) (c [blk]float32) {
	for t := range c {
		c[t] = v
	}
	return c
}

// smallBackward is backward for small heads. With the exponentials E, which are not divided by their sum Σ, and dO' = dO/Σ:
// dV = Eᵀ·dO', dS = E∘(dO'·Vᵀ − δ)/√d and δ = Σ dO'·O.
func (a *attention) smallBackward(qkv, y, dy, dqkv kernel.Tensor) {
	h, d, total := a.h, a.h.Size, len(a.g.batch.IDs)
	toBase2, scale := column(a.scale()*math.Log2E), column(a.scale())
	a.tasks(func(s *scratch, start, length, kv int) {
		a.loadKV(s, qkv, start, length, kv)
		n := kernel.Blocks(length)
		ld := n * blk
		dk, dv, dq, do := grow(&s.dk, d*ld), grow(&s.dv, d*ld), grow(&s.dq, d*blk), grow(&s.do, d*blk)
		clear(dk)
		clear(dv)
		for head := kv * (h.Query / h.KV); head < (kv+1)*(h.Query/h.KV); head++ {
			for b := range n {
				count := min(blk, length-b*blk)
				at := head*total + start + b*blk
				// Queries past the end of the sequence weigh nothing.
				s.lse, s.sum = column(math.MaxFloat32), [blk]float32{}
				copy(s.lse[:], a.shifts[at:][:count])
				copy(s.sum[:], a.inverses[at:][:count])
				a.loadQ(s, qkv, start, length, head, b)
				kernel.ScaleCols(s.q, &toBase2)
				load(dy.Band(head*d, d), start+b*blk, count, do)
				kernel.ScaleCols(do, &s.sum)
				clear(s.delta[:])
				kernel.DotCols(do, view(y.Band(head*d, d), start+b*blk, count, &s.o), &s.delta)
				clear(dq)
				share := func(j, tiles, first, seen int) {
					kernel.AttendBackward(tiles, first, seen, s.k[j:], s.v[j:], ld, s.q, do, &s.lse, &s.delta, &s.tile, dk[j:], dv[j:], dq)
				}
				// Keys of the queries' own block are seen by those that do not come before them.
				share(0, b*blk/kernel.AttendKeys, 0, -1)
				share(b*blk, 1, 0, 1)
				share(b*blk+kernel.AttendKeys, 1, kernel.AttendKeys, 1)
				kernel.ScaleCols(dq, &scale)
				a.rotate(dq, b, n, true)
				store(dq, dqkv.Band(head*d, d), start+b*blk, count)
			}
		}
		a.smallStoreKV(s, dqkv, start, length, kv)
	})
}

// smallStoreKV writes the gradients of a head's keys and values, features before tokens, to dqkv.
func (a *attention) smallStoreKV(s *scratch, dqkv kernel.Tensor, start, length, kv int) {
	h, d := a.h, a.h.Size
	fromBase2, n := column(1/math.Log2E), kernel.Blocks(length)
	for b := range n {
		count := min(blk, length-b*blk)
		for i, grad := range [][]float32{s.dk, s.dv} {
			for f := range d {
				copy(s.q[f*blk:][:blk], grad[(f*n+b)*blk:])
			}
			if i == 0 {
				kernel.ScaleCols(s.q, &fromBase2)
				a.rotate(s.q, b, n, true)
			}
			store(s.q, dqkv.Band((h.Query+i*h.KV+kv)*d, d), start+b*blk, count)
		}
	}
}
