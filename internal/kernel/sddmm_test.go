package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// sampled is the reference of Sddmm and GradDense: one entry, in double precision.
func sampled(dy, x Tensor, row, col int) float32 {
	var s float64
	for b := range x.N() {
		for t, v := range x.Blk(b)[col*Block:][:Block] {
			s += float64(dy.Blk(b)[row*Block+t]) * float64(v)
		}
	}
	return float32(s)
}

// pattern returns a sparse pattern of the given density, some rows of which are empty and one full.
func pattern(rows, cols int, density float64) (ptr []int, col []int32) {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	ptr = []int{0}
	for row := range rows {
		for c := range cols {
			if row == rows/2 || row%5 != 1 && r.Float64() < density {
				col = append(col, int32(c))
			}
		}
		ptr = append(ptr, len(col))
	}
	return ptr, col
}

func TestSddmm(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range shapes {
			for _, density := range []float64{0, .01, .12, 1} {
				dy, x := activation(1, s.m, s.blocks), activation(2, s.k, s.blocks)
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
				Sddmm(ptr, cols, dy, x, got)
				requireClose(t, fmt.Sprintf("%+v density %g", s, density), got, want, 1e-6*float64(s.blocks*Block+1))
			}
		}
	})
}

func TestSddmmReference(t *testing.T) {
	dy, x := activation(1, 3, 2), activation(2, 9, 2)
	cols := []int32{8, 0, 3, 3}
	got := make([]float32, len(cols))
	refSddmmRow(cols, dy.Data[(dy.Off+1)*Block:], dy.Stride*Block, x.Data[x.Off*Block:], x.Stride*Block, 2, got)
	for i, c := range cols {
		requireClose(t, "entry", got[i:i+1], []float32{sampled(dy, x, 1, int(c))}, 1e-5)
	}
}

// Entries of a part of the pattern, in any order and repeated, are those of the whole.
func TestSddmmEntriesStandAlone(t *testing.T) {
	withISA(t, func(t *testing.T) {
		dy, x := activation(1, 4, 6), activation(2, 30, 6)
		cols := []int32{29, 0, 7, 7, 3, 12, 11, 10, 9, 1, 29}
		ptr := []int{2, 5, 5, 13, 13}
		all := append([]int32{-1, -1}, cols...)
		got := make([]float32, len(all))
		Sddmm(ptr, all, dy, x, got)
		for r := range 4 {
			for i := ptr[r]; i < ptr[r+1]; i++ {
				requireClose(t, "entry", got[i:i+1], []float32{sampled(dy, x, r, int(all[i]))}, 1e-4)
			}
		}
		requireSame(t, "values before the first row", got[:2], []float32{0, 0})
	})
}

func TestSddmmIsDeterministic(t *testing.T) {
	withISA(t, func(t *testing.T) {
		dy, x := activation(1, 60, 37), activation(2, 90, 37)
		ptr, cols := pattern(60, 90, .1)
		useThreads(t, 1)
		want := make([]float32, len(cols))
		Sddmm(ptr, cols, dy, x, want)
		withThreads(t, func(t *testing.T, threads int) {
			got := make([]float32, len(cols))
			Sddmm(ptr, cols, dy, x, got)
			requireSame(t, fmt.Sprint(threads, " threads"), got, want)
		})
	})
}

func TestSddmmChecksColumns(t *testing.T) {
	withISA(t, func(t *testing.T) {
		dy, x := NewTensor(make([]float32, 2*Block), 2), NewTensor(make([]float32, 3*Block), 3)
		for _, col := range []int32{3, 1 << 30, -1} {
			requirePanic(t, fmt.Sprint("column ", col), func() {
				Sddmm([]int{0, 1, 2}, []int32{0, col}, dy, x, make([]float32, 2))
			})
		}
	})
}

// A left operand with fewer blocks than the right one is not read beyond its end.
func TestSddmmChecksBlocks(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, cols := range []int{256, 8} { // few entries, and so many that whole products pay
			var dy, x TokenHalves
			left, right := NewTensor(make([]float32, 2*Block), 2), NewTensor(make([]float32, 9*cols*Block), cols)
			dy.Set(left)
			x.Set(right)
			ptr, col, ds := []int{0, 1, 2}, []int32{0, 1}, make([]float32, 2)
			requirePanic(t, fmt.Sprint("in float32, columns ", cols), func() { Sddmm(ptr, col, left, right, ds) })
			requirePanic(t, fmt.Sprint("in bfloat16, columns ", cols), func() { SddmmHalf(ptr, col, &dy, &x, ds) })
		}
	})
}

func TestCutRowsBalancesEntries(t *testing.T) {
	for _, density := range []float64{.02, .5} {
		ptr, _ := pattern(300, 400, density)
		for _, n := range []int{1, 2, 7, 1000} {
			cuts := cutRows(ptr, n)
			if cuts[0] != 0 || cuts[len(cuts)-1] != 300 || len(cuts) > n+1 || !slices.IsSorted(cuts) {
				t.Fatalf("%d ranges: cuts %v", n, cuts)
			}
			for i, r1 := range cuts[1:] {
				// A range exceeds its share by less than its last row.
				if got, share := ptr[r1]-ptr[cuts[i]], ptr[300]/n; got > share+401 {
					t.Errorf("%d ranges: rows %d–%d hold %d entries, the share is %d", n, cuts[i], r1, got, share)
				}
			}
		}
	}
}
