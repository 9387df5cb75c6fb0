package kernel

const (
	// quad is the number of blocks whose tokens of one feature lie together in a TokenHalves.
	quad = 4
	// quadPairs is the number of pairs of tokens in a quad.
	quadPairs = quad * Block / 2
)

// TokenHalves is an activation rounded to bfloat16 as an operand of sampled products, which sum over tokens: tokens are
// paired, not features. Its memory is used again when it is filled again.
type TokenHalves struct {
	plain        Tensor // the activation itself, where Set gave it
	rows, blocks int
	layout       tokenLayout // of pairs
	pairs        []pair      // in quads, zero beyond the last block
}

// tokenLayout is an order of pairs.
type tokenLayout int

const (
	noTokens   tokenLayout = iota // not rounded yet
	inQuads                       // (quads, features, quadPairs)
	leftTiles                     // (groups of 32 features, blocks, 2 tiles of 16 features × 16 pairs)
	rightTiles                    // (groups of 32 features, blocks, 16 pairs, 32 features)
)

// Set makes h stand for x rounded to nearest, ties to even. x must not change while h is in use: it is rounded when a product
// has told in which layout.
func (h *TokenHalves) Set(x Tensor) {
	*h = TokenHalves{plain: x, rows: x.Rows, blocks: x.N(), pairs: h.pairs}
}

// quads arranges h by quads of blocks.
func (h *TokenHalves) quads() []pair {
	if h.layout == inQuads {
		return h.pairs
	}
	x, size := h.plain, h.rows*quadPairs
	h.layout, h.pairs = inQuads, resize(h.pairs, ceilDiv(h.blocks, quad)*size)
	Parallel(ceilDiv(h.blocks, quad), func(q int) {
		dst := h.pairs[q*size:][:size]
		for j := range quad {
			if b := q*quad + j; b < x.N() {
				toTokenPairs(x.Blk(b), dst[j*Block/2:], quadPairs)
				continue
			}
			for f := range x.Rows {
				clear(dst[f*quadPairs+j*Block/2:][:Block/2])
			}
		}
	})
	return h.pairs
}

// SddmmHalf is Sddmm for operands rounded to bfloat16, with sums in float32; the columns of a row ascend. Where the processor has no
// product of pairs it is Sddmm itself.
func SddmmHalf(ptr []int, cols []int32, dy, x *TokenHalves, ds []float32) {
	rows, blocks := dy.rows, x.blocks
	if active < isAVX512BF16 || rows == 0 || ptr[rows] == ptr[0] || blocks == 0 {
		Sddmm(ptr, cols, dy.plain, x.plain, ds)
		return
	}
	if dy.blocks != blocks {
		panic("kernel: operands have other numbers of blocks")
	}
	// Neither the assembly nor what reads whole products checks a column.
	if top := maxColumn(cols[ptr[0]:ptr[rows]]); top >= uint32(x.rows) {
		panic("kernel: column out of range")
	}
	if WholePays(ptr[rows]-ptr[0], rows, x.rows) {
		sampleTiles(ptr, cols, dy, x, ds)
		return
	}
	dyPairs, xPairs := dy.quads(), x.quads()
	dyStep, xStep := rows*quadPairs, x.rows*quadPairs
	// Two quads of x at a time, where they stay in the cache.
	step := 2
	if 2*xStep > sddmmCache {
		step = 1
	}
	sample(ptr[:rows+1], ceilDiv(blocks, quad), step, ds, func(r0, r1, q0, q1 int, out []float32) {
		for q := q0; q < q1; q += step {
			sddmmHalf(min(step, q1-q), ptr[r0:r1+1], cols[ptr[r0]:ptr[r1]], dyPairs[q*dyStep+r0*quadPairs:], dyStep, xPairs[q*xStep:], xStep, out)
		}
	})
}
