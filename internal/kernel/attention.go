package kernel

const (
	// SmallHead is the number of features of a head for which there are kernels of the whole attention, and AttendKeys the
	// number of keys that AttendBackward takes at a time.
	SmallHead  = 8
	AttendKeys = 16
)

// AttendsSmall tells whether the kernels for heads of SmallHead features are faster here than products of matrices.
func AttendsSmall() bool { return active >= isAVX512 }

// Attend writes softmax(qᵀk)·v of a block of queries, SmallHead × Block, to o, for keys and values in SmallHead rows, ld
// apart: the first full keys are seen by all queries, key i of the following ones, as many as diagonal says, by queries from i
// on; both numbers are even. The softmax is one of powers of 2, q therefore to be multiplied by log₂e. p is room for the scores,
// keys × Block. shift is what is taken off the scores, and inverse one over the sum of their powers.
func Attend(full, diagonal int, k, v []float32, ld int, q, p, o []float32, shift, inverse *[Block]float32) {
	keys := full + diagonal
	_, _ = k[(SmallHead-1)*ld+keys-1], v[(SmallHead-1)*ld+keys-1]
	_, _, _ = q[SmallHead*Block-1], o[SmallHead*Block-1], p[keys*Block-1]
	attend(full, diagonal, k, v, ld, q, p, o, shift, inverse)
}

// AttendTile is the room that AttendBackward needs.
type AttendTile [2 * Block * AttendKeys]float32

// AttendBackward adds to dk, dv and dq the gradients of Attend with respect to keys and values, tiles times AttendKeys of them,
// and to the queries of a block from token first on, 0 or AttendKeys. do is the gradient of o times inverse, and delta Σ_f do·o.
// The first of the queries sees as many keys of each tile as seen has bits, from the lowest on, and each further one sees one more.
// The rows of k, v, dk and dv lie ld apart. dk is that of exp's scores times log₂e, as q is, and dq that of exp's.
func AttendBackward(
	tiles, first, seen int, k, v []float32, ld int, q, do []float32, shift, delta *[Block]float32, tile *AttendTile, dk, dv, dq []float32,
) {
	const end = SmallHead * Block
	if tiles == 0 {
		return
	}
	last := (SmallHead-1)*ld + tiles*AttendKeys - 1
	_, _, _, _ = k[last], v[last], dk[last], dv[last]
	attendBackward(tiles, Block-first, seen, k, v, ld, q[first:end], do[first:end], shift[first:], delta[first:], tile[:], dk, dv, dq[first:end])
}
