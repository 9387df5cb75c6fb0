package nn

import (
	"math"

	"shira/internal/kernel"
)

// Attention with products of bfloat16 values and sums in float32, where the processor has such products: queries and keys are
// rounded after they are turned, probabilities and the gradients of scores before they are multiplied (as Dao et al. 2022 do);
// softmax and all sums stay in float32.

// halfScratch is what a worker needs beside scratch. d is the head size rounded up to 32, n the sequence's blocks.
type halfScratch struct {
	kTokens, vTokens     kernel.Left   // 32n × d, for products over features
	kFeatures, vFeatures kernel.Left   // d × 32n, for products over keys
	q, o, do             kernel.Halves // d × 32, one block
	qT, doT              kernel.Halves // 32 × d, the block's tokens in the place of features
	p                    kernel.Halves // keys × 32: probabilities, or gradients of scores
	pKeys, dsKeys        kernel.Left   // keys × 32, for products over queries
}

// halfWidth is the head size rounded up to whole tiles.
func halfWidth(d int) int { return (d + blk - 1) / blk * blk }

// forwardHalf writes the attention's output for qkv to y. Padding tokens get zeros.
func (a *attention) forwardHalf(qkv, y *kernel.Halves) {
	h, d, width := a.h, a.h.Size, halfWidth(a.h.Size)
	total := len(a.g.batch.IDs)
	if a.y.needGrad {
		grow(&a.lse, h.Query*total)
	}
	y.Reset(h.Query*d, a.g.blocks)
	y.ClearTokens(total)
	a.tasks(func(s *scratch, start, length, kv int) {
		t, n := &s.half, kernel.Blocks(length)
		t.kTokens.Reset(n*blk, width)
		t.vFeatures.Reset(width, n*blk)
		t.q.Reset(width, 1)
		for b := range n {
			a.takeHead(s, &t.q, qkv, h.Query+kv, start, length, b)
			t.kTokens.SetTokens(b, &t.q, 0)
			t.q.TakeTokens(qkv.Band((h.Query+h.KV+kv)*d, d), start+b*blk, min(blk, length-b*blk))
			t.vFeatures.SetFeatures(b, &t.q, 0)
		}
		for head := kv * (h.Query / h.KV); head < (kv+1)*(h.Query/h.KV); head++ {
			for b := range n {
				a.takeHead(s, &t.q, qkv, head, start, length, b)
				p := a.scoresHalf(s, b)
				s.maxima = minusInf
				kernel.MaxCols(p, &s.maxima)
				scale := a.scale()
				for t := range s.maxima {
					s.maxima[t] *= scale
				}
				clear(s.sum[:])
				kernel.ExpHalves(p, scale, &s.maxima, &s.sum, &t.p)
				o := grow(&s.o, width*blk)
				t.vFeatures.Mul(width/blk, b+1, &t.p, 0, o, false)
				count := min(blk, length-b*blk)
				if a.y.needGrad {
					for t, v := range s.sum[:count] {
						a.lse[head*total+start+b*blk+t] = s.maxima[t] + float32(math.Log(float64(v)))
					}
				}
				for t, v := range s.sum {
					s.sum[t] = 1 / v
				}
				kernel.ScaleCols(o, &s.sum)
				t.q.SetBlock(0, o)
				t.q.PutTokens(y.Band(head*d, d), start+b*blk, count)
			}
		}
	})
}

// takeHead gathers block b of a sequence of one head's queries or keys, turned, to x.
func (a *attention) takeHead(s *scratch, x, qkv *kernel.Halves, head, start, length, b int) {
	d := a.h.Size
	x.TakeTokens(qkv.Band(head*d, d), start+b*blk, min(blk, length-b*blk))
	if a.h.Rope == nil {
		return
	}
	tile := grow(&s.q, d*blk)
	x.Band(0, d).ExpandBlock(0, tile)
	a.rotate(tile, b, kernel.Blocks(length), false)
	x.SetBlock(0, tile)
}

