package kernel

// pairGemm computes C = A·B, or C += A·B with acc, for m × k pairs of A and k × Block pairs of B, in tiles of 12 × 32. It
// touches the last value of each operand, since the assembly checks no bounds.
func pairGemm(m, k int, a pairMatrix, b []pair, c []float32, acc bool) {
	_ = a.data[(m-1)*a.rs+(k-1)*a.ps]
	_ = b[k*Block-1]
	_ = c[m*Block-1]
	for i := 0; i < m; {
		a0, c0 := &a.data[i*a.rs], &c[i*Block]
		switch rows := m - i; {
		case rows >= 12:
			pairGemm12x32AVX512BF16(k, a0, a.rs, a.ps, &b[0], Block, c0, Block, acc)
			i += 12
		case rows >= 8:
			pairGemm8x32AVX512BF16(k, a0, a.rs, a.ps, &b[0], Block, c0, Block, acc)
			i += 8
		case rows >= 4:
			pairGemm4x32AVX512BF16(k, a0, a.rs, a.ps, &b[0], Block, c0, Block, acc)
			i += 4
		case rows >= 2:
			pairGemm2x32AVX512BF16(k, a0, a.rs, a.ps, &b[0], Block, c0, Block, acc)
			i += 2
		default:
			pairGemm1x32AVX512BF16(k, a0, a.rs, a.ps, &b[0], Block, c0, Block, acc)
			i++
		}
	}
}
