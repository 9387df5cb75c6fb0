package kernel

const (
	// quad is the number of blocks whose tokens of one feature lie together in a TokenHalves.
	quad = 4
	// quadPairs is the number of pairs of tokens in a quad.
	quadPairs = quad * Block / 2
)

// TokenHalves is an activation rounded to bfloat16 as an operand of sampled products, which sum over tokens: tokens are
// paired, not features. Its memory is used again by Set.
type TokenHalves struct {
	rows, quads int
	pairs       []pair // (quads, rows, quadPairs), zero beyond the last block
	plain       Tensor // the activation itself, where the processor has no product of pairs
}

// Set fills h with x rounded to nearest, ties to even. x must not change while h is in use.
func (h *TokenHalves) Set(x Tensor) {
	h.rows, h.quads, h.plain = x.Rows, ceilDiv(x.N(), quad), x
	if active < isAVX512BF16 || h.rows == 0 {
		return
	}
	h.pairs = resize(h.pairs, h.quads*h.rows*quadPairs)
	Parallel(h.quads, func(q int) {
		dst := h.quad(q)
		for j := range quad {
			if b := q*quad + j; b < x.N() {
				toTokenPairs(x.Blk(b), dst[j*Block/2:], quadPairs)
				continue
			}
			for f := range h.rows {
				clear(dst[f*quadPairs+j*Block/2:][:Block/2])
			}
		}
	})
}

// quad returns the pairs of quad q.
func (h *TokenHalves) quad(q int) []pair { return h.pairs[q*h.rows*quadPairs:][:h.rows*quadPairs] }

// SddmmHalf is Sddmm for operands rounded to bfloat16, with sums in float32. Where the processor has no product of pairs
// it is Sddmm itself.
func SddmmHalf(ptr []int, cols []int32, dy, x *TokenHalves, ds []float32) {
	rows := dy.rows
	if active < isAVX512BF16 || rows == 0 || ptr[rows] == ptr[0] || x.quads == 0 {
		Sddmm(ptr, cols, dy.plain, x.plain, ds)
		return
	}
	// The assembly checks no column.
	if top := maxColumn(cols[ptr[0]:ptr[rows]]); top >= uint32(x.rows) {
		panic("kernel: column out of range")
	}
	// Two quads of x at a time, where they stay in the cache.
	step := 2
	if 2*x.rows*quadPairs > sddmmCache {
		step = 1
	}
	sample(ptr[:rows+1], x.quads, step, ds, func(r0, r1, q0, q1 int, out []float32) {
		for q := q0; q < q1; q += step {
			sddmmHalf(min(step, q1-q), ptr[r0:r1+1], cols[ptr[r0]:ptr[r1]], dy.quad(q)[r0*quadPairs:], dy.rows*quadPairs, x.quad(q), x.rows*quadPairs, out)
		}
	})
}
