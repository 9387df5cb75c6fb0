package kernel

import (
	"slices"
	"unsafe"
)

const (
	// wholeShare is the number of entries of a product for each sampled one up to which products of tiles compute all of them in
	// less time than it takes to compute the sampled ones alone.
	wholeShare = 64

	// A task has at most wholeGroups groups of rows, wholeBlocks blocks of their tokens at a time, and keeps at most wholeSums sums
	// until it has picked the sampled ones: 1 MiB and half of one in a second-level cache of 2 MiB.
	wholeGroups, wholeBlocks, wholeSums = 16, 32, 128 << 10
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

// sampleTiles is SddmmHalf by whole products, of which it keeps the sampled entries. A task has some rows of dy in the second-level
// cache, a range of tokens at a time, and multiplies them with panels of 32 columns of x until there are as many sums as it keeps.
func sampleTiles(ptr []int, cols []int32, dy, x *TokenHalves, ds []float32) {
	a, b := dy.left(), x.right()
	rows, blocks := dy.plain.Rows, x.plain.N()
	aStep, bStep := tileGroup*blocks*tileSide, rightSize(blocks)
	panels := ceilDiv(x.plain.Rows, Block)
	span := evenStep(blocks, wholeBlocks, 2)
	groups := ceilDiv(rows, tileGroup)
	tasks := ceilDiv(ceilDiv(groups, wholeGroups), Threads()) * Threads()
	per := ceilDiv(groups, tasks)
	Parallel(ceilDiv(groups, per), func(i int) {
		r0, r1 := i*per*tileGroup, min((i+1)*per*tileGroup, rows)
		n := ceilDiv(r1-r0, tileGroup)
		panel := n * tileGroup * Block
		chunk := min(panels, max(1, wholeSums/panel))
		buf := borrow(chunk * panel)
		defer buffers.Put(buf)
		pick := newPicker(ptr[r0:r1+1], cols, ds)
		for p0 := 0; p0 < panels; p0 += chunk {
			p1 := min(p0+chunk, panels)
			for t := 0; t < blocks; t += span {
				depth := min(span, blocks-t) * tileSide
				for p := p0; p < p1; p++ {
					right := b[p*bStep+t*tileSide*Block:]
					next := b[min(p+1, panels-1)*bStep+t*tileSide*Block:]
					tileGroups(n, depth, a[i*per*aStep+t*tileGroup*tileSide:], aStep, right, next, (*buf)[(p-p0)*panel:][:panel], t > 0)
				}
			}
			pick.panels(*buf, panel, p0*Block, p1*Block)
		}
	})
}

// picker copies sampled entries of rows of a product to where they belong, some columns at a time, in ascending order.
type picker struct {
	next, end []int // of each row, the entries that are left
	cols      []int32
	ds        []float32
}

func newPicker(ptr []int, cols []int32, ds []float32) picker {
	rows := len(ptr) - 1
	return picker{slices.Clone(ptr[:rows]), ptr[1:], cols, ds}
}

// panels picks the entries of columns [from, to), which lie by panels of 32 of them, size values apart.
func (p picker) panels(sums []float32, size, from, to int) {
	for r, k := range p.next {
		row := sums[r*Block:]
		for ; k < p.end[r] && int(p.cols[k]) < to; k++ {
			c := int(p.cols[k]) - from
			p.ds[k] = row[c/Block*size+c%Block]
		}
		p.next[r] = k
	}
}
