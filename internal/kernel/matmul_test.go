package kernel

import (
	"fmt"
	"testing"
)

// activation returns a random tensor of rows features in a band of a wider one, whose other features are NaN.
func activation(seed uint64, rows, blocks int) Tensor {
	const above, below = 2, 3
	wide := NewTensor(make([]float32, (above+rows+below)*blocks*Block), above+rows+below)
	for i := range wide.Data {
		wide.Data[i] = nan
	}
	band := wide.Band(above, rows)
	for b := range band.N() {
		copy(band.Blk(b), random(seed+uint64(b), rows*Block))
	}
	return band
}

// clone returns a copy that shares nothing.
func (t Tensor) clone() Tensor {
	t.Data = append([]float32(nil), t.Data...)
	return t
}

func refMatMul(w []float32, trans bool, x, y Tensor, acc bool) {
	lda := x.Rows
	if trans {
		lda = y.Rows
	}
	for b := range y.N() {
		refGemm(y.Rows, Block, x.Rows, w, lda, trans, x.Blk(b), Block, y.Blk(b), Block, acc)
	}
}

// shapes of products in rows, features and blocks: less than a tile, ragged, more than one task and depth step.
var shapes = []struct{ m, k, blocks int }{
	{1, 1, 1}, {3, 70, 2}, {50, 7, 1}, {12, 64, 3}, {13, 65, 7}, {47, 50, 5}, {97, 260, 2}, {109, 70, 9}, {5, 40, 33},
	{0, 5, 2}, {5, 0, 2}, {5, 5, 0},
}

func TestMatMul(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range shapes {
			for _, trans := range []bool{false, true} {
				for _, acc := range []bool{false, true} {
					w, x, y := random(1, s.m*s.k), activation(2, s.k, s.blocks), activation(3, s.m, s.blocks)
					want := y.clone()
					refMatMul(w, trans, x, want, acc)
					MatMul(w, trans, x, y, acc)
					requireClose(t, fmt.Sprintf("%+v trans=%v acc=%v", s, trans, acc), y.Data, want.Data, 1e-6*float64(s.k+1))
				}
			}
		}
	})
}

// Weights near the largest that a product takes are as good as others.
func TestMatMulOfLargeWeights(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const m, k, blocks, large, small = 50, 70, 2, 3.38e38, 0x1p-20
		w, x := random(1, m*k), activation(2, k, blocks)
		for i := range w {
			w[i] *= large
		}
		w[0] = large
		for i := range x.Data {
			x.Data[i] *= small
		}
		for _, trans := range []bool{false, true} {
			want, got := activation(3, m, blocks), activation(3, m, blocks)
			refMatMul(w, trans, x, want, false)
			MatMul(w, trans, x, got, false)
			for i := range want.Data {
				want.Data[i] /= large * small
				got.Data[i] /= large * small
			}
			requireClose(t, fmt.Sprintf("trans=%v", trans), got.Data, want.Data, 1e-6*float64(k+1))
		}
	})
}

// A block's result depends neither on the threads nor on how many blocks there are.
func TestMatMulIsDeterministic(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const m, k, blocks = 110, 260, 17
		w, x := random(1, m*k), activation(2, k, blocks)
		for _, trans := range []bool{false, true} {
			want := activation(3, m, blocks)
			useThreads(t, 1)
			MatMul(w, trans, x, want, false)
			withThreads(t, func(t *testing.T, threads int) {
				got := activation(3, m, blocks)
				MatMul(w, trans, x, got, false)
				requireSame(t, fmt.Sprintf("trans=%v, %d threads", trans, threads), got.Data, want.Data)
			})
			for b := range blocks {
				one := NewTensor(append([]float32(nil), x.Blk(b)...), k)
				got := NewTensor(make([]float32, m*Block), m)
				MatMul(w, trans, one, got, false)
				requireSame(t, fmt.Sprintf("trans=%v, block %d alone", trans, b), got.Data, want.Blk(b))
			}
		}
	})
}

