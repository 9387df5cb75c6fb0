package kernel

import "slices"

const (
	// wholeShare is the number of entries of a product for each sampled one up to which products of tiles compute all of them in
	// less time than it takes to compute the sampled ones alone.
	wholeShare = 64

	// A task has at most wholeGroups groups of rows, wholeBlocks blocks of their tokens at a time, and keeps at most wholeSums sums
	// until it has picked the sampled ones: 1 MiB and half of one in a second-level cache of 2 MiB.
	wholeGroups, wholeBlocks, wholeSums = 16, 32, 128 << 10
)

// WholePays tells whether SddmmHalf computes whole products for so many entries of rows × cols. Its operands can then be filled
// piece by piece, dy after ResetLeft and x after ResetRight, while the values are in the cache.
func WholePays(entries, rows, cols int) bool {
	return active == isAMX && entries*wholeShare >= rows*cols
}

// ResetLeft makes room for blocks of rows features, the left operand of products of tiles, to be filled by SetBand.
func (h *TokenHalves) ResetLeft(rows, blocks int) { h.reset(rows, blocks, leftTiles) }

// ResetRight is ResetLeft for the right operand.
func (h *TokenHalves) ResetRight(rows, blocks int) { h.reset(rows, blocks, rightTiles) }

func (h *TokenHalves) reset(rows, blocks int, layout tokenLayout) {
	size := ceilDiv(rows, tileGroup) * blocks * tileGroup * tileSide
	*h = TokenHalves{rows: rows, blocks: blocks, layout: layout, pairs: resize(h.pairs, size)}
}

// SetBand fills the features from off, a multiple of 32, on of block b with x, rounded to nearest, ties to even. What the operands
// hold beyond the last feature does not matter.
func (h *TokenHalves) SetBand(b, off int, x []float32) {
	const size = tileGroup * Block
	for f := 0; f*Block < len(x); f += tileGroup {
		dst := h.pairs[((off+f)/tileGroup*h.blocks+b)*size/2:][:size/2]
		src := x[f*Block : min((f+tileGroup)*Block, len(x))]
		switch {
		case h.layout == leftTiles:
			toTokenPairs(src, dst, tileSide)
		case len(src) == size:
			toTokenColumns(src, dst)
		default:
			var last [size]float32
			copy(last[:], src)
			toTokenColumns(last[:], dst)
		}
	}
}

// Band returns features [off, off+rows) of h, which shares its memory; off is a multiple of 32.
func (h *TokenHalves) Band(off, rows int) *TokenHalves {
	band := *h
	band.rows, band.pairs = rows, h.pairs[off*h.blocks*Block/2:]
	return &band
}

// arranged returns h's pairs in the given layout.
func (h *TokenHalves) arranged(layout tokenLayout) []pair {
	if h.layout != layout {
		x := h.plain
		h.reset(h.rows, h.blocks, layout)
		h.plain = x
		Parallel(h.blocks, func(b int) { h.SetBand(b, 0, x.Blk(b)) })
	}
	return h.pairs
}

// sampleTiles is SddmmHalf by whole products, of which it keeps the sampled entries. A task has some rows of dy in the second-level
// cache, a range of tokens at a time, and multiplies them with panels of 32 columns of x until there are as many sums as it keeps.
func sampleTiles(ptr []int, cols []int32, dy, x *TokenHalves, ds []float32) {
	a, b := dy.arranged(leftTiles), x.arranged(rightTiles)
	rows, blocks := dy.rows, x.blocks
	size := blocks * tileGroup * tileSide // of a group or a panel
	panels := ceilDiv(x.rows, Block)
	span := evenStep(blocks, wholeBlocks, 1)
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
					right := b[p*size+t*tileSide*Block:]
					next := b[min(p+1, panels-1)*size+t*tileSide*Block:]
					tileGroups(n, depth, a[i*per*size+t*tileGroup*tileSide:], size, right, next, (*buf)[(p-p0)*panel:][:panel], t > 0)
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
