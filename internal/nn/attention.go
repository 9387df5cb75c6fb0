package nn

import (
	"fmt"
	"math"
	"sync"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// Heads is the shape of causal grouped-query attention.
type Heads struct {
	Query, KV, Size int   // number of query heads, of key/value heads (dividing Query), and features of a head
	Rope            *Rope // nil for none
}

// check wants heads that make sense and take rows features.
func (h Heads) check(rows int) error {
	switch {
	case h.Query <= 0 || h.KV <= 0 || h.Size <= 0 || h.Query%h.KV != 0:
		return fmt.Errorf("attention with %d query heads and %d key/value heads of size %d", h.Query, h.KV, h.Size)
	case h.Rope != nil && 2*len(h.Rope.Freq) != h.Size:
		return fmt.Errorf("rotary positions for heads of size %d, not %d", 2*len(h.Rope.Freq), h.Size)
	case rows != (h.Query+2*h.KV)*h.Size:
		return fmt.Errorf("attention takes %d features, not %d", (h.Query+2*h.KV)*h.Size, rows)
	}
	return nil
}

const blk = kernel.Block

// minusInf is what no score is below.
var minusInf = func() (v [blk]float32) {
	for i := range v {
		v[i] = float32(math.Inf(-1))
	}
	return v
}()

// Attention is causal softmax(QKᵀ/√d)·V for qkv = [queries; keys; values] stacked, with rotary positions applied to
// queries and keys. Each sequence of the batch attends to itself only. Scores exist for 32 queries of one head at a time;
// what is kept for the backward pass is one log-sum-exp per query and head.
func (g *Graph) Attention(qkv *Var, h Heads) (*Var, error) {
	if err := h.check(qkv.rows); err != nil {
		return nil, err
	}
	a := &attention{g: g, h: h, qkv: qkv}
	y := &Var{rows: h.Query * h.Size, needGrad: qkv.needGrad}
	a.y = y
	a.place()
	g.attnRows = max(g.attnRows, h.scratchRows(qkv.act.halves != nil, g.Training))
	fwd := newOp("attention", activationType, nominal(y.rows), func(in []G.Value) (G.Value, error) {
		a.taken, y.act.tokens = false, nil
		if qkv.act.halves != nil {
			a.forwardHalf(qkv.act.halves, y.act.halves)
			return y.act.filledHalves(g)
		}
		a.forward(values(in[0], qkv.rows), y.act.buf.get(g.blocks, y.rows))
		return y.act.filled()
	})
	fwd.wrt, fwd.flops = []bool{qkv.needGrad}, a.flops
	fwd.diff = func(grad *G.Node) (G.Nodes, error) {
		bwd := newOp("attention backward", activationType, nominal(qkv.rows), func(in []G.Value) (G.Value, error) {
			return a.differentiate(in[0])
		})
		bwd.flops = func() float64 { return 2 * a.flops() }
		if qkv.act.taker != nil && h.Size%blk == 0 {
			g.pieceRows = max(g.pieceRows, qkv.rows)
		} else {
			g.mem.dQKV.reserve(qkv.rows)
		}
		d, err := bwd.apply(grad)
		return G.Nodes{d}, err
	}
	var err error
	y.node, err = fwd.apply(qkv.node)
	return y, err
}

// place decides where the result lives: in bfloat16 where the queries, keys and values do.
func (a *attention) place() {
	g, y := a.g, a.y
	if y.needGrad {
		g.keptRows += a.h.Query
		if a.small() && a.qkv.act.halves == nil {
			g.keptRows += a.h.Query
		}
	}
	if a.qkv.act.halves != nil {
		rows := 0
		if !g.Training || g.Checkpointing {
			rows = a.qkv.rows + y.rows
		}
		if g.Training {
			rows += y.rows
		}
		g.headRows = max(g.headRows, rows)
		y.act.keepHalves(g, y.rows, &g.mem.heads, &g.mem.headsHalves, func() error {
			x, err := a.qkv.act.againHalves()
			if err == nil {
				a.forwardHalf(x, y.act.halves)
			}
			return err
		})
		if g.Training && !g.Checkpointing {
			y.act.taker = a
		}
		return
	}
	y.act.ownOr(g, y.rows, &g.mem.heads, func() error {
		x, err := a.qkv.act.again()
		if err == nil {
			a.forward(x, y.act.buf.get(g.blocks, y.rows))
		}
		return err
	})
}

// differentiate returns the gradient of the queries, keys and values for that of the result.
func (a *attention) differentiate(dy G.Value) (G.Value, error) {
	g, m := a.g, &a.g.mem
	if a.qkv.act.halves != nil {
		return a.differentiateHalf(dy)
	}
	y, err := a.y.act.again()
	if err != nil {
		return nil, err
	}
	qkv, err := a.qkv.act.again()
	if err != nil {
		return nil, err
	}
	a.backward(qkv, y, values(dy, a.y.rows), m.dQKV.get(g.blocks, a.qkv.rows))
	return m.dQKV.value, nil
}

// flops are those of the two products, of which causality leaves half.
func (a *attention) flops() float64 {
	var pairs float64
	for _, n := range a.g.batch.Lengths {
		pairs += float64(n) * float64(n+1) / 2
	}
	return 2 * 2 * pairs * float64(a.h.Query*a.h.Size)
}

type attention struct {
	g      *Graph
	h      Heads
	qkv, y *Var
	lse    []float32 // (query heads, tokens): log Σ exp of the scaled scores
	// (query heads, tokens), of small heads instead: what is taken off the scores, and one over the sum of the powers.
	shifts, inverses []float32

	taken bool // the gradient of the result was taken in pieces, in this run: one may end before that is used
}

// scratch is one worker's memory for one sequence and key/value head. d is the head size, n the sequence's blocks. What grows from one
// block of queries to the next, which sees more keys, has room for the last one from the first on.
type scratch struct {
	k, v     []float32 // d × 32n, as matrices for the products over keys
	q, dq    []float32 // d × 32, one block
	o, do    []float32 // d × 32
	qT, doT  []float32 // 32 × width: the block's tokens before its features
	p, dp    []float32 // keys × 32: scores of a block of queries
	dk, dv   []float32 // panels of 32 features, each 32n × 32
	delta    [blk]float32
	maxima   [blk]float32
	sum, lse [blk]float32
	tile     kernel.AttendTile // of small heads

	half halfScratch
}

// scratchRows is the width of a worker's scratch memory per token of the longest sequence: keys, values and a block of scores; for the
// backward pass their gradients as well; in bfloat16, one block of what is computed of scores, and two of a chunk's queries.
func (h Heads) scratchRows(half, training bool) int {
	width := halfWidth(h.Size)
	switch {
	case half && training:
		return 4*width + 2*blk + (1+2*halfChunk)*blk/2
	case half:
		return width + blk + blk/2
	case training:
		return 2*h.Size + 2*panelWidth(h.Size) + 2*blk
	}
	return 2*h.Size + blk
}

// attentionScratch hands scratch memory to workers; there are never more pieces than workers.
type attentionScratch struct {
	mu   sync.Mutex
	free []*scratch
}

func (p *attentionScratch) get() *scratch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	return &scratch{}
}

