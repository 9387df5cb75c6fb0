package kernel

import "slices"

const (
	// sddmmParts bounds the token ranges whose sums are kept apart until the end. They let each thread read a range of x
	// once, into its second-level cache, instead of all of x.
	sddmmParts = 8

	// sddmmCache is how much of x may lie between two uses of the same feature, in values: half of a second-level cache
	// of 1 MiB, the rest being for dy and the sums.
	sddmmCache = 128 << 10

	// sddmmSlack is what follows each range of sums: the kernel adds zeros to some of it, and accumulate, which works on
	// whole blocks, may stop within it. It also keeps the ranges of two threads out of one cache line.
	sddmmSlack = Block
)

// Sddmm samples the product dy·xᵀ, summed over all tokens, at the entries of a sparse pattern: row r of dy.Rows holds
// entries ptr[r] to ptr[r+1], and entry i sets ds[i] = Σ_t dy[r,t]·x[cols[i],t]. Columns lie in [0, x.Rows), in any
// order.
//
// The order of summation depends on the shapes alone.
func Sddmm(ptr []int, cols []int32, dy, x Tensor, ds []float32) {
	rows, blocks := dy.Rows, x.N()
	if rows == 0 || ptr[rows] == ptr[0] {
		return
	}
	if blocks == 0 {
		clear(ds[ptr[0]:ptr[rows]])
		return
	}
	// The assembly checks no column: out of range here is out of range for one of them.
	_ = x.Blk(blocks - 1)[int(min(maxColumn(cols[ptr[0]:ptr[rows]]), uint32(x.Rows)))*Block]
	sample(ptr[:rows+1], blocks, 4, ds, func(r0, r1, b0, b1 int, out []float32) { sddmmRange(ptr, cols, dy, x, r0, r1, b0, b1, out) })
}

// sample fills ds with sums over blocks that add makes in ranges of rows and blocks, the latter beginning at multiples of
// unit. add adds to out, which has room for sddmmSlack values more than the rows have entries.
func sample(ptr []int, blocks, unit int, ds []float32, add func(r0, r1, b0, b1 int, out []float32)) {
	rows := len(ptr) - 1
	span := ceilDiv(ceilDiv(blocks, sddmmParts), unit) * unit
	parts := ceilDiv(blocks, span)
	cuts := cutRows(ptr, max(Threads(), ceilDiv(4*Threads(), parts)))
	ranges := len(cuts) - 1

	size := ptr[rows] - ptr[0] + ranges*sddmmSlack // of one part
	buf := borrow(parts * size)
	defer buffers.Put(buf)
	sum := func(part, r int) []float32 {
		at := part*size + ptr[cuts[r]] - ptr[0] + r*sddmmSlack
		return (*buf)[at:][:ptr[cuts[r+1]]-ptr[cuts[r]]+sddmmSlack]
	}
	Parallel(parts*ranges, func(i int) {
		part, r := i/ranges, i%ranges
		out := sum(part, r)
		clear(out)
		add(cuts[r], cuts[r+1], part*span, min(part*span+span, blocks), out)
	})
	Parallel(ranges, func(r int) {
		out := ds[ptr[cuts[r]]:ptr[cuts[r+1]]]
		first := sum(0, r)
		for part := 1; part < parts; part++ {
			accumulate(first, sum(part, r))
		}
		copy(out, first)
	})
}

// maxColumn returns the largest column; one below zero counts as larger than all others.
func maxColumn(cols []int32) uint32 {
	var top uint32
	for _, c := range cols {
		top = max(top, uint32(c))
	}
	return top
}

// sddmmRange adds to out the sums of rows [r0, r1) over blocks [b0, b1), as many blocks at a time as keep x in the cache.
func sddmmRange(ptr []int, cols []int32, dy, x Tensor, r0, r1, b0, b1 int, out []float32) {
	cols = cols[ptr[r0]:ptr[r1]]
	limit := max(1, sddmmCache/(x.Rows*Block))
	for b0 < b1 {
		n := 4
		for n > 1 && n > min(limit, b1-b0) {
			n /= 2
		}
		sddmm(n, ptr[r0:r1+1], cols, dy.Data[(b0*dy.Stride+dy.Off+r0)*Block:], dy.Stride*Block, x.Data[(b0*x.Stride+x.Off)*Block:], x.Stride*Block, out)
		b0 += n
	}
}

// cutRows returns the bounds of at most n ranges of rows with about as many entries each, none of them empty.
func cutRows(ptr []int, n int) []int {
	rows := len(ptr) - 1
	entries := ptr[rows] - ptr[0]
	cuts := make([]int, 1, n+1)
	for i := 1; i <= n; i++ {
		row, _ := slices.BinarySearch(ptr, ptr[0]+int(int64(entries)*int64(i)/int64(n)))
		if row = min(row, rows); row > cuts[len(cuts)-1] {
			cuts = append(cuts, row)
		}
	}
	cuts[len(cuts)-1] = rows
	return cuts
}

// sddmmGo is the kernel without assembly: for the rows that ptr bounds, it adds to out the sums over n blocks of dy and
// x, which lie dyStep and xStep values apart.
func sddmmGo(n int, ptr []int, cols []int32, dy []float32, dyStep int, x []float32, xStep int, out []float32) {
	for r, end := range ptr[1:] {
		for i := ptr[r] - ptr[0]; i < end-ptr[0]; i++ {
			for b := range n {
				out[i] += dot((*[Block]float32)(dy[b*dyStep+r*Block:]), (*[Block]float32)(x[b*xStep+int(cols[i])*Block:]))
			}
		}
	}
}

// dot returns the product of two vectors of one value per token, from four sums so that they need not wait for another.
func dot(x, y *[Block]float32) float32 {
	var s0, s1, s2, s3 float32
	for t := 0; t < Block; t += 4 {
		s0 += x[t] * y[t]
		s1 += x[t+1] * y[t+1]
		s2 += x[t+2] * y[t+2]
		s3 += x[t+3] * y[t+3]
	}
	return (s0 + s1) + (s2 + s3)
}
