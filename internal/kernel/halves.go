package kernel

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