func (p *attentionScratch) put(s *scratch) {
	p.mu.Lock()
	p.free = append(p.free, s)
	p.mu.Unlock()
}

func grow(s *[]float32, n int) []float32 {
	if cap(*s) < n {
		*s = make([]float32, n)
	}
	*s = (*s)[:n]
	return *s
}

// tasks calls f for every sequence and key/value head, in parallel. start is the sequence's first token.
func (a *attention) tasks(f func(s *scratch, start, length, kv int)) {
	lengths := a.g.batch.Lengths
	starts := make([]int, len(lengths))
	for i := 1; i < len(lengths); i++ {
		starts[i] = starts[i-1] + lengths[i-1]
	}
	kernel.Parallel(len(lengths)*a.h.KV, func(i int) {
		s := a.g.attn.get()
		defer a.g.attn.put(s)
		f(s, starts[i/a.h.KV], lengths[i/a.h.KV], i%a.h.KV)
	})
}

func (a *attention) scale() float32 { return float32(1 / math.Sqrt(float64(a.h.Size))) }

// forward writes the attention's output for qkv to y. Padding tokens get zeros.
func (a *attention) forward(qkv, y kernel.Tensor) {
	h, d := a.h, a.h.Size
	total := len(a.g.batch.IDs)
	clearPadding(y, total)
	if a.small() {
		a.smallForward(qkv, y)
		return
	}
	if a.y.needGrad {
		grow(&a.lse, h.Query*total)
	}
	a.tasks(func(s *scratch, start, length, kv int) {
		a.loadKV(s, qkv, start, length, kv)
		ld := kernel.Blocks(length) * blk
		grow(&s.p, ld*blk)
		for head := kv * (h.Query / h.KV); head < (kv+1)*(h.Query/h.KV); head++ {
			for b := range ld / blk {
				a.loadQ(s, qkv, start, length, head, b)
				keys := a.scores(s, b, length, ld)
				s.maxima = minusInf
				kernel.MaxCols(s.p, &s.maxima)
				scale := a.scale()
				for t := range s.maxima {
					s.maxima[t] *= scale
				}
				clear(s.sum[:])
				kernel.ExpCols(s.p, scale, &s.maxima, &s.sum)
				o := grow(&s.o, d*blk)
				kernel.Gemm(d, blk, keys, s.v, ld, false, s.p, blk, o, blk, false)
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
				store(o, y.Band(head*d, d), start+b*blk, count)
			}
		}
	})
}

