package kernel

const (
	goRows  = 3   // rows and
	goCols  = 2   // columns of the tile, as large as the compiler keeps in 16 registers without spilling sums
	goDepth = 128 // steps of p for which A is copied at a time
)

// gemmGo is gemm without assembly: the products of refGemm in the same order, from tiles of 3 × 2 sums and a copy of
// three rows of A that is read in order.
func gemmGo(m, n, k int, a matrix, b []float32, ldb int, c []float32, ldc int, acc bool) {
	var pack [goDepth * goRows]float32
	var sums [goRows][Block]float32
	for i := 0; i < m; i += goRows {
		rows := min(goRows, m-i)
		clear(sums[:])
		for p0 := 0; p0 < k; p0 += goDepth {
			depth := min(goDepth, k-p0)
			for r := range rows {
				row := a.data[(i+r)*a.rs+p0*a.ps:]
				for p := range depth {
					pack[p*goRows+r] = row[p*a.ps]
				}
			}
			for j := 0; j < n; j += goCols {
				goTile(pack[:depth*goRows], b[p0*ldb+j:], ldb, &sums, j)
			}
		}
		for r := range rows {
			out := c[(i+r)*ldc:][:n]
			if !acc {
				copy(out, sums[r][:])
				continue
			}
			for j := range out {
				out[j] += sums[r][j]
			}
		}
	}
}

// goTile adds the products of packed rows of A and two columns of B to columns j and j+1 of sums.
func goTile(a, b []float32, ldb int, sums *[goRows][Block]float32, j int) {
	r0, r1, r2 := sums[0][j:j+goCols], sums[1][j:j+goCols], sums[2][j:j+goCols]
	s00, s01 := r0[0], r0[1]
	s10, s11 := r1[0], r1[1]
	s20, s21 := r2[0], r2[1]
	for p := 0; len(a) >= goRows; p += ldb {
		va, vb := (*[goRows]float32)(a), (*[goCols]float32)(b[p:])
		b0, b1 := vb[0], vb[1]
		s00 += va[0] * b0
		s01 += va[0] * b1
		s10 += va[1] * b0
		s11 += va[1] * b1
		s20 += va[2] * b0
		s21 += va[2] * b1
		a = a[goRows:]
	}
	r0[0], r0[1] = s00, s01
	r1[0], r1[1] = s10, s11
	r2[0], r2[1] = s20, s21
}
