package kernel

import (
	"fmt"
	"math"
	"testing"
)

// halves returns n random bfloat16 values.
func halves(seed uint64, n int) []uint16 {
	h := make([]uint16, n)
	for i, v := range random(seed, n) {
		h[i] = ToHalf(v)
	}
	return h
}

func widened(h []uint16) []float32 {
	f := make([]float32, len(h))
	for i, v := range h {
		f[i] = FromHalf(v)
	}
	return f
}

func TestMatMulHalf(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range append(shapes, struct{ m, k, blocks int }{100, 1030, 3}, struct{ m, k, blocks int }{31, 513, 18}) {
			for _, trans := range []bool{false, true} {
				for _, acc := range []bool{false, true} {
					w, x, y := halves(1, s.m*s.k), activation(2, s.k, s.blocks), activation(3, s.m, s.blocks)
					var h Halves
					h.Set(activation(9, s.k+3, s.blocks+1)) // what was there before does not matter
					h.Set(x)
					rounded := x.clone()
					for i, v := range rounded.Data {
						rounded.Data[i] = FromHalf(ToHalf(v))
					}
					want := y.clone()
					refMatMul(widened(w), trans, rounded, want, acc)
					MatMulHalf(w, trans, &h, y, acc)
					requireClose(t, fmt.Sprintf("%+v trans=%v acc=%v", s, trans, acc), y.Data, want.Data, 1e-6*float64(s.k+1))
				}
			}
		}
	})
}

// A product that is handed on has the values of one that is stored.
func TestMatMulHalfTo(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range []struct{ m, k, blocks int }{{1, 3, 1}, {100, 70, 3}, {31, 2100, 18}, {300, 64, 20}} {
			for _, trans := range []bool{false, true} {
				w, x := halves(1, s.m*s.k), activation(2, s.k, s.blocks)
				var h Halves
				h.Set(x)
				want := activation(3, s.m, s.blocks)
				MatMulHalf(w, trans, &h, want, false)
				withThreads(t, func(t *testing.T, threads int) {
					got := activation(4, s.m, s.blocks)
					MatMulHalfTo(w, trans, &h, s.m, func(b, r int, c []float32) { copy(got.Blk(b)[r*Block:], c) })
					for b := range s.blocks {
						requireSame(t, fmt.Sprintf("%+v trans=%v, %d threads", s, trans, threads), got.Blk(b), want.Blk(b))
					}
				})
			}
		}
	})
}

// A block's result depends neither on the threads nor on how many blocks there are.
func TestMatMulHalfIsDeterministic(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const m, k, blocks = 110, 530, 17
		w, x := halves(1, m*k), activation(2, k, blocks)
		for _, trans := range []bool{false, true} {
			want := activation(3, m, blocks)
			useThreads(t, 1)
			var h Halves
			h.Set(x)
			MatMulHalf(w, trans, &h, want, false)
			withThreads(t, func(t *testing.T, threads int) {
				got := activation(3, m, blocks)
				h.Set(x)
				MatMulHalf(w, trans, &h, got, false)
				requireSame(t, fmt.Sprintf("trans=%v, %d threads", trans, threads), got.Data, want.Data)
			})
			for b := range blocks {
				h.Set(NewTensor(append([]float32(nil), x.Blk(b)...), k))
				got := NewTensor(make([]float32, m*Block), m)
				MatMulHalf(w, trans, &h, got, false)
				requireSame(t, fmt.Sprintf("trans=%v, block %d alone", trans, b), got.Data, want.Blk(b))
			}
		}
	})
}

func TestSddmmHalf(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range append(shapes, struct{ m, k, blocks int }{30, 2100, 5}, struct{ m, k, blocks int }{60, 300, 40}) {
			for _, density := range []float64{0, .01, .12, 1} {
				dy, x := activation(1, s.m, s.blocks), activation(2, s.k, s.blocks)
				for _, v := range [][]float32{dy.Data, x.Data} {
					for i := range v {
						v[i] = FromHalf(ToHalf(v[i]))
					}
				}
				ptr, cols := pattern(s.m, s.k, density)
				got, want := make([]float32, len(cols)), make([]float32, len(cols))
				for i := range got {
					got[i] = nan
				}
				for r := range s.m {
					for i := ptr[r]; i < ptr[r+1]; i++ {
						want[i] = sampled(dy, x, r, int(cols[i]))
					}
				}
				var hx, hdy TokenHalves
				hx.Set(activation(7, s.k+1, s.blocks+2)) // what was there before does not matter
				hx.Set(x)
				hdy.Set(dy)
				SddmmHalf(ptr, cols, &hdy, &hx, got)
				requireClose(t, fmt.Sprintf("%+v density %g", s, density), got, want, 1e-6*float64(s.blocks*Block+1))
				withThreads(t, func(t *testing.T, threads int) {
					again := make([]float32, len(cols))
					SddmmHalf(ptr, cols, &hdy, &hx, again)
					requireSame(t, fmt.Sprintf("%+v density %g, %d threads", s, density, threads), again, got)
				})
				if !WholePays(len(cols), s.m, s.k) {
					continue
				}
				hdy.ResetLeft(s.m, s.blocks)
				hx.ResetRight(s.k, s.blocks)
				for b := range s.blocks {
					hdy.SetBand(b, 0, dy.Blk(b))
					for f := 0; f < s.k; f += 64 {
						hx.SetBand(b, f, x.Blk(b)[f*Block:min(f+64, s.k)*Block])
					}
				}
				again := make([]float32, len(cols))
				SddmmHalf(ptr, cols, &hdy, &hx, again)
				requireSame(t, fmt.Sprintf("%+v density %g, in pieces", s, density), again, got)
			}
		}
	})
}

