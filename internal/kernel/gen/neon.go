package main

import (
	"bytes"
	"fmt"
)

// The NEON kernels are the products alone, written apart: the assembler for arm64 shares no syntax with that for amd64.

const (
	neonFile  = "zz_neon_arm64.s"
	neonLanes = 4
)

// neonRows are the heights of the tiles, whose width is 16: six rows fill the 32 registers with 24 sums, four vectors of B
// and four values of A.
var neonRows = []int{6, 4, 2, 1}

func neonGemm(rows int) *function {
	return &function{name: fmt.Sprintf("gemm%dx16", rows), params: params(gemmParams)}
}

// neon returns the assembly and the declarations.
func neon() (text, decls []byte) {
	var out, decl bytes.Buffer
	out.WriteString(header + "#include \"textflag.h\"\n")
	decl.WriteString(header + "package kernel\n")
	for _, rows := range neonRows {
		f := neonGemm(rows)
		fmt.Fprintf(&decl, "\n//go:noescape\nfunc %sNEON(%s)\n", f.name, f.signature())
		fmt.Fprintf(&out, "\n// func %sNEON(%s)\nTEXT ·%sNEON(SB), NOSPLIT, $0-%d\n", f.name, f.signature(), f.name, f.size())
		neonTile(&out, f, rows)
	}
	return out.Bytes(), decl.Bytes()
}

// neonTile is gemmTile for NEON: rows × 16 sums in registers, one broadcast of A and four vectors of B per step of k.
func neonTile(out *bytes.Buffer, f *function, rows int) {
	op := func(format string, args ...any) { fmt.Fprintf(out, "\t"+format+"\n", args...) }
	const (
		k, a, rs, ps, b, ldb, c, ldc = "R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7"
		vectors                      = 16 / neonLanes
	)
	for _, p := range []struct{ name, reg string }{{"k", k}, {"a", a}, {"rs", rs}, {"ps", ps}, {"b", b}, {"ldb", ldb}, {"c", c}, {"ldc", ldc}} {
		op("MOVD %s, %s", f.frame(p.name), p.reg)
	}
	for _, step := range []string{rs, ps, ldb, ldc} {
		op("LSL $2, %s, %s", step, step)
	}
	row := func(i int) string { return fmt.Sprintf("R%d", 9+i) } // where A's row i has got to
	op("MOVD %s, %s", a, row(0))
	for i := 1; i < rows; i++ {
		op("ADD %s, %s, %s", rs, row(i-1), row(i))
	}
	sum := func(i, j int) string { return fmt.Sprintf("V%d.S4", i*vectors+j) }
	for i := range rows * vectors {
		op("VEOR V%d.B16, V%d.B16, V%d.B16", i, i, i)
	}
	out.WriteString("loop:\n")
	op("VLD1 (%s), [V24.S4, V25.S4, V26.S4, V27.S4]", b)
	op("ADD %s, %s, %s", ldb, b, b)
	for i := range rows {
		v := fmt.Sprintf("V%d.S4", 28+i%4)
		op("VLD1R (%s), [%s]", row(i), v)
		op("ADD %s, %s, %s", ps, row(i), row(i))
		for j := range vectors {
			op("VFMLA V%d.S4, %s, %s", 24+j, v, sum(i, j))
		}
	}
	op("SUBS $1, %s, %s", k, k)
	op("BNE loop")
	op("MOVBU %s, R8", f.frame("acc"))
	op("CBZ R8, store")
	// C is added as its product with one, which is exact: the assembler knows no vector addition of floats.
	op("FMOVS $1.0, F28")
	op("VDUP V28.S[0], V28.S4")
	op("MOVD %s, %s", c, b)
	for i := range rows {
		op("VLD1 (%s), [V24.S4, V25.S4, V26.S4, V27.S4]", b)
		op("ADD %s, %s, %s", ldc, b, b)
		for j := range vectors {
			op("VFMLA V%d.S4, V28.S4, %s", 24+j, sum(i, j))
		}
	}
	out.WriteString("store:\n")
	for i := range rows {
		op("VST1 [%s, %s, %s, %s], (%s)", sum(i, 0), sum(i, 1), sum(i, 2), sum(i, 3), c)
		op("ADD %s, %s, %s", ldc, c, c)
	}
	op("RET")
}
