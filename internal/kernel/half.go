package kernel

import (
	"math"
	"unsafe"
)

// pair holds two bfloat16 values that are neighbours along the depth of a product, the first in the lower half.
type pair uint32

// Halves is an activation, or a band of one, rounded to bfloat16 as the right operand of products. Its memory is used
// again when it is filled again.
type Halves struct {
	rows, blocks int
	stride, off  int    // features of the whole activation, and before the band: block b begins at feature b·stride+off
	pairs        []pair // (blocks, stride/2, Block); an odd number of rows is made even with zeros
}

// Reset makes room for blocks of rows features, to be filled by SetBlock.
func (h *Halves) Reset(rows, blocks int) {
	h.rows, h.blocks, h.stride, h.off = rows, blocks, rows+rows%2, 0
	h.pairs = resize(h.pairs, blocks*h.stride/2*Block)
}

// SetBlock fills block b with x, features × Block, rounded to nearest, ties to even. Blocks may be filled in parallel.
func (h *Halves) SetBlock(b int, x []float32) { h.SetBand(b, 0, x) }

// SetBand is SetBlock for the features from off, an even number, on.
func (h *Halves) SetBand(b, off int, x []float32) {
	PackHalves(x, h.pairs[(b*h.stride+off)/2*Block:][:ceilDiv(len(x), 2*Block)*Block])
}

// SetValue replaces the value of feature f and token t in block b.
func (h *Halves) SetValue(b, f, t int, v float32) {
	half := ToHalf(v)
	p := &h.block(b)[f/2*Block+t]
	if f%2 == 0 {
		*p = *p&^0xffff | pair(half)
	} else {
		*p = *p&0xffff | pair(half)<<16
	}
}

// SetRounding fills h with x and rounds x itself, so that who reads either sees the same.
func (h *Halves) SetRounding(x Tensor) {
	h.Reset(x.Rows, x.N())
	Parallel(h.blocks, func(b int) {
		h.SetBlock(b, x.Blk(b))
		UnpackHalves(h.block(b), x.Blk(b))
	})
}

// Set fills h with x.
func (h *Halves) Set(x Tensor) {
	h.Reset(x.Rows, x.N())
	Parallel(h.blocks, func(b int) { h.SetBlock(b, x.Blk(b)) })
}

// Band returns features [off, off+rows) of h, which shares its memory; off is even.
func (h *Halves) Band(off, rows int) *Halves {
	band := *h
	band.rows, band.off = rows, h.off+off
	return &band
}

// TakeTokens fills block 0 of h with tokens [first, first+count) of x, at most Block of them. The other tokens are zero, and so are
// the features that x lacks.
func (h *Halves) TakeTokens(x *Halves, first, count int) {
	dst, depth := h.block(0), x.depth()*Block
	if count == Block && first%Block == 0 {
		copy(dst, x.block(first/Block))
		clear(dst[depth:])
		return
	}
	clear(dst)
	for done := 0; done < count; {
		src, at := x.block((first+done)/Block), (first+done)%Block
		n := min(count-done, Block-at)
		for f := 0; f < depth; f += Block {
			copy(dst[f+done:][:n], src[f+at:])
		}
		done += n
	}
}

// PutTokens writes the first count tokens of block 0 of h to tokens [first, first+count) of x, but for features that x lacks.
func (h *Halves) PutTokens(x *Halves, first, count int) {
	src, depth := h.block(0), x.depth()*Block
	for done := 0; done < count; {
		dst, at := x.block((first+done)/Block), (first+done)%Block
		n := min(count-done, Block-at)
		if n == Block {
			copy(dst, src[:depth])
			return
		}
		for f := 0; f < depth; f += Block {
			copy(dst[f+at:][:n], src[f+done:])
		}
		done += n
	}
}

// SetAcross fills features [32i, 32i+32) of all blocks of h with the tokens of block b of x, whose features, by groups of 32, become
// the tokens of h's blocks.
func (h *Halves) SetAcross(i int, x *Halves, b int) {
	src := x.block(b)
	for g := range len(src) / stepPairs {
		var lines [stepPairs]pair
		tokenLines(src[g*stepPairs:][:stepPairs], lines[:])
		rowsOfTiles(lines[:], h.block(g)[i*stepPairs:][:stepPairs])
	}
}

// TakeTurned is TakeTokens with rotary positions applied, whose cosines and sines are given for half of x's features, an even number.
func (h *Halves) TakeTurned(x *Halves, first, count int, cos, sin []float32) {
	n := x.depth() * Block
	dst := h.block(0)
	src := dst[:n]
	if count == Block && first%Block == 0 {
		src = x.block(first / Block)
		clear(dst[n:])
	} else {
		h.TakeTokens(x, first, count)
	}
	if x.rows%4 == 0 {
		turnPairs(src, dst[:n], cos[:n], sin[:n])
		return
	}
	values := borrow(2 * n)
	defer buffers.Put(values)
	UnpackHalves(src, *values)
	Rotate((*values)[:n], (*values)[n:], cos, sin)
	PackHalves(*values, dst)
}