// scoresHalf writes q·k for query block b to s.p (keys × 32), −∞ where the key comes after the query, and returns it.
func (a *attention) scoresHalf(s *scratch, b int) []float32 {
	p := grow(&s.p, (b+1)*blk*blk)
	s.half.kTokens.Mul(b+1, halfWidth(a.h.Size)/blk, &s.half.q, 0, p, false)
	for j := range blk {
		copy(p[(b*blk+j)*blk:][:j], minusInf[:])
	}
	return p
}

// backwardHalf is backward for qkv and y in bfloat16. It writes dqkv to halves as well, if those are wanted.
func (a *attention) backwardHalf(qkv, y *kernel.Halves, dy, dqkv kernel.Tensor, halves *kernel.Halves) {
	h, d, width := a.h, a.h.Size, halfWidth(a.h.Size)
	total := len(a.g.batch.IDs)
	clearPadding(dqkv, total)
	if halves != nil {
		halves.ClearTokens(total)
	}
	a.tasks(func(s *scratch, start, length, kv int) {
		t, n := &s.half, kernel.Blocks(length)
		ld := n * blk
		for _, x := range []*kernel.Halves{&t.q, &t.o, &t.do} {
			x.Reset(width, 1)
		}
		t.do.ClearTokens(0)
		t.kTokens.Reset(ld, width)
		t.vTokens.Reset(ld, width)
		t.kFeatures.Reset(width, ld)
		for b := range n {
			a.takeHead(s, &t.q, qkv, h.Query+kv, start, length, b)
			t.kTokens.SetTokens(b, &t.q, 0)
			t.kFeatures.SetFeatures(b, &t.q, 0)
			t.q.TakeTokens(qkv.Band((h.Query+h.KV+kv)*d, d), start+b*blk, min(blk, length-b*blk))
			t.vTokens.SetTokens(b, &t.q, 0)
		}
		clear(grow(&s.dk, width*ld))
		clear(grow(&s.dv, width*ld))
		for head := kv * (h.Query / h.KV); head < (kv+1)*(h.Query/h.KV); head++ {
			for b := range n {
				first, count := start+b*blk, min(blk, length-b*blk)
				a.takeHead(s, &t.q, qkv, head, start, length, b)
				do := view(dy.Band(head*d, d), first, count, &s.do)
				t.do.SetBlock(0, do)
				t.o.TakeTokens(y.Band(head*d, d), first, count)
				o := grow(&s.o, d*blk)
				t.o.Band(0, d).ExpandBlock(0, o)
				clear(s.delta[:])
				kernel.DotCols(do, o, &s.delta)
				for t := range s.lse {
					// Queries past the end of the sequence weigh nothing.
					s.lse[t] = math.MaxFloat32
					if t < count {
						s.lse[t] = a.lse[head*total+first+t]
					}
				}

				p := a.scoresHalf(s, b)
				dp := grow(&s.dp, len(p))
				t.vTokens.Mul(b+1, width/blk, &t.do, 0, dp, false)
				kernel.ScoreGrads(p, dp, a.scale(), &s.lse, &s.delta, &t.pKeys, &t.dsKeys, &t.p)

				dq := grow(&s.dq, width*blk)
				t.kFeatures.Mul(width/blk, b+1, &t.p, 0, dq, false)
				a.rotate(dq[:d*blk], b, n, true)
				a.put(dq[:d*blk], dqkv, halves, head*d, first, count, &t.o)

				t.qT.SetTransposed(&t.q, 0)
				t.doT.SetTransposed(&t.do, 0)
				for panel := range width / blk {
					t.dsKeys.Mul(b+1, 1, &t.qT, panel, s.dk[panel*ld*blk:], true)
					t.pKeys.Mul(b+1, 1, &t.doT, panel, s.dv[panel*ld*blk:], true)
				}
			}
		}
		a.storeKV(s, dqkv, halves, start, length, kv, width)
	})
}

// put writes the first count tokens of tile, features × 32, to those from first on of features [off, …) of y, and of halves if that
// is not nil, by way of one.
func (a *attention) put(tile []float32, y kernel.Tensor, halves *kernel.Halves, off, first, count int, one *kernel.Halves) {
	rows := len(tile) / blk
	store(tile, y.Band(off, rows), first, count)
	if halves != nil {
		one.SetBlock(0, tile)
		one.PutTokens(halves.Band(off, rows), first, count)
	}
}
