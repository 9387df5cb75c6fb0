//go:build !amd64

package kernel

// pairGemm is never called: there is no product of pairs on this platform.
func pairGemm(m, k int, a pairMatrix, b []pair, c []float32, acc bool) {
	panic("kernel: no product of bfloat16 pairs")
}
