package kernel

import (
	"fmt"
	"slices"
	"testing"
)

// pairs returns n pairs of random bfloat16 values.
func pairs(seed uint64, n int) []pair {
	h := halves(seed, 2*n)
	p := make([]pair, n)
	refInterleave(h[:n], h[n:], p)
	return p
}

func TestTileGemm(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range []struct{ groups, steps, depth int }{{1, 1, 1}, {1, 1, 7}, {2, 1, 15}, {1, 1, 16}, {1, 5, 16}, {3, 2, 16}} {
			for _, acc := range []bool{false, true} {
				aStep := s.steps*tileGroup*tileSide + 5
				a, b := pairs(1, s.groups*aStep), pairs(2, ((s.steps-1)*tileSide+s.depth)*Block)
				got := random(3, s.groups*tileGroup*Block)
				want := slices.Clone(got)
				refTileGemm(&tileConfigs[s.depth], s.groups, s.steps, a, aStep, b, want, nil, acc)
				tileGemm(&tileConfigs[s.depth], s.groups, s.steps, a, aStep, b, got, nil, acc)
				requireClose(t, fmt.Sprintf("%+v acc=%v", s, acc), got, want, 1e-5)
			}
		}
	})
}

func TestTilePacking(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range []struct{ rows, steps int }{{1, 1}, {16, 2}, {32, 1}, {32, 5}} {
			stride := s.steps*2*tileSide + 3
			src := halves(1, s.rows*stride)
			got, want := make([]pair, s.steps*tileGroup*tileSide), make([]pair, s.steps*tileGroup*tileSide)
			tileLines(s.rows, src, stride, s.steps, got)
			refTileLines(s.rows, src, stride, s.steps, want)
			if !slices.Equal(got, want) {
				t.Errorf("%+v: lines differ", s)
			}
		}
		x := random(3, tileGroup*Block)
		got, want := make([]pair, tileSide*Block), make([]pair, tileSide*Block)
		toTokenColumns(x, got)
		refToTokenColumns(x, want)
		if !slices.Equal(got, want) {
			t.Error("pairs of tokens differ")
		}
		for _, stride := range []int{32, 33, 100} {
			src := halves(1, 31*stride+32)
			got, want := make([]pair, tileGroup*tileSide), make([]pair, tileGroup*tileSide)
			transTiles(src, stride, got)
			refTransTiles(src, stride, want)
			if !slices.Equal(got, want) {
				t.Errorf("stride %d: columns differ", stride)
			}
		}
	})
}

func TestPartGemm(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, s := range []struct{ groups, steps, depth int }{{1, 1, 1}, {2, 1, 15}, {1, 5, 16}, {3, 2, 16}} {
			for _, acc := range []bool{false, true} {
				aStep, bStep := 3*s.steps*tileGroup*tileSide+5, s.steps*tileSide*Block+3
				a, b := pairs(1, s.groups*aStep), pairs(2, 3*bStep)
				got := random(3, s.groups*tileGroup*Block)
				want := slices.Clone(got)
				refPartGemm(&tileConfigs[s.depth], s.groups, s.steps, a, aStep, b, bStep, want, nil, acc)
				partGemm(&tileConfigs[s.depth], s.groups, s.steps, a, aStep, b, bStep, got, nil, acc)
				requireClose(t, fmt.Sprintf("%+v acc=%v", s, acc), got, want, 1e-4)
			}
		}
	})
}

// Three parts of a value hold all its bits.
func TestParts(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const rows, steps = 32, 2
		stride := steps*2*tileSide + 3
		src := random(1, rows*stride)
		copy(src, []float32{0, 1, 1.00390625, 1.01171875, 16777215, 1e-20, -1e30, 3.14159274})
		got, want := make([]pair, 3*steps*tileGroup*tileSide), make([]pair, 3*steps*tileGroup*tileSide)
		partLines(rows, src, stride, steps, got)
		refPartLines(rows, src, stride, steps, want)
		sumOf := func(p []pair, at, step int) (even, odd float32) {
			for i := 2; i >= 0; i-- {
				even, odd = even+FromHalf(uint16(p[at+i*step])), odd+FromHalf(uint16(p[at+i*step]>>16))
			}
			return even, odd
		}
		for i := range rows {
			for j := range steps * tileSide {
				even, odd := sumOf(got, (j/tileSide*3*tileGroup+i)*tileSide+j%tileSide, tileGroup*tileSide)
				if even != src[i*stride+2*j] || odd != src[i*stride+2*j+1] {
					t.Fatalf("row %d, pair %d: %g and %g, want %g and %g", i, j, even, odd, src[i*stride+2*j], src[i*stride+2*j+1])
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Error("lines differ")
		}
		const n, step = 5, 5*Block + 7
		got, want = make([]pair, 3*step), make([]pair, 3*step)
		partPairs(src, 35, n, got, step)
		refPartPairs(src, 35, n, want, step)
		if !slices.Equal(got, want) {
			t.Error("pairs differ")
		}
		src2 := pairs(4, tileSide*Block)
		got, want = make([]pair, tileGroup*tileSide), make([]pair, tileGroup*tileSide)
		tileColumns(src2, got)
		refTileColumns(src2, want)
		if !slices.Equal(got, want) {
			t.Error("columns differ")
		}
	})
}
