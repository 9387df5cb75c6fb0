package nn

import (
	"math"

	"shira/internal/kernel"
)

// backward writes dqkv for the output y and its gradient dy. With P the softmax, computed again from the kept log-sum-exp, and
// δ = Σ dO·O per query: dV = Pᵀ·dO, dS = P∘(dO·Vᵀ − δ)/√d, dQ = dS·K, dK = dSᵀ·Q (Dao et al. 2022, algorithm 4).
// A task owns a key/value head of a sequence with all its queries, so that nothing is written twice.
func (a *attention) backward(qkv, y, dy, dqkv kernel.Tensor) {
	h, d := a.h, a.h.Size
	total := len(a.g.batch.IDs)
	clearPadding(dqkv, total)
	if a.small() {
		a.smallBackward(qkv, y, dy, dqkv)
		return
	}
	width := panelWidth(d)
	a.tasks(func(s *scratch, start, length, kv int) {
		a.loadKV(s, qkv, start, length, kv)
		n := kernel.Blocks(length)
		ld := n * blk
		grow(&s.p, ld*blk)
		grow(&s.dp, ld*blk)
		clear(grow(&s.dk, width/blk1(width)*ld*blk))
		clear(grow(&s.dv, width/blk1(width)*ld*blk))
		for head := kv * (h.Query / h.KV); head < (kv+1)*(h.Query/h.KV); head++ {
			for b := range n {
				count := min(blk, length-b*blk)
				a.loadQ(s, qkv, start, length, head, b)
				do := view(dy.Band(head*d, d), start+b*blk, count, &s.do)
				o := view(y.Band(head*d, d), start+b*blk, count, &s.o)
				clear(s.delta[:])
				kernel.DotCols(do, o, &s.delta)

				keys := a.scores(s, b, length, ld)
				for t := range s.lse {
					// Queries past the end of the sequence weigh nothing.
					s.lse[t] = math.MaxFloat32
					if t < count {
						s.lse[t] = a.lse[head*total+start+b*blk+t]
					}
				}
				kernel.ExpCols(s.p, a.scale(), &s.lse, &s.sum)
				dp := grow(&s.dp, keys*blk)
				kernel.Gemm(keys, blk, d, s.v, ld, true, do, blk, dp, blk, false)
				kernel.SoftmaxBackward(s.p, dp, &s.delta, a.scale())

				dq := grow(&s.dq, d*blk)
				kernel.Gemm(d, blk, keys, s.k, ld, false, dp, blk, dq, blk, false)
				a.rotate(dq, b, n, true)
				store(dq, dqkv.Band(head*d, d), start+b*blk, count)

				addTokenMajor(dp, s.q, keys, ld, width, d, &s.qT, s.dk)
				addTokenMajor(s.p, do, keys, ld, width, d, &s.doT, s.dv)
			}
		}
		a.storeKV(s, start, length, kv, width, func(tile []float32, off, first, count int) {
			store(tile, dqkv.Band(off, d), first, count)
		})
	})
}

// panelWidth is the head size rounded up to what the products' vectors need: 16 features, or any number of 32.
func panelWidth(d int) int {
	if d <= blk/2 {
		return blk / 2
	}
	return (d + blk - 1) / blk * blk
}

// blk1 is the number of features of one panel.
func blk1(width int) int { return min(width, blk) }

// addTokenMajor adds w (keys × 32 queries) times x (d × 32 queries, transposed) to the panels of out, each ld × 32.
func addTokenMajor(w, x []float32, keys, ld, width, d int, xT *[]float32, out []float32) {
	t := grow(xT, blk*width)
	if width > d {
		clear(t)
	}
	kernel.Transpose(d, x, t, width)
	n := blk1(width)
	for p := 0; p*n < width; p++ {
		kernel.Gemm(keys, n, blk, w, blk, false, t[p*n:], width, out[p*ld*blk:], blk, true)
	}
}

// putter puts the first count tokens of a head's gradients, features × 32, to those from first on of features off and following.
type putter func(tile []float32, off, first, count int)

// storeKV turns the gradients of keys and values back to features before tokens and puts them.
func (a *attention) storeKV(s *scratch, start, length, kv, width int, put putter) {
	d, n := a.h.Size, kernel.Blocks(length)
	tile := grow(&s.q, max(width, blk)*blk)
	for b := range n {
		count := min(blk, length-b*blk)
		for i, panels := range [][]float32{s.dk, s.dv} {
			for p := 0; p*blk < width; p++ {
				kernel.Transpose(blk, panels[(p*n+b)*blk*blk:], tile[p*blk*blk:], blk)
			}
			if i == 0 {
				a.rotate(tile[:d*blk], b, n, true)
			}
			put(tile[:d*blk], (a.h.Query+i*a.h.KV+kv)*d, start+b*blk, count)
		}
	}
}