// loadKV gathers the rotated keys and the values of one sequence and head, d × 32n each.
func (a *attention) loadKV(s *scratch, qkv kernel.Tensor, start, length, kv int) {
	d, n := a.h.Size, kernel.Blocks(length)
	k, v := grow(&s.k, d*n*blk), grow(&s.v, d*n*blk)
	tile := grow(&s.q, d*blk)
	for b := range n {
		count := min(blk, length-b*blk)
		load(qkv.Band((a.h.Query+kv)*d, d), start+b*blk, count, tile)
		a.rotate(tile, b, n, false)
		for f := range d {
			copy(k[f*n*blk+b*blk:][:blk], tile[f*blk:])
		}
		values := view(qkv.Band((a.h.Query+a.h.KV+kv)*d, d), start+b*blk, count, &s.q)
		for f := range d {
			copy(v[f*n*blk+b*blk:][:blk], values[f*blk:])
		}
	}
}

// loadQ gathers block b of one head's rotated queries to s.q, d × 32.
func (a *attention) loadQ(s *scratch, qkv kernel.Tensor, start, length, head, b int) {
	d := a.h.Size
	load(qkv.Band(head*d, d), start+b*blk, min(blk, length-b*blk), grow(&s.q, d*blk))
	a.rotate(s.q, b, kernel.Blocks(length), false)
}

func (a *attention) rotate(tile []float32, b, n int, inverse bool) {
	if r := a.h.Rope; r != nil {
		cos, sin := r.angles(n)
		rotate(tile, cos, sin, b, inverse)
	}
}

// scores writes q·k for query block b to s.p (keys × 32), −∞ where the key comes after the query, and returns the number
// of keys.
func (a *attention) scores(s *scratch, b, length, ld int) int {
	keys := min((b+1)*blk, length)
	p := grow(&s.p, keys*blk)
	kernel.Gemm(keys, blk, a.h.Size, s.k, ld, true, s.q, blk, p, blk, false)
	for j := b * blk; j < keys; j++ {
		copy(p[j*blk:][:j-b*blk], minusInf[:])
	}
	return keys
}

// view returns tokens [first, first+count) of x, rows × 32: where they lie, if they are a block of x, else copied to tile.
func view(x kernel.Tensor, first, count int, tile *[]float32) []float32 {
	if first%blk == 0 && count == blk {
		return x.Blk(first / blk)
	}
	load(x, first, count, grow(tile, x.Rows*blk))
	return *tile
}

// load copies tokens [first, first+count) of x to tile (rows × 32); the rest of the tile is zero.
func load(x kernel.Tensor, first, count int, tile []float32) {
	at := first % blk
	n := min(count, blk-at)
	src := x.Blk(first / blk)
	if n == blk {
		copy(tile, src)
		return
	}
	clear(tile)
	for f := range x.Rows {
		copy(tile[f*blk:][:n], src[f*blk+at:])
	}
	if rest := count - n; rest > 0 {
		src = x.Blk(first/blk + 1)
		for f := range x.Rows {
			copy(tile[f*blk+n:][:rest], src[f*blk:])
		}
	}
}

// store copies the first count tokens of tile (rows × 32) to tokens [first, first+count) of y.
func store(tile []float32, y kernel.Tensor, first, count int) {
	at := first % blk
	n := min(count, blk-at)
	dst := y.Blk(first / blk)
	if n == blk {
		copy(dst, tile)
		return
	}
	for f := range y.Rows {
		copy(dst[f*blk+at:][:n], tile[f*blk:])
	}
	if rest := count - n; rest > 0 {
		dst = y.Blk(first/blk + 1)
		for f := range y.Rows {
			copy(dst[f*blk:][:rest], tile[f*blk+n:])
		}
	}
}

// clearPadding zeroes the tokens after the first n.
func clearPadding(y kernel.Tensor, n int) {
	if n%blk == 0 {
		return
	}
	last := y.Blk(n / blk)
	for f := range y.Rows {
		clear(last[f*blk+n%blk:][:blk-n%blk])
	}
}
