package kernel

// matrix is the left operand of a product: element (i,p) is at data[i·rs+p·ps].
type matrix struct {
	data   []float32
	rs, ps int
}

// from returns m without its first i rows and p columns.
func (m matrix) from(i, p int) matrix { return matrix{m.data[i*m.rs+p*m.ps:], m.rs, m.ps} }

// Gemm computes C = A·B, or C += A·B with acc, in the calling goroutine. C is m×n, n 16 or 32, with rows ldc apart;
// A is m×k with element (i,p) at a[i·lda+p], or at a[p·lda+i] with transA; B is k×n with rows ldb apart. C must not
// overlap A or B. With k = 0 the product is zero.
//
// Each value of C is one chain of fused multiply-adds (on processors that have them) over p in order, begun at zero and
// added to C last: it does not depend on m, n or its neighbours.
func Gemm(m, n, k int, a []float32, lda int, transA bool, b []float32, ldb int, c []float32, ldc int, acc bool) {
	switch {
	case m <= 0:
	case k > 0:
		w := matrix{a, lda, 1}
		if transA {
			w = matrix{a, 1, lda}
		}
		gemm(m, n, k, w, b, ldb, c, ldc, acc)
	case !acc:
		for i := range m {
			clear(c[i*ldc:][:n])
		}
	}
}

// gemm is Gemm for m and k above zero. It touches the last value of each operand, since the assembly checks no bounds.
func gemm(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	_ = a.data[(m-1)*a.rs+(k-1)*a.ps]
	_ = b[(k-1)*ldb+n-1]
	_ = c[(m-1)*ldc+n-1]
	gemmTiles(m, n, k, a, b, ldb, c, ldc, acc)
}
