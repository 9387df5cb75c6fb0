package kernel

// gemmTiles computes gemm.
func gemmTiles(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	switch {
	case active == isGo || n%16 != 0:
		gemmGo(m, n, k, a, b, ldb, c, ldc, acc)
	case active >= isAVX512 && n == Block:
		gemmAVX512(m, k, a, &b[0], ldb, c, ldc, acc)
	default:
		gemmAVX2(m, n, k, a, b, ldb, c, ldc, acc)
	}
}

// gemmAVX512 has tiles of 12 × 32. For 16 columns alone it would load a value of A for each product; the tiles of AVX2
// are faster there.
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

// gemmAVX2 has tiles of 16 columns, so that two of them share the rows of A while those are in the cache.
func gemmAVX2(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	for i := 0; i < m; {
		a0, rows := &a.data[i*a.rs], m-i
		for j := 0; j < n; j += 16 {
			b0, c0 := &b[j], &c[i*ldc+j]
			switch {
			case rows >= 6:
				gemm6x16AVX2(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			case rows >= 4:
				gemm4x16AVX2(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			case rows >= 2:
				gemm2x16AVX2(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			default:
				gemm1x16AVX2(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			}
		}
		i += tileRows(rows)
	}
}

// tileRows returns the rows of the AVX2 tile that serves when rows are left.
func tileRows(rows int) int {
	switch {
	case rows >= 6:
		return 6
	case rows >= 4:
		return 4
	case rows >= 2:
		return 2
	}
	return 1
}
