package kernel

import (
	"fmt"
	"testing"
)

// product is a case of Gemm with room between the rows of each operand.
type product struct {
	m, n, k, lda, ldb, ldc int
	trans, acc             bool
	a, b, c                []float32
}

func newProduct(m, n, k int, trans, acc bool) product {
	p := product{m: m, n: n, k: k, trans: trans, acc: acc, ldb: n + 3, ldc: n + 5}
	rows, width := m, k
	if trans {
		rows, width = k, m
	}
	p.lda = width + 2
	p.a = matrixOf(rows, width, p.lda)
	p.b = matrixOf(k, n, p.ldb)
	p.c = matrixOf(m, n, p.ldc)
	if !acc {
		for i := range m {
			for j := range n {
				p.c[i*p.ldc+j] = nan
			}
		}
	}
	return p
}

// matrixOf returns random rows that lie ld apart, up to the last value, with NaN between them.
func matrixOf(rows, width, ld int) []float32 {
	if rows == 0 || width == 0 {
		return nil
	}
	s := make([]float32, (rows-1)*ld+width)
	for i := range s {
		s[i] = nan
	}
	for i, v := range random(uint64(rows), rows*width) {
		s[i/width*ld+i%width] = v
	}
	return s
}

func (p product) String() string {
	return fmt.Sprintf("m=%d n=%d k=%d trans=%v acc=%v", p.m, p.n, p.k, p.trans, p.acc)
}

// run returns C as f leaves it.
func (p product) run(f func(m, n, k int, a []float32, lda int, trans bool, b []float32, ldb int, c []float32, ldc int, acc bool)) []float32 {
	c := append([]float32(nil), p.c...)
	f(p.m, p.n, p.k, p.a, p.lda, p.trans, p.b, p.ldb, c, p.ldc, p.acc)
	return c
}

func TestGemm(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, n := range []int{16, 32} {
			for m := range 51 {
				for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 64, 70, 130} {
					for _, trans := range []bool{false, true} {
						for _, acc := range []bool{false, true} {
							p := newProduct(m, n, k, trans, acc)
							requireClose(t, p.String(), p.run(Gemm), p.run(refGemm), 2e-6*float64(k+1))
						}
					}
				}
			}
		}
	})
}

// A value of C is the same whatever surrounds its column and its row.
func TestGemmValuesStandAlone(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const m, k = 29, 41
		a, b := random(1, m*k), random(2, k*Block)
		want := make([]float32, m*Block)
		Gemm(m, Block, k, a, k, false, b, Block, want, Block, false)
		for shift := 1; shift < Block; shift += 5 {
			moved, got := make([]float32, k*Block), make([]float32, m*Block)
			for i := range moved {
				moved[i-i%Block+(i+shift)%Block] = b[i]
			}
			Gemm(m, Block, k, a, k, false, moved, Block, got, Block, false)
			for i := range want {
				requireSame(t, fmt.Sprintf("columns moved by %d", shift), got[i-i%Block+(i+shift)%Block:][:1], want[i:i+1])
			}
		}
		for half := 0; half < Block; half += 16 {
			for _, rows := range []int{1, 5, 13, m} {
				got := make([]float32, rows*Block)
				Gemm(rows, 16, k, a, k, false, b[half:], Block, got[half:], Block, false)
				for i := range rows {
					requireSame(t, fmt.Sprintf("16 columns from %d, %d rows", half, rows), got[i*Block+half:][:16], want[i*Block+half:][:16])
				}
			}
		}
	})
}

func TestGemmIsTheSameOnEveryVectorUnit(t *testing.T) {
	p := newProduct(37, 32, 65, true, true)
	var want []float32
	withISA(t, func(t *testing.T) {
		if active == isGo {
			t.Skip("portable code need not fuse products and sums")
		}
		got := p.run(Gemm)
		if want == nil {
			want = got
		}
		requireSame(t, p.String(), got, want)
	})
}

func TestGemmChecksLengths(t *testing.T) {
	withISA(t, func(t *testing.T) {
		p := newProduct(13, 32, 9, false, false)
		full := p
		for name, cut := range map[string]func(){
			"a": func() { p.a = p.a[:len(p.a)-1] },
			"b": func() { p.b = p.b[:len(p.b)-1] },
			"c": func() { p.c = p.c[:len(p.c)-1] },
		} {
			p = full
			cut()
			requirePanic(t, name+" too short", func() { p.run(Gemm) })
		}
	})
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range []struct{ m, k int }{{8, 512}, {64, 64}, {512, 64}, {64, 512}, {13, 128}, {172, 64}} {
		for _, trans := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dx%d/trans=%v", s.m, s.k, trans), func(b *testing.B) {
				lda := s.k
				if trans {
					lda = s.m
				}
				x, y, c := random(1, s.m*s.k), random(2, s.k*Block), make([]float32, s.m*Block)
				for b.Loop() {
					Gemm(s.m, Block, s.k, x, lda, trans, y, Block, c, Block, false)
				}
				reportFlops(b, float64(2*s.m*s.k*Block))
			})
		}
	}
}
