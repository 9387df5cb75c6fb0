package kernel

// gemmTiles computes gemm.
func gemmTiles(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	switch {
	case active == isGo || n%16 != 0:
		gemmGo(m, n, k, a, b, ldb, c, ldc, acc)
	case active >= isAVX512 && n == Block:
		gemmAVX512(m, k, a, &b[0], ldb, c, ldc, acc)
	case active >= isAVX512 && n == Block/2:
		gemmNarrow(m, k, a, &b[0], ldb, c, ldc, acc)
	default:
		gemm16(m, n, k, a, b, ldb, c, ldc, acc)
	}
}

// gemmAVX512 has tiles of 12 × 32.
func gemmAVX512(m, k int, a matrix, b *float32, ldb int, c []float32, ldc int, acc bool) {
	for i := 0; i < m; {
		a0, c0 := &a.data[i*a.rs], &c[i*ldc]
		switch rows := m - i; {
		case rows >= 12:
			gemm12x32AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 12
		case rows >= 8:
			gemm8x32AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 8
		case rows >= 4:
			gemm4x32AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 4
		case rows >= 2:
			gemm2x32AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 2
		default:
			gemm1x32AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i++
		}
	}
}

// gemmNarrow has tiles of 12 × 16.
func gemmNarrow(m, k int, a matrix, b *float32, ldb int, c []float32, ldc int, acc bool) {
	for i := 0; i < m; {
		a0, c0 := &a.data[i*a.rs], &c[i*ldc]
		switch rows := m - i; {
		case rows >= 12:
			gemm12x16AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 12
		case rows >= 8:
			gemm8x16AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 8
		case rows >= 4:
			gemm4x16AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 4
		case rows >= 2:
			gemm2x16AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i += 2
		default:
			gemm1x16AVX512(k, a0, a.rs, a.ps, b, ldb, c0, ldc, acc)
			i++
		}
	}
}

func gemm6x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm6x16AVX2(k, a, rs, ps, b, ldb, c, ldc, acc)
}

func gemm4x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm4x16AVX2(k, a, rs, ps, b, ldb, c, ldc, acc)
}

func gemm2x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm2x16AVX2(k, a, rs, ps, b, ldb, c, ldc, acc)
}

func gemm1x16(k int, a *float32, rs, ps int, b *float32, ldb int, c *float32, ldc int, acc bool) {
	gemm1x16AVX2(k, a, rs, ps, b, ldb, c, ldc, acc)
}
