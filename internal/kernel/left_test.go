package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// rightBlock returns a block of random values as a right operand, and those values.
func rightBlock(seed uint64, rows int) (*Halves, []float32) {
	x := widened(halves(seed, rows*Block))
	h := &Halves{}
	h.Set(NewTensor(x, rows))
	return h, x
}

func TestLeft(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const groups, steps = 3, 2
		var byTokens, byFeatures Left
		byTokens.Reset(groups*Block, steps*Block)
		byFeatures.Reset(groups*Block, steps*Block)
		a := make([]float32, groups*Block*steps*Block) // row-major
		for g := range groups {
			h, x := rightBlock(uint64(g), steps*Block)
			byTokens.SetTokens(g, h, 0)
			for i, v := range x {
				a[(g*Block+i%Block)*steps*Block+i/Block] = v
			}
		}
		for s := range steps {
			x := make([]float32, groups*Block*Block)
			for i := range x {
				x[i] = a[i/Block*steps*Block+s*Block+i%Block]
			}
			h := &Halves{}
			h.Set(NewTensor(x, groups*Block))
			byFeatures.SetFeatures(s, h, 0)
		}
		right, b := rightBlock(9, steps*Block)
		for _, n := range []struct{ groups, steps int }{{1, 1}, {3, 1}, {2, 2}, {3, 2}} {
			for _, acc := range []bool{false, true} {
				want := random(3, groups*Block*Block)
				got, again := slices.Clone(want), slices.Clone(want)
				refGemm(n.groups*Block, Block, n.steps*Block, a, steps*Block, false, b, Block, want, Block, acc)
				byTokens.Mul(n.groups, n.steps, right, 0, got, acc)
				byFeatures.Mul(n.groups, n.steps, right, 0, again, acc)
				requireClose(t, fmt.Sprintf("%+v acc=%v", n, acc), got, want, 1e-4)
				requireSame(t, fmt.Sprintf("%+v acc=%v by features", n, acc), again, got)
			}
		}
	})
}

func TestTransposedHalves(t *testing.T) {
	withISA(t, func(t *testing.T) {
		x, values := rightBlock(1, 2*Block)
		var h Halves
		h.SetTransposed(x, 0)
		got := make([]float32, Block*Block)
		for g := range 2 {
			h.ExpandBlock(g, got)
			for i, v := range got {
				if want := values[(g*Block+i%Block)*Block+i/Block]; v != want {
					t.Fatalf("token %d, feature %d is %g, want %g", i/Block, g*Block+i%Block, v, want)
				}
			}
		}
	})
}

// Tokens come and go between blocks at any place.
func TestTokensOfHalves(t *testing.T) {
	const rows, blocks = 5, 3
	plain := activation(1, rows, blocks)
	var x, one Halves
	x.Set(plain)
	for _, s := range []struct{ first, count int }{{0, 32}, {32, 32}, {32, 7}, {20, 32}, {20, 30}, {90, 6}, {5, 20}} {
		one.Reset(2*Block, 1)
		one.TakeTokens(&x, s.first, s.count)
		got := make([]float32, 2*Block*Block)
		one.ExpandBlock(0, got)
		for i, v := range got {
			f, tok := i/Block, i%Block
			var want float32
			if p := s.first + tok; f < rows && tok < s.count {
				want = FromHalf(ToHalf(plain.Blk(p / Block)[f*Block+p%Block]))
			}
			if v != want {
				t.Fatalf("%+v: feature %d, token %d is %g, want %g", s, f, tok, v, want)
			}
		}
		var y Halves
		y.Set(NewTensor(make([]float32, rows*blocks*Block), rows))
		one.PutTokens(&y, s.first, s.count)
		all := NewTensor(make([]float32, rows*blocks*Block), rows)
		y.Expand(all)
		for b := range blocks {
			for i, v := range all.Blk(b) {
				p := b*Block + i%Block
				var want float32
				if p >= s.first && p < s.first+s.count {
					want = FromHalf(ToHalf(plain.Blk(b)[i]))
				}
				if v != want {
					t.Fatalf("%+v: feature %d, token %d is put as %g, want %g", s, i/Block, p, v, want)
				}
			}
		}
	}
	x.ClearTokens(2*Block + 3)
	got := make([]float32, rows*Block)
	x.ExpandBlock(2, got)
	for i, v := range got {
		if want := FromHalf(ToHalf(plain.Blk(2)[i])); i%Block < 3 && v != want || i%Block >= 3 && v != 0 {
			t.Fatalf("value %d is %g after clearing", i, v)
		}
	}
}

func TestExpHalves(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const rows = 2 * Block
		x, shift := random(1, rows*Block), column(2)
		for i := range x {
			x[i] *= 10
		}
		x[3] = float32(math.Inf(-1))
		sum, wantSum := *column(3), *column(3)
		want := slices.Clone(x)
		refExpCols(want, .7, shift, &wantSum)
		var h Halves
		ExpHalves(x, .7, shift, &sum, &h)
		got := make([]float32, len(x))
		h.ExpandBlock(0, got)
		requireClose(t, "sums", sum[:], wantSum[:], 1e-5)
		for i, v := range want {
			if g := got[i]; g < v*(1-.0041) || g > v*(1+.0041) {
				t.Fatalf("value %d is %g, want %g", i, g, v)
			}
		}
	})
}

func TestScoreGrads(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const keys = 2 * Block
		s, dp, lse, delta := random(1, keys*Block), random(2, keys*Block), column(3), column(4)
		s[3] = float32(math.Inf(-1))
		p, ds := slices.Clone(s), slices.Clone(dp)
		refExpCols(p, .3, lse, &[Block]float32{})
		refSoftmaxBackward(p, ds, delta, .3)
		var left, leftGrads Left
		var right Halves
		ScoreGrads(s, dp, .3, lse, delta, &left, &leftGrads, &right)
		across := make([]float32, keys*Block)
		right.ExpandBlock(0, across)
		for i := range p {
			word := func(l *Left) float32 { return FromHalf(uint16(l.tiles[i/2] >> (i % 2 * 16))) }
			for _, c := range []struct{ got, want float32 }{{word(&left), p[i]}, {word(&leftGrads), ds[i]}, {across[i], ds[i]}} {
				requireClose(t, fmt.Sprint("value ", i), []float32{c.got}, []float32{c.want}, .004)
			}
		}
	})
}
