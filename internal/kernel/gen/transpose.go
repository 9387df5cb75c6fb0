package main

// transpose writes the transposition of rows features, a multiple of eight, of one block into token-major order, in
// squares of 8 × 8: dst[t·ldd+f] = src[f·32+t].
func transpose(a *asm) {
	const side = 8
	rows, src, dst, ldd := a.arg("rows"), a.arg("src"), a.arg("dst"), a.step("ldd")
	out, n := a.gp(), a.gp()
	a.op("SHRQ", "$3", rows)
	a.loop(rows, func() {
		a.op("MOVQ", dst, out)
		a.op("MOVQ", "$4", n) // block / side
		a.loop(n, func() {
			r := make([]operand, side)
			for f := range r {
				r[f] = a.vec()
				a.op("VMOVUPS", mem(src, f*rowBytes), r[f])
			}
			for _, t := range a.transposed(r) {
				a.op("VMOVUPS", t, mem(out, 0))
				a.op("ADDQ", ldd, out)
				a.free(t)
			}
			a.advance(side*4, src)
		})
		a.advance(side*rowBytes-rowBytes, src)
		a.advance(side*4, dst)
	})
}

// transposed gives back eight registers and takes eight that hold their columns.
func (a *asm) transposed(r []operand) []operand {
	// shuffle takes registers for the low and the high combination of x and y, and gives those back.
	shuffle := func(low, high []string, x, y operand) (operand, operand) {
		l, h := a.vec(), a.vec()
		a.op(low[0], append(low[1:len(low):len(low)], y, x, l)...)
		a.op(high[0], append(high[1:len(high):len(high)], y, x, h)...)
		a.free(x, y)
		return l, h
	}
	single := func(low, high string) ([]string, []string) { return []string{low}, []string{high} }
	var pairs, quads [8]operand
	lo, hi := single("VUNPCKLPS", "VUNPCKHPS")
	for i := 0; i < 8; i += 2 {
		pairs[i], pairs[i+1] = shuffle(lo, hi, r[i], r[i+1])
	}
	lo, hi = single("VUNPCKLPD", "VUNPCKHPD")
	for i := 0; i < 8; i += 4 {
		quads[i], quads[i+1] = shuffle(lo, hi, pairs[i], pairs[i+2])
		quads[i+2], quads[i+3] = shuffle(lo, hi, pairs[i+1], pairs[i+3])
	}
	cols := make([]operand, 8)
	for i := range 4 {
		cols[i], cols[i+4] = shuffle([]string{"VPERM2F128", "$0x20"}, []string{"VPERM2F128", "$0x31"}, quads[i], quads[i+4])
	}
	return cols
}
