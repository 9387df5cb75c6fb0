package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// reportFlops reports the rate at n floating-point operations per iteration.
func reportFlops(b *testing.B, n float64) {
	b.ReportMetric(n*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GF/s")
}

// reportBytes reports the rate at n bytes read and written per iteration.
func reportBytes(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GB/s")
}

// benchThreads runs f on one thread and on all, and on all with each other instruction set of this machine.
func benchThreads(b *testing.B, name string, f func(b *testing.B)) {
	threads, best := Threads(), active
	defer func() {
		SetThreads(threads)
		active = best
	}()
	for _, n := range slices.Compact([]int{1, threads}) {
		SetThreads(n)
		b.Run(fmt.Sprintf("%s/%s/threads=%d", name, isaNames[active], n), f)
	}
	for _, k := range available() {
		if k != best {
			active = k
			b.Run(fmt.Sprintf("%s/%s/threads=%d", name, isaNames[k], threads), f)
		}
	}
}

func BenchmarkMatMul(b *testing.B) {
	for _, s := range []struct{ m, k, tokens int }{
		{64, 64, 2048}, {172, 64, 2048}, {768, 768, 1024}, {2048, 768, 1024}, {768, 2048, 1024}, {5632, 2048, 1024}, {2048, 5632, 1024},
		{768, 768, 32}, {2048, 768, 32}, {768, 2048, 64}, {2048, 2048, 128},
	} {
		w, x, y := random(1, s.m*s.k), NewTensor(random(2, s.k*s.tokens), s.k), NewTensor(make([]float32, s.m*s.tokens), s.m)
		for _, trans := range []bool{false, true} {
			benchThreads(b, fmt.Sprintf("%dx%d/T=%d/trans=%v", s.m, s.k, s.tokens, trans), func(b *testing.B) {
				for b.Loop() {
					MatMul(w, trans, x, y, false)
				}
				reportFlops(b, 2*float64(s.m)*float64(s.k)*float64(s.tokens))
			})
		}
	}
}

func BenchmarkSddmm(b *testing.B) {
	const tokens = 1024
	for _, s := range []struct{ m, k int }{{768, 768}, {768, 2048}, {2048, 2048}, {2048, 5632}} {
		dy, x := NewTensor(random(1, s.m*tokens), s.m), NewTensor(random(2, s.k*tokens), s.k)
		for _, density := range []float64{.005, .01, .02, .08} {
			r := rand.New(rand.NewPCG(1, 2))
			ptr, cols := []int{0}, []int32(nil)
			for range s.m {
				for c := range s.k {
					if r.Float64() < density {
						cols = append(cols, int32(c))
					}
				}
				ptr = append(ptr, len(cols))
			}
			ds := make([]float32, len(cols))
			benchThreads(b, fmt.Sprintf("%dx%d/density=%g", s.m, s.k, density), func(b *testing.B) {
				for b.Loop() {
					Sddmm(ptr, cols, dy, x, ds)
				}
				reportFlops(b, 2*float64(len(cols))*tokens)
			})
		}
	}
}

func BenchmarkGradDense(b *testing.B) {
	const m, k, tokens = 768, 2048, 1024
	dy, x, dw := NewTensor(random(1, m*tokens), m), NewTensor(random(2, k*tokens), k), make([]float32, m*k)
	benchThreads(b, fmt.Sprintf("%dx%d", m, k), func(b *testing.B) {
		for b.Loop() {
			GradDense(dy, x, dw, false)
		}
		reportFlops(b, 2*m*k*tokens)
	})
}

// The vector loops, on one block of 64 features (in the first-level cache) and of 2,048 (in the second).
func BenchmarkColumns(b *testing.B) {
	for _, rows := range []int{64, 2048} {
		w, in := random(9, rows), ins{}
		for i := range in {
			in[i] = random(uint64(i), rows*Block)
		}
		r, c := column(1), column(2)
		for _, k := range []struct {
			name    string
			streams int // read and written
			run     func()
		}{
			{"DotCols", 2, func() { DotCols(in[0], in[1], c) }},
			{"Norm", 2, func() { Norm(w, in[0], r, in[1]) }},
			{"NormBackward", 4, func() { NormBackward(w, in[0], in[1], r, c, in[2]) }},
			{"MaxCols", 1, func() { MaxCols(in[0], c) }},
			{"ExpCols", 2, func() { ExpCols(in[0], .5, r, c) }},
			{"SoftmaxBackward", 3, func() { SoftmaxBackward(in[0], in[1], r, .5) }},
			{"SwiGLU", 3, func() { SwiGLU(in[0], in[1], in[2]) }},
			{"SwiGLUBackward", 5, func() { SwiGLUBackward(in[0], in[1], in[2], in[3], in[4]) }},
			{"Rotate", 6, func() { Rotate(in[0], in[1], in[2], in[3]) }},
			{"Transpose", 2, func() { Transpose(rows, in[0], in[1], rows) }},
		} {
			b.Run(fmt.Sprintf("%s/rows=%d", k.name, rows), func(b *testing.B) {
				for b.Loop() {
					k.run()
				}
				reportBytes(b, k.streams*rows*rowSize)
			})
		}
	}
}

// rowSize is the size of one feature of a block in bytes.
const rowSize = Block * 4
