package main

import "fmt"

const (
	gemmParams = "k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool"
	// An element of A and of B is then a pair of bfloat16 values that belong to neighbours along k.
	pairGemmParams = "k int, a *pair, rs, ps int, b *pair, ldb int, c *float32, ldc int, acc bool"
)

// gemmTile writes the product of rows × k elements of A, element (i,p) at a[i·rs+p·ps], and k × cols elements of B, with
// all of C in registers: rows·cols/lanes accumulators, one broadcast of A and cols/lanes vectors of B per step of p.
// product adds to its first operand that of the other two.
func gemmTile(rows, cols int, product func(a *asm, d, x, y operand)) func(a *asm) {
	return func(a *asm) {
		nv := cols / a.lanes
		k, ap, rs, ps := a.arg("k"), a.arg("a"), a.step("rs"), a.step("ps")
		b, ldb, c, ldc := a.arg("b"), a.step("ldb"), a.arg("c"), a.step("ldc")
		as, elem := a.rowOperands(rows, ap, rs)
		acc := make([][]operand, rows)
		for i := range acc {
			acc[i] = make([]operand, nv)
			for j := range acc[i] {
				acc[i][j] = a.zero()
			}
		}
		a.loop(k, func() {
			bv := make([]operand, nv)
			for j := range bv {
				bv[j] = a.load(b, j)
			}
			for i, row := range acc {
				if nv == 1 && a.lanes == avx512.lanes { // each value of A serves one product
					a.op("VFMADD231PS.BCST", elem[i], bv[0], row[0])
					continue
				}
				v := a.broadcast(elem[i])
				for j, s := range row {
					product(a, s, bv[j], v)
				}
				// The oldest free register next, so that broadcasts run ahead of the products.
				a.vecs = append([]operand{v}, a.vecs...)
			}
			a.free(bv...)
			for _, p := range as {
				a.op("ADDQ", ps, p)
			}
			a.op("ADDQ", ldb, b)
		})
		store := a.label()
		a.op("CMPB", a.fn.frame("acc"), "$0")
		a.op("JEQ", store)
		a.op("MOVQ", c, b)
		for _, row := range acc {
			for j, s := range row {
				a.add(s, s, a.at(b, j))
			}
			a.op("ADDQ", ldc, b)
		}
		a.place(store)
		for _, row := range acc {
			a.storeBlock(row, c)
			a.op("ADDQ", ldc, c)
		}
	}
}

// rowOperands returns the addresses of A's elements of one step, a row apart each, and the pointers that they rest on:
// one for four rows, which the scaled index reaches.
func (a *asm) rowOperands(rows int, ap, rs operand) (ptrs, elems []operand) {
	rs3 := a.gp()
	a.op("LEAQ", fmt.Sprintf("(%s)(%s*2)", rs, rs), rs3)
	p := ap
	for i := range rows {
		if i > 0 && i%4 == 0 {
			next := a.gp()
			a.op("LEAQ", fmt.Sprintf("(%s)(%s*4)", p, rs), next)
			p = next
		}
		if i%4 == 0 {
			ptrs = append(ptrs, p)
		}
		index := []string{"", "(" + rs + "*1)", "(" + rs + "*2)", "(" + rs3 + "*1)"}[i%4]
		elems = append(elems, "("+p+")"+index)
	}
	return ptrs, elems
}