// View returns tokens [first, first+count) of h as a block of a Halves: where they lie, if they are a block of h and fill whole
// tiles, else in room.
func (h *Halves) View(first, count int, room *Halves) (x *Halves, b int) {
	if count == Block && first%Block == 0 && h.rows == room.rows {
		return h, first / Block
	}
	room.TakeTokens(h, first, count)
	return room, 0
}

// SetScaled fills block 0 of h with x, features × Block, times r for each token.
func (h *Halves) SetScaled(x []float32, r *[Block]float32) {
	y := h.block(0)[:len(x)/2]
	scalePairs(x[:2*len(y)], r, y)
}

// DotCols adds the dot products of the tokens of block b of h and block c of x to out.
func (h *Halves) DotCols(b int, x *Halves, c int, out *[Block]float32) {
	y := x.block(c)
	dotPairs(h.block(b)[:len(y)], y, out)
}

// ExpandBlock writes the values of block b, rounded, to y, features × Block.
func (h *Halves) ExpandBlock(b int, y []float32) { UnpackHalves(h.block(b), y) }

// ClearTokens zeroes the tokens from first on in the last block.
func (h *Halves) ClearTokens(first int) {
	if first%Block == 0 {
		return
	}
	last := h.block(first / Block)
	for f := 0; f < len(last); f += Block {
		clear(last[f+first%Block:][:Block-first%Block])
	}
}

// Expand writes the rounded values
// Expand writes the rounded values to y, of the shape that Set was given.
func (h *Halves) Expand(y Tensor) {
	Parallel(h.blocks, func(b int) { UnpackHalves(h.block(b), y.Blk(b)) })
}

// Features writes the rounded values of the features from f, an even number, on of block b to y, as many as it has.
func (h *Halves) Features(b, f int, y []float32) {
	UnpackHalves(h.pairs[(b*h.stride+h.off+f)/2*Block:][:ceilDiv(len(y), 2*Block)*Block], y)
}

// block returns the pairs of block b.
func (h *Halves) block(b int) []pair { return h.pairs[(b*h.stride+h.off)/2*Block:][:h.depth()*Block] }

// depth returns the number of pairs of rows.
func (h *Halves) depth() int { return ceilDiv(h.rows, 2) }

// Blocks returns the number of blocks of tokens.
func (h *Halves) Blocks() int { return h.blocks }

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// PackHalves rounds x, features × Block, to bfloat16 and writes it to y by pairs of features, zero beyond an odd number.
func PackHalves(x []float32, y []pair) {
	even := len(x) / (2 * Block)
	toPairs(x[:even*2*Block], y[:even*Block])
	if rest := x[even*2*Block:]; len(rest) > 0 {
		for t, v := range rest[:Block] {
			y[even*Block+t] = pair(ToHalf(v))
		}
	}
}

// UnpackHalves is PackHalves's inverse.
func UnpackHalves(x []pair, y []float32) {
	even := len(y) / (2 * Block)
	fromPairs(x[:even*Block], y[:even*2*Block])
	for t := range y[even*2*Block:] {
		y[even*2*Block+t] = FromHalf(uint16(x[even*Block+t]))
	}
}

// RoundHalves rounds src to bfloat16.
func RoundHalves(dst []uint16, src []float32) {
	const part = 1 << 16
	Parallel(ceilDiv(len(src), part), func(i int) {
		at := i * part
		for j, v := range src[at:min(at+part, len(src))] {
			dst[at+j] = ToHalf(v)
		}
	})
}

