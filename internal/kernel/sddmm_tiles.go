package kernel

import "unsafe"

const (
	// wholeShare is the number of entries of a product for each sampled one up to which products of tiles compute all of them in
	// less time than it takes to compute the sampled ones alone.
	wholeShare = 64

	// wholeSums bounds the sums that a task keeps until it has picked the sampled ones: half of a second-level cache.
	wholeSums = 256 << 10
)

// left arranges h as the left operand of products of tiles.
func (h *TokenHalves) left() []pair {
	x := h.plain
	return h.arrange(leftTiles, ceilDiv(x.Rows, tileGroup), x.N()*tileGroup*tileSide, func(g int, dst []pair) {
		f := g * tileGroup
		n := min(tileGroup, x.Rows-f)
		for b := range x.N() {
			tiles := dst[b*tileGroup*tileSide:][:tileGroup*tileSide]
			toTokenPairs(x.Blk(b)[f*Block:][:n*Block], tiles, tileSide)
			clear(tiles[n*tileSide:])
		}
	})
}

// right arranges h as the right operand of products of tiles: pairs of tokens before features.
func (h *TokenHalves) right() []pair {
	x := h.plain
	return h.arrange(rightTiles, ceilDiv(x.Rows, Block), rightSize(x.N()), func(g int, dst []pair) {
		f := g * Block
		n := min(Block, x.Rows-f)
		var lines [Block * Block]pair // of a feature, the pairs of two blocks
		for b := 0; b < x.N(); b += 2 {
			for j := range min(2, x.N()-b) {
				toTokenPairs(x.Blk(b + j)[f*Block:][:n*Block], lines[j*tileSide:], Block)
			}
			Transpose(Block, asFloats(lines[:]), asFloats(dst[b*tileSide*Block:][:Block*Block]), Block)
		}
	})
}

// rightSize is the number of pairs of a group of the right operand for a number of blocks, which are taken by twos.
func rightSize(blocks int) int { return ceilDiv(blocks, 2) * Block * Block }

// asFloats views pairs as values of the same bits, which are only moved.
func asFloats(p []pair) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(p))), len(p))
}

// sampleTiles is SddmmHalf by whole products, of which it keeps the sampled entries.
func sampleTiles(ptr []int, cols []int32, dy, x *TokenHalves, ds []float32) {
	a, b := dy.left(), x.right()
	depth := x.plain.N() * tileSide
	aStep, bStep := tileGroup*depth, rightSize(x.plain.N())
	groups, panels := ceilDiv(dy.plain.Rows, tileGroup), ceilDiv(x.plain.Rows, Block)
	per := evenStep(groups, max(1, min(wholeSums/(panels*tileGroup*Block), ceilDiv(groups, Threads()))), 1)
	Parallel(ceilDiv(groups, per), func(i int) {
		g := i * per
		n := min(per, groups-g)
		panel := n * tileGroup * Block
		buf := borrow(panels * panel)
		defer buffers.Put(buf)
		sums := *buf
		for p := range panels {
			next := b[min(p+1, panels-1)*bStep:]
			tileGroups(n, depth, a[g*aStep:], b[p*bStep:][:bStep], next, sums[p*panel:][:panel], false)
		}
		for r := g * tileGroup; r < min((g+n)*tileGroup, dy.plain.Rows); r++ {
			row := sums[(r-g*tileGroup)*Block:]
			out := ds[ptr[r]:ptr[r+1]]
			for k, c := range cols[ptr[r]:ptr[r+1]] {
				out[k] = row[int(c)/Block*panel+int(c)%Block]
			}
		}
	})
}
