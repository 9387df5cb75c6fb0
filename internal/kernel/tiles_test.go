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