func TestSddmmHalfChecksColumns(t *testing.T) {
	var hx, hdy TokenHalves
	hx.Set(activation(1, 5, 2))
	hdy.Set(activation(2, 3, 2))
	for _, col := range []int32{5, -1} {
		requirePanic(t, fmt.Sprint("column ", col), func() {
			SddmmHalf([]int{0, 1, 1, 1}, []int32{col}, &hdy, &hx, make([]float32, 1))
		})
	}
}

// The shapes are those of the projections of models of 110 million and 1.1 billion parameters, with the entries of r=32.
func BenchmarkSddmmHalf(b *testing.B) {
	for _, s := range []struct {
		m, k, tokens int
		density      float64
	}{
		{768, 768, 1024, .08}, {768, 2048, 1024, .057}, {2048, 768, 1024, .057}, {2048, 5632, 512, .021}, {5632, 2048, 512, .021}, {256, 2048, 512, .035},
		{2048, 5632, 1024, .01},
	} {
		dy, x := NewTensor(random(1, s.m*s.tokens), s.m), NewTensor(random(2, s.k*s.tokens), s.k)
		ptr, cols := pattern(s.m, s.k, s.density)
		benchThreads(b, fmt.Sprintf("%dx%d/T=%d/density=%g", s.m, s.k, s.tokens, s.density), func(b *testing.B) {
			var hx, hdy TokenHalves
			ds := make([]float32, len(cols))
			for b.Loop() {
				hx.Set(x)
				hdy.Set(dy)
				SddmmHalf(ptr, cols, &hdy, &hx, ds)
			}
			reportFlops(b, 2*float64(s.m)*float64(s.k)*float64(s.tokens))
		})
	}
}

func TestPairs(t *testing.T) {
	inf := float32(math.Inf(1))
	edges := []float32{0, 1, -1, 1.00390625, 1.01171875, 3.3895314e38, math.MaxFloat32, inf, -inf, nan, 1e-30}
	withISA(t, func(t *testing.T) {
		for _, rows := range []int{1, 2, 3, 8, 33} {
			x := random(uint64(rows), rows*Block)
			copy(x, edges)
			y := make([]pair, (rows+1)/2*Block)
			PackHalves(x, y)
			var h Halves
			h.Set(NewTensor(x, rows))
			got := make([]float32, len(x))
			UnpackHalves(y, got)
			for i, v := range x {
				x[i] = FromHalf(ToHalf(v))
			}
			requireClose(t, fmt.Sprint(rows, " rows"), got, x, 0)
			h.Expand(NewTensor(got, rows))
			requireClose(t, fmt.Sprint(rows, " rows, expanded"), got, x, 0)
			for f := range rows {
				x[f*Block+f%Block] = float32(f)
				h.SetValue(0, f, f%Block, float32(f))
			}
			h.Expand(NewTensor(got, rows))
			requireClose(t, fmt.Sprint(rows, " rows, with other values"), got, x, 0)
			for _, v := range y[rows/2*Block:] {
				if rows%2 == 1 && v>>16 != 0 {
					t.Errorf("%d rows: %x in the padding", rows, v)
				}
			}
		}
		for _, n := range []int{0, 16, 48} {
			low, high, y := halves(1, n), halves(2, n), make([]pair, n)
			interleave(low, high, y)
			for i, v := range y {
				if v != pair(low[i])|pair(high[i])<<16 {
					t.Fatalf("%d values: pair %d is %x", n, i, v)
				}
			}
		}
	})
}

func BenchmarkMatMulHalf(b *testing.B) {
	for _, s := range []struct{ m, k, tokens int }{
		{64, 64, 2048}, {768, 768, 1024}, {2048, 768, 1024}, {768, 2048, 1024}, {5632, 2048, 512}, {2048, 5632, 512}, {2048, 768, 32}, {32000, 768, 256},
	} {
		w, x, y := halves(1, s.m*s.k), NewTensor(random(2, s.k*s.tokens), s.k), NewTensor(make([]float32, s.m*s.tokens), s.m)
		for _, trans := range []bool{false, true} {
			benchThreads(b, fmt.Sprintf("%dx%d/T=%d/trans=%v", s.m, s.k, s.tokens, trans), func(b *testing.B) {
				var h Halves
				for b.Loop() {
					h.Set(x)
					MatMulHalf(w, trans, &h, y, false)
				}
				reportFlops(b, 2*float64(s.m)*float64(s.k)*float64(s.tokens))
			})
		}
	}
}
