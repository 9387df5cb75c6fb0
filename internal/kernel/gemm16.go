//go:build amd64 || arm64

package kernel

// gemm16 has tiles of 16 columns, those of AVX2 and NEON, so that two of them share the rows of A while those are in the cache.
func gemm16(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	for i := 0; i < m; {
		a0, rows := &a.data[i*a.rs], m-i
		for j := 0; j < n; j += 16 {
			b0, c0 := &b[j], &c[i*ldc+j]
			switch {
			case rows >= 6:
				gemm6x16(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			case rows >= 4:
				gemm4x16(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			case rows >= 2:
				gemm2x16(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			default:
				gemm1x16(k, a0, a.rs, a.ps, b0, ldb, c0, ldc, acc)
			}
		}
		i += tileRows(rows)
	}
}

// tileRows returns the rows of the tile that serves when rows are left.
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
