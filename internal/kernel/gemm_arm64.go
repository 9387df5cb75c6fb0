package kernel

// gemmTiles computes gemm.
func gemmTiles(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	if active == isGo || n%16 != 0 {
		gemmGo(m, n, k, a, b, ldb, c, ldc, acc)
	} else {
		gemm16(m, n, k, a, b, ldb, c, ldc, acc)
	}
}

func gemm6x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm6x16NEON(k, a, rs, ps, b, ldb, c, ldc, acc)
}

func gemm4x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm4x16NEON(k, a, rs, ps, b, ldb, c, ldc, acc)
}

func gemm2x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm2x16NEON(k, a, rs, ps, b, ldb, c, ldc, acc)
}

func gemm1x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm1x16NEON(k, a, rs, ps, b, ldb, c, ldc, acc)
}
