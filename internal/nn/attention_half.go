package nn

import (
	"math"
	"slices"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// Attention with products of bfloat16 values and sums in float32, where the processor has such products: queries and keys are
// rounded after they are turned, probabilities and the gradients of scores before they are multiplied (as Dao et al. 2022 do);
// softmax and all sums stay in float32.

// halfChunk is the number of blocks of queries whose probabilities, and gradients of scores, are multiplied at a time for the gradients
// of values and keys, which are read and written as often.
const halfChunk = 4

// halfScratch is what a worker needs beside scratch. d is the head size rounded up to 32, n the sequence's blocks.
type halfScratch struct {
	kTokens, vTokens     kernel.Left   // 32n × d, for products over features
	kFeatures, vFeatures kernel.Left   // d × 32n, for products over keys
	q, o, do             kernel.Halves // d × 32, one block
	qAcross, doAcross    kernel.Halves // 32 queries for each block of a chunk, in the place of features, × d
	p                    kernel.Halves // keys × 32: probabilities, or gradients of scores
	pKeys, dsKeys        kernel.Left   // keys × the queries of a chunk
}

// halfWidth is the head size rounded up to whole tiles.
func halfWidth(d int) int { return (d + blk - 1) / blk * blk }

// future is −∞ where a key of a block comes after the query of the same block, and 0 elsewhere.
var future = func() (m [blk * blk]float32) {
	for j := range blk {
		copy(m[j*blk:][:j], minusInf[:])
	}
	return m
}()

// forwardHalf writes the attention's output for qkv to y. Padding tokens get zeros.
func (a *attention) forwardHalf(qkv, y *kernel.Halves) {
	h, d, width := a.h, a.h.Size, halfWidth(a.h.Size)
	total := len(a.g.batch.IDs)
	if a.y.needGrad {
		grow(&a.lse, h.Query*total)
	}
	y.Reset(h.Query*d, a.g.blocks)
	y.ClearTokens(total)
	angles := a.angles()
	a.tasks(func(s *scratch, start, length, kv int) {
		t, n := &s.half, kernel.Blocks(length)
		t.kTokens.Reset(n*blk, width)
		t.vFeatures.Reset(width, n*blk)
		t.q.Reset(width, 1)
		t.p.Reset(n*blk, 1)
		grow(&s.p, n*blk*blk)
		for b := range n {
			first, count := start+b*blk, min(blk, length-b*blk)
			angles.take(&t.q, qkv.Band((h.Query+kv)*d, d), first, count, b)
			t.kTokens.SetTokens(b, &t.q, 0)
			v, at := qkv.Band((h.Query+h.KV+kv)*d, d).View(first, count, &t.q)
			t.vFeatures.SetFeatures(b, v, at)
		}
		for head := kv * (h.Query / h.KV); head < (kv+1)*(h.Query/h.KV); head++ {
			for b := range n {
				first, count := start+b*blk, min(blk, length-b*blk)
				angles.take(&t.q, qkv.Band(head*d, d), first, count, b)
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
				t.vFeatures.Mul(0, width/blk, 0, b+1, &t.p, 0, o, false)
				if a.y.needGrad {
					for t, v := range s.sum[:count] {
						a.lse[head*total+first+t] = s.maxima[t] + float32(math.Log(float64(v)))
					}
				}
				for t, v := range s.sum {
					s.sum[t] = 1 / v
				}
				t.q.SetScaled(o, &s.sum)
				t.q.PutTokens(y.Band(head*d, d), first, count)
			}
		}
	})
}

// angles are the rotary angles of all positions of a batch.
type angles struct {
	cos, sin []float32
	block    int // values for a block
}

func (a *attention) angles() (t angles) {
	if r := a.h.Rope; r != nil {
		t.cos, t.sin = r.angles(kernel.Blocks(slices.Max(a.g.batch.Lengths)))
		t.block = len(r.Freq) * blk
	}
	return t
}

// take gathers tokens [first, first+count) of a head's queries or keys x, block b of a sequence, to block 0 of y, turned.
func (t angles) take(y, x *kernel.Halves, first, count, b int) {
	if t.cos == nil {
		y.TakeTokens(x, first, count)
		return
	}
	at := b * t.block
	y.TakeTurned(x, first, count, t.cos[at:], t.sin[at:])
}

// scoresHalf writes q·k for query block b to s.p (keys × 32), −∞ where the key comes after the query, and returns it.
func (a *attention) scoresHalf(s *scratch, b int) []float32 {
	p := grow(&s.p, (b+1)*blk*blk)
	s.half.kTokens.Mul(0, b+1, 0, halfWidth(a.h.Size)/blk, &s.half.q, 0, p, false)
	kernel.Accumulate(p[b*blk*blk:], future[:])
	return p
}

// differentiateHalf is differentiate in bfloat16.
func (a *attention) differentiateHalf(grad G.Value) (G.Value, error) {
	g, m := a.g, &a.g.mem
	y, err := a.y.act.againHalves()
	if err != nil {
		return nil, err
	}
	qkv, err := a.qkv.act.againHalves()
	if err != nil {
		return nil, err
	}
	if !a.taken {
		m.dHeadsHalves.Set(values(grad, a.y.rows))
	}
	a.taken = false
	if t := a.qkv.act.taker; t != nil && a.inBlocks() {
		t.begin()
		a.backwardHalf(qkv, y, &m.dHeadsHalves, func(*scratch) putter {
			return func(tile []float32, off, first, _ int) { t.take(first/blk, off, tile) }
		})
		return t.gradient(), nil
	}
	dqkv, total := m.dQKV.get(g.blocks, a.qkv.rows), len(g.batch.IDs)
	clearPadding(dqkv, total)
	var halves *kernel.Halves
	if a.qkv.act.gradRounded {
		halves = m.roundAhead(dqkv)
		halves.ClearTokens(total)
	}
	a.backwardHalf(qkv, y, &m.dHeadsHalves, func(s *scratch) putter {
		return func(tile []float32, off, first, count int) {
			rows := len(tile) / blk
			store(tile, dqkv.Band(off, rows), first, count)
			if halves != nil {
				s.half.o.SetBlock(0, tile)
				s.half.o.PutTokens(halves.Band(off, rows), first, count)
			}
		}
	})
	return m.dQKV.value, nil
}

// inBlocks tells whether what a task computes are whole blocks, and groups of 32 features.
func (a *attention) inBlocks() bool {
	lengths := a.g.batch.Lengths
	return a.h.Size%blk == 0 && !slices.ContainsFunc(lengths[:len(lengths)-1], func(n int) bool { return n%blk != 0 })
}

// begin makes room for the gradient of the result, to be taken in pieces.
func (a *attention) begin() {
	a.g.mem.dHeadsHalves.Reset(a.y.rows, a.g.blocks)
	a.taken = true
}

// take rounds a piece of the gradient of the result, and hands on the result where somebody waits for it.
func (a *attention) take(b, f int, dy []float32) {
	a.g.mem.dHeadsHalves.SetBand(b, f, dy)
	tokens := a.y.act.tokens
	if tokens == nil {
		return
	}
	var room [strip * blk]float32
	for end := f + len(dy)/blk; f < end; f += strip {
		y := room[:min(strip, end-f)*blk]
		a.y.act.halves.Features(b, f, y)
		tokens.SetBand(b, f, y)
	}
}

// gradient is the graph's value for the gradient of the result, when that was taken in pieces.
func (a *attention) gradient() G.Value { return a.g.hollow() }

// backwardHalf is backward for qkv, y and dy in bfloat16. A worker puts the gradients of heads, 32 tokens at a time, with zeros
// beyond the end of a sequence.
func (a *attention) backwardHalf(qkv, y, dy *kernel.Halves, putterOf func(*scratch) putter) {
	h, d, width := a.h, a.h.Size, halfWidth(a.h.Size)
	total := len(a.g.batch.IDs)
	angles := a.angles()
	a.tasks(func(s *scratch, start, length, kv int) {
		t, n, put := &s.half, kernel.Blocks(length), putterOf(s)
		ld := n * blk
		for _, x := range []*kernel.Halves{&t.q, &t.o, &t.do} {
			x.Reset(width, 1)
		}
		t.kTokens.Reset(ld, width)
		t.vTokens.Reset(ld, width)
		t.kFeatures.Reset(width, ld)
		t.p.Reset(ld, 1)
		t.resetChunk(n, min(halfChunk, n), width)
		grow(&s.p, ld*blk)
		grow(&s.dp, ld*blk)
		for b := range n {
			first, count := start+b*blk, min(blk, length-b*blk)
			angles.take(&t.q, qkv.Band((h.Query+kv)*d, d), first, count, b)
			t.kTokens.SetTokens(b, &t.q, 0)
			t.kFeatures.SetFeatures(b, &t.q, 0)
			v, at := qkv.Band((h.Query+h.KV+kv)*d, d).View(first, count, &t.q)
			t.vTokens.SetTokens(b, v, at)
		}
		grow(&s.dk, width*ld)
		grow(&s.dv, width*ld)
		group := h.Query / h.KV
		for head := kv * group; head < (kv+1)*group; head++ {
			for c := 0; c < n; c += halfChunk {
				end := min(c+halfChunk, n)
				t.resetChunk(end, end-c, width)
				for b := c; b < end; b++ {
					first, count := start+b*blk, min(blk, length-b*blk)
					angles.take(&t.q, qkv.Band(head*d, d), first, count, b)
					do, at := dy.Band(head*d, d).View(first, count, &t.do)
					o, oAt := y.Band(head*d, d).View(first, count, &t.o)
					clear(s.delta[:])
					do.DotCols(at, o, oAt, &s.delta)
					for t := range s.lse {
						// Queries past the end of the sequence weigh nothing.
						s.lse[t] = math.MaxFloat32
						if t < count {
							s.lse[t] = a.lse[head*total+first+t]
						}
					}

					p := a.scoresHalf(s, b)
					dp := grow(&s.dp, len(p))
					t.vTokens.Mul(0, b+1, 0, width/blk, do, at, dp, false)
					kernel.ScoreGrads(p, dp, a.scale(), &s.lse, &s.delta, &t.pKeys, &t.dsKeys, b-c, &t.p)
					t.qAcross.SetAcross(b-c, &t.q, 0)
					t.doAcross.SetAcross(b-c, do, at)

					dq := grow(&s.dq, width*blk)
					t.kFeatures.Mul(0, width/blk, 0, b+1, &t.p, 0, dq, false)
					a.rotate(dq[:d*blk], b, n, true)
					put(dq[:d*blk], head*d, first, count)
				}
				for panel := range width / blk {
					addChunk(&t.dsKeys, &t.qAcross, panel, c, end, s.dk[panel*ld*blk:], head > kv*group)
					addChunk(&t.pKeys, &t.doAcross, panel, c, end, s.dv[panel*ld*blk:], head > kv*group)
				}
			}
		}
		a.storeKV(s, start, length, kv, width, put)
	})
}

// resetChunk makes room for queries of a number of blocks and the keys of n.
func (t *halfScratch) resetChunk(n, queries, width int) {
	t.pKeys.Reset(n*blk, queries*blk)
	t.dsKeys.Reset(n*blk, queries*blk)
	t.qAcross.Reset(queries*blk, width/blk)
	t.doAcross.Reset(queries*blk, width/blk)
}

// addChunk adds the products of w, keys × the queries of blocks [c, end), with a panel of x over those queries to y, which holds
// 32 features of the keys of all blocks. Keys see queries of their block and later ones. Of the keys of these blocks it is the first
// product, unless seen says otherwise.
func addChunk(w *kernel.Left, x *kernel.Halves, panel, c, end int, y []float32, seen bool) {
	w.Mul(0, c, 0, end-c, x, panel, y, true)
	for b := c; b < end; b++ {
		w.Mul(b, b+1, b-c, end-c, x, panel, y[b*blk*blk:], seen)
	}
}
