package kernel

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