// Products in the calling goroutine are those of many, within rounding, and a block's values are its own.
func TestSerialProducts(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range append(shapes, struct{ m, k, blocks int }{290, 1030, 3}) {
			w, x, h := random(1, s.m*s.k), activation(2, s.k, s.blocks), halves(1, s.m*s.k)
			var rounded, alone Halves
			var right, rightAlone Right
			rounded.Set(x)
			right.Set(x)
			want, got := activation(3, s.m, s.blocks), activation(4, s.m, s.blocks)
			MatMul(w, false, x, want, false)
			MatMulSerial(w, &right, got)
			requireClose(t, fmt.Sprintf("%+v", s), got.Data, want.Data, 1e-6*float64(s.k+1))
			wantHalf, gotHalf := activation(3, s.m, s.blocks), activation(4, s.m, s.blocks)
			MatMulHalf(h, false, &rounded, wantHalf, false)
			MatMulHalfSerial(h, &rounded, gotHalf)
			requireClose(t, fmt.Sprintf("%+v in bfloat16", s), gotHalf.Data, wantHalf.Data, 1e-6*float64(s.k+1))
			for b := range s.blocks {
				one, y := NewTensor(append([]float32(nil), x.Blk(b)...), s.k), NewTensor(make([]float32, s.m*Block), s.m)
				rightAlone.Set(one)
				MatMulSerial(w, &rightAlone, y)
				requireSame(t, fmt.Sprintf("%+v, block %d alone", s, b), y.Data, got.Blk(b))
				alone.Set(one)
				MatMulHalfSerial(h, &alone, y)
				requireSame(t, fmt.Sprintf("%+v in bfloat16, block %d alone", s, b), y.Data, gotHalf.Blk(b))
			}
		}
	})
}

func TestGridCoversEachValueOnce(t *testing.T) {
	for _, rows := range []int{0, 1, 12, 95, 96, 97, 172, 768} {
		for _, depth := range []int{1, 64, 2048} {
			for _, blocks := range []int{0, 1, 2, 7, 8, 32} {
				for _, threads := range []int{1, 2, 7, 64} {
					g := newGrid(rows, depth, blocks, threads)
					seen := make([]int, rows*blocks)
					for i := range g.tasks() {
						r0, r1, b0, b1 := g.task(i)
						if r1-r0 > rowStep || r0 >= r1 || b0 >= b1 {
							t.Fatalf("%d×%d×%d, %d threads: task %d is rows %d–%d, blocks %d–%d", rows, depth, blocks, threads, i, r0, r1, b0, b1)
						}
						for r := r0; r < r1; r++ {
							for b := b0; b < b1; b++ {
								seen[r*blocks+b]++
							}
						}
					}
					for i, n := range seen {
						if n != 1 {
							t.Fatalf("%d×%d×%d, %d threads: row %d of block %d is in %d tasks", rows, depth, blocks, threads, i/blocks, i%blocks, n)
						}
					}
				}
			}
		}
	}
}

func TestGradDense(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range shapes {
			for _, acc := range []bool{false, true} {
				dy, x := activation(1, s.m, s.blocks), activation(2, s.k, s.blocks)
				got := random(3, s.m*s.k)
				want := make([]float32, s.m*s.k)
				if acc {
					copy(want, got)
				}
				for i := range want {
					want[i] += sampled(dy, x, i/s.k, i%s.k)
				}
				GradDense(dy, x, got, acc)
				requireClose(t, fmt.Sprintf("%+v acc=%v", s, acc), got, want, 1e-6*float64(s.blocks*Block+1))
			}
		}
	})
}

func TestGradDenseIsDeterministic(t *testing.T) {
	dy, x := activation(1, 130, 40), activation(2, 75, 40)
	useThreads(t, 1)
	want := make([]float32, 130*75)
	GradDense(dy, x, want, false)
	withThreads(t, func(t *testing.T, threads int) {
		got := make([]float32, 130*75)
		GradDense(dy, x, got, false)
		requireSame(t, fmt.Sprint(threads, " threads"), got, want)
	})
}
