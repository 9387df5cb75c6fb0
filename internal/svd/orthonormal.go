package svd

import (
	"math"

	"shira/internal/kernel"
)

// orthonormalize makes the k columns of x, (n, k), orthonormal, k being a multiple of unit: x·R⁻¹, with R of the Cholesky
// factorization Rᵀ·R of xᵀ·x, which is formed in float64. Once leaves them as near to that as they were to independence, twice
// as near as float32 allows (Yamamoto et al., 2015). A column that depends on those before it becomes zero.
func orthonormalize(x []float32, n, k, times int) {
	for pass := range times {
		c := columns(x, n, k)
		r := inverse(cholesky(gram(c, c), k), k)
		again := pass > 0
		if again { // R⁻¹ is all but 1, and x + x·(R⁻¹ − 1) has the bits that float32 would round from R⁻¹
			for j := range k {
				r[j*k+j]--
			}
		}
		factor := make([]float32, k*k)
		for i, v := range r {
			factor[i] = float32(v)
		}
		split(n, func(lo, rows int) {
			part := x[lo*k : (lo+rows)*k]
			from := append([]float32(nil), part...)
			strips(k, func(c, width int) {
				kernel.Gemm(rows, width, c+width, from, k, false, factor[c:], k, part[c:], k, again) // R⁻¹ is 0 below its diagonal
			})
		})
	}
}

// columns returns the columns of x, (n, k), in float64.
func columns(x []float32, n, k int) [][]float64 {
	cols := make([][]float64, k)
	kernel.Parallel(k, func(j int) {
		cols[j] = make([]float64, n)
		for i := range n {
			cols[j][i] = float64(x[i*k+j])
		}
	})
	return cols
}

// gram returns aᵀ·b, (k, k), of as many columns of each; k is even.
func gram(a, b [][]float64) []float64 {
	k := len(a)
	g := make([]float64, k*k)
	kernel.Parallel(k/2, func(i int) {
		i *= 2
		for j := 0; j < k; j += 2 {
			g[i*k+j], g[i*k+j+1], g[(i+1)*k+j], g[(i+1)*k+j+1] = dots(a[i], a[i+1], b[j], b[j+1])
		}
	})
	return g
}

// dots returns a·c, a·d, b·c and b·d, each in two chains.
func dots(a, b, c, d []float64) (ac, ad, bc, bd float64) {
	n := len(a) &^ 1
	b, c, d = b[:len(a)], c[:len(a)], d[:len(a)]
	var ac1, ad1, bc1, bd1 float64
	for i := 0; i < n; i += 2 {
		a0, b0, c0, d0 := a[i], b[i], c[i], d[i]
		ac += float64(a0 * c0)
		ad += float64(a0 * d0)
		bc += float64(b0 * c0)
		bd += float64(b0 * d0)
		a1, b1, c1, d1 := a[i+1], b[i+1], c[i+1], d[i+1]
		ac1 += float64(a1 * c1)
		ad1 += float64(a1 * d1)
		bc1 += float64(b1 * c1)
		bd1 += float64(b1 * d1)
	}
	if n < len(a) {
		ac += float64(a[n] * c[n])
		ad += float64(a[n] * d[n])
		bc += float64(b[n] * c[n])
		bd += float64(b[n] * d[n])
	}
	return ac + ac1, ad + ad1, bc + bc1, bd + bd1
}

// dependent is the share of a column's square that must be left of it beside those before: more than float32's rounding.
const dependent = 1e-12

// cholesky returns R, upper triangular, of RᵀR = g, (k, k). Rows of columns that depend on those before are zero.
func cholesky(g []float64, k int) []float64 {
	r := make([]float64, k*k)
	for j := range k {
		for i := range j + 1 {
			sum := g[i*k+j]
			for l := range i {
				sum -= float64(r[l*k+i] * r[l*k+j])
			}
			switch d := r[i*k+i]; {
			case i < j && d > 0:
				r[i*k+j] = sum / d
			case i == j && sum > dependent*g[j*k+j]:
				r[j*k+j] = math.Sqrt(sum)
			}
		}
	}
	return r
}

// inverse returns that of R, upper triangular. Columns where R's diagonal is zero are zero.
func inverse(r []float64, k int) []float64 {
	inv := make([]float64, k*k)
	kernel.Parallel(k, func(j int) {
		if r[j*k+j] == 0 {
			return
		}
		inv[j*k+j] = 1 / r[j*k+j]
		for i := j - 1; i >= 0; i-- {
			sum := 0.0
			for l := i + 1; l <= j; l++ {
				sum += float64(r[i*k+l] * inv[l*k+j])
			}
			if d := r[i*k+i]; d > 0 {
				inv[i*k+j] = -sum / d
			}
		}
	})
	return inv
}
