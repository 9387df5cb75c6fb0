//go:build !amd64 && !arm64

package kernel

// gemmTiles computes gemm.
func gemmTiles(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemmGo(m, n, k, a, b, ldb, c, ldc, acc)
}