// ToHalf rounds v to bfloat16, to nearest, ties to even. A NaN stays one.
func ToHalf(v float32) uint16 {
	u := math.Float32bits(v)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// FromHalf returns the value of a bfloat16.
func FromHalf(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// MatMulHalf is MatMul for weights in bfloat16 and activations rounded to it: products of bfloat16 values, summed in
// float32. Where the processor has no instruction for that, the float32 kernels compute the same products, and only the
// order of the sums differs.
func MatMulHalf(w []uint16, trans bool, x *Halves, y Tensor, acc bool) {
	if x.rows == 0 {
		zeroProduct(y, acc)
		return
	}
	m := newHalfMatrix(w, trans, x.rows, y.Rows)
	m.each(x, y.Rows, func(r0, r1, b0, b1, n0, n1 int) {
		m.anyTask(x, place{t: y}, r0, r1, b0, b1, n0, n1, acc)
	})
}

// MatMulHalfTo is MatMulHalf for a product of rows features that is not stored: to gets the features from r on of block b, while they
// are in the cache, as many as c has, and may change them. Features of a block come in pieces that begin at even ones, with tiles at
// multiples of 32. It is called by all threads.
func MatMulHalfTo(w []uint16, trans bool, x *Halves, rows int, to func(b, r int, c []float32)) {
	m := newHalfMatrix(w, trans, x.rows, rows)
	m.each(x, rows, func(r0, r1, b0, b1, n0, n1 int) {
		if active == isAMX && x.depth() <= tilePackStep {
			m.tileTaskTo(x, r0, r1, b0, b1, to)
			return
		}
		buf := borrow((b1 - b0) * (r1 - r0) * Block)
		defer buffers.Put(buf)
		y := NewTensor(*buf, r1-r0)
		m.anyTask(x, place{y, r0, b0}, r0, r1, b0, b1, n0, n1, false)
		for b := b0; b < b1; b++ {
			to(b, r0, y.Blk(b-b0))
		}
	})
}

// each calls f for the tasks of a product of rows features: of rows [r0, r1) and blocks [b0, b1), with rows [n0, n1) of the thread's
// next one.
func (m halfMatrix) each(x *Halves, rows int, f func(r0, r1, b0, b1, n0, n1 int)) {
	// Fewer tasks than with float32 weights, since each packs its own.
	g := newGrid(rows, x.rows, x.blocks, 4*Threads())
	if active == isAMX {
		g = newTileGrid(rows, x.rows, x.blocks, tileMost)
	}
	Parallel(g.tasks(), func(i int) {
		r0, r1, b0, b1 := g.task(i)
		// Tasks go to threads by turns, more or less.
		n0, n1, _, _ := g.task(min(i+Threads(), g.tasks()-1))
		f(r0, r1, b0, b1, n0, n1)
	})
}

// place is where a task's values go: to a tensor whose first row and block are r and b of the product.
type place struct {
	t    Tensor
	r, b int
}

// at returns the values from row r on of block b.
func (p place) at(b, r int) []float32 { return p.t.Blk(b - p.b)[(r-p.r)*Block:] }

// MatMulHalfSerial is MatMulHalf for y = W·x in the calling goroutine, which packs each weight once for all blocks.
func MatMulHalfSerial(w []uint16, x *Halves, y Tensor) {
	if x.rows == 0 {
		zeroProduct(y, false)
		return
	}
	m, step := newHalfMatrix(w, false, x.rows, y.Rows), evenStep(y.Rows, rowStep, 12)
	if active == isAMX {
		step = evenStep(y.Rows, tileMost, tileGroup)
	}
	for r := 0; r < y.Rows; r += step {
		next := min(r+step, y.Rows)
		m.anyTask(x, place{t: y}, r, next, 0, y.N(), next, min(next+step, y.Rows), false)
	}
}

// anyTask computes rows [r0, r1) of blocks [b0, b1) with the kernels of the processor; rows [n0, n1) are likely to be next.
func (m halfMatrix) anyTask(x *Halves, y place, r0, r1, b0, b1, n0, n1 int, acc bool) {
	switch active {
	case isAMX:
		m.tileTask(x, y, r0, r1, b0, b1, acc)
	case isAVX512BF16:
		m.task(x, y, r0, r1, b0, b1, n0, n1, acc)
	default:
		m.taskInFloat(x, y, r0, r1, b0, b1, acc)
	}
}

// halfMatrix is the left operand of MatMulHalf, rows × depth, or its transpose; stored rows lie stride values apart.
type halfMatrix struct {
	data   []uint16
	stride int
	depth  int
	trans  bool
}

func newHalfMatrix(w []uint16, trans bool, depth, rows int) halfMatrix {
	m := halfMatrix{w, depth, depth, trans}
	if trans {
		m.stride = rows
	}
	return m
}

// task computes rows [r0, r1) of blocks [b0, b1); rows [n0, n1) are likely to be next.
func (m halfMatrix) task(x *Halves, y place, r0, r1, b0, b1, n0, n1 int, acc bool) {
	var buf *pairBuffer
	view := !m.trans && m.stride%2 == 0
	if !view || b1-b0 >= packBlocks {
		buf = pairBuffers.Get().(*pairBuffer)
		defer pairBuffers.Put(buf)
	}
	depth := x.depth()
	step := evenStep(depth, depthStep, 8)
	for p := 0; p < depth; p += step {
		k := min(step, depth-p)
		var tile pairMatrix
		switch {
		case buf == nil:
			tile = pairMatrix{asPairs(m.data[r0*m.stride+2*p:]), m.stride / 2, 1}
		case m.trans:
			tile = m.packTrans(r0, r1-r0, p, k, buf[:])
		default:
			tile = m.pack(r0, r1-r0, p, k, buf[:])
		}
		for b := b0; b < b1; b++ {
			switch {
			case buf == nil:
			case p+step < depth:
				m.fetch(r0, r1, 2*(p+step), min(2*(p+2*step), m.depth), b-b0, b1-b0)
			case n0 != r0:
				m.fetch(n0, n1, 0, min(2*step, m.depth), b-b0, b1-b0)
			}
			pairGemm(r1-r0, k, tile, x.block(b)[p*Block:], y.at(b, r0), acc || p > 0)
		}
	}
}

// pairMatrix is the left operand of a product of pairs: element (i,p) is at data[i·rs+p·ps].
type pairMatrix struct {
	data   []pair
	rs, ps int
}

// pairBuffer holds the weights of a task for one depth step.
type pairBuffer [rowStep * (depthStep + packPad)]pair

var pairBuffers = newPool[pairBuffer]()

// asPairs views values that are neighbours as pairs.
func asPairs(h []uint16) []pair {
	if len(h) < 2 {
		return nil
	}
	return unsafe.Slice((*pair)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}

// pack copies k pairs from pair p of rows [r0, r0+rows) to dst.
func (m halfMatrix) pack(r0, rows, p, k int, dst []pair) pairMatrix {
	width := k + packPad
	for i := range rows {
		src := m.data[(r0+i)*m.stride+2*p:][:min(2*k, m.depth-2*p)]
		row := dst[i*width:][:k]
		n := copy(row, asPairs(src))
		if n < k {
			row[n] = pair(src[len(src)-1])
		}
	}
	return pairMatrix{dst, width, 1}
}

// packTrans is pack for a matrix that is stored transposed: a pair is of two stored rows.
func (m halfMatrix) packTrans(r0, rows, p, k int, dst []pair) pairMatrix {
	for j := range k {
		f, row := 2*(p+j), dst[j*rows:][:rows]
		low := m.data[f*m.stride+r0:][:rows]
		if f+1 == m.depth {
			for i, v := range low {
				row[i] = pair(v)
			}
			continue
		}
		high := m.data[(f+1)*m.stride+r0:][:rows]
		whole := rows &^ 15
		interleave(low[:whole], high[:whole], row[:whole])
		refInterleave(low[whole:], high[whole:], row[whole:])
	}
	return pairMatrix{dst, 1, rows}
}

// fetch asks for share i of n of rows [r0, r1), columns [p0, p1), which are packed next: short pieces far apart, which the
// processor does not foresee.
func (m halfMatrix) fetch(r0, r1, p0, p1, i, n int) {
	if m.trans {
		r0, r1, p0, p1 = p0, p1, r0, r1
	}
	const line = 64 / 2 // values
	per := ceilDiv(r1-r0, n)
	if lo, hi := r0+i*per, min(r0+(i+1)*per, r1); lo < hi {
		prefetch(&m.data[lo*m.stride+p0], hi-lo, m.stride, ceilDiv(p1-p0, line)+1)
	}
}

// taskInFloat is task with the float32 kernels.
func (m halfMatrix) taskInFloat(x *Halves, y place, r0, r1, b0, b1 int, acc bool) {
	buf := packBuffers.Get().(*packBuffer)
	defer packBuffers.Put(buf)
	step := evenStep(m.depth, depthStep, 8)
	panel := borrow(step * Block)
	defer buffers.Put(panel)
	for p := 0; p < m.depth; p += step {
		k := min(step, m.depth-p)
		tile := m.widen(r0, r1-r0, p, k, buf[:])
		for b := b0; b < b1; b++ {
			UnpackHalves(x.block(b)[p/2*Block:], (*panel)[:k*Block])
			gemm(r1-r0, Block, k, tile, *panel, Block, y.at(b, r0), Block, acc || p > 0)
		}
	}
}

// widen copies columns [p, p+k) of rows [r0, r0+rows) to dst in float32.
func (m halfMatrix) widen(r0, rows, p, k int, dst []float32) matrix {
	if m.trans {
		for j := range k {
			for i, v := range m.data[(p+j)*m.stride+r0:][:rows] {
				dst[j*rows+i] = FromHalf(v)
			}
		}
		return matrix{dst, 1, rows}
	}
	width := k + packPad
	for i := range rows {
		for j, v := range m.data[(r0+i)*m.stride+p:][:k] {
			dst[i*width+j] = FromHalf(v)
		}
	}
	return matrix{dst, width, 1}
}
