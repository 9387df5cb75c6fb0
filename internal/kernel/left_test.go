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
				byTokens.Mul(0, n.groups, 0, n.steps, right, 0, got, acc)
				byFeatures.Mul(0, n.groups, 0, n.steps, right, 0, again, acc)
				requireClose(t, fmt.Sprintf("%+v acc=%v", n, acc), got, want, 1e-4)
				requireSame(t, fmt.Sprintf("%+v acc=%v by features", n, acc), again, got)
			}
		}
		// A part of the rows and of the depth.
		want := make([]float32, Block*Block)
		got := random(4, Block*Block)
		refGemm(Block, Block, Block, a[2*Block*steps*Block+Block:], steps*Block, false, b[Block*Block:], Block, want, Block, false)
		byTokens.Mul(2, 3, 1, 2, right, 0, got, false)
		requireClose(t, "a part", got, want, 1e-4)
		byTokens.Mul(2, 2, 1, 2, right, 0, got, true)
		requireClose(t, "no rows", got, want, 1e-4)
	})
}

func TestHalvesAcross(t *testing.T) {
	withISA(t, func(t *testing.T) {
		x, values := rightBlock(1, 2*Block)
		var h Halves
		h.Reset(3*Block, 2)
		h.SetAcross(1, x, 0)
		got := make([]float32, 3*Block*Block)
		for g := range 2 {
			h.ExpandBlock(g, got)
			for i, v := range got[Block*Block:][:Block*Block] {
				if want := values[(g*Block+i%Block)*Block+i/Block]; v != want {
					t.Fatalf("token %d, feature %d is %g, want %g", i/Block, g*Block+i%Block, v, want)
				}
			}
		}
	})
}

func TestTurnedHalves(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, rows := range []int{2, 4, 6, 64} {
			for _, first := range []int{0, 3} {
				plain := activation(1, rows, 2)
				for i, v := range plain.Data {
					plain.Data[i] = FromHalf(ToHalf(v))
				}
				cos, sin := random(2, rows/2*Block), random(3, rows/2*Block)
				want := make([]float32, 64*Block)
				for i := range rows * Block {
					p := first + i%Block
					want[i] = plain.Blk(p / Block)[i/Block*Block+p%Block]
				}
				half := rows / 2 * Block
				refRotate(want[:half], want[half:2*half], cos, sin)
				var x, h Halves
				x.Set(plain)
				h.Set(activation(5, 64, 1))
				h.TakeTurned(&x, first, Block, cos, sin)
				got := make([]float32, 64*Block)
				h.ExpandBlock(0, got)
				for i, v := range want {
					if d := math.Abs(float64(got[i] - v)); d > math.Abs(float64(v))*.004+1e-6 {
						t.Fatalf("%d features, first %d: value %d is %g, want %g", rows, first, i, got[i], v)
					}
				}
			}
		}
	})
}

func TestPairLoops(t *testing.T) {
	withISA(t, func(t *testing.T) {
		const rows = 10
		x, r := random(1, rows*Block), column(2)
		var h Halves
		h.Reset(rows, 1)
		h.SetScaled(x, r)
		got, want := make([]float32, rows*Block), slices.Clone(x)
		refScaleCols(want, r)
		h.ExpandBlock(0, got)
		for i, v := range want {
			want[i] = FromHalf(ToHalf(v))
		}
		requireSame(t, "scaled", got, want)
		y, values := rightBlock(3, rows)
		sum, wantSum := *column(4), *column(4)
		refDotCols(got, values, &wantSum)
		h.DotCols(0, y, 0, &sum)
		requireClose(t, "dot products", sum[:], wantSum[:], 1e-5)
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
		left.Reset(keys, 2*Block)
		leftGrads.Reset(keys, 2*Block)
		ScoreGrads(s, dp, .3, lse, delta, &left, &leftGrads, 1, &right)
		across := make([]float32, keys*Block)
		right.ExpandBlock(0, across)
		for i := range p {
			const size = tileGroup * Block
			word := func(l *Left) float32 { return FromHalf(uint16(l.step(i/size, 1)[i%size/2] >> (i % 2 * 16))) }
			for _, c := range []struct{ got, want float32 }{{word(&left), p[i]}, {word(&leftGrads), ds[i]}, {across[i], ds[i]}} {
				requireClose(t, fmt.Sprint("value ", i), []float32{c.got}, []float32{c.want}, .004)
			}
		}
	})
}

// Products of attention: scores of 256 keys, their gradients by 64 features.
func BenchmarkLeft(b *testing.B) {
	for _, s := range []struct{ groups, steps int }{{8, 2}, {2, 8}, {8, 4}, {8, 1}, {1, 1}, {1, 4}} {
		var l Left
		l.Reset(s.groups*Block, s.steps*Block)
		copy(l.tiles, pairs(1, len(l.tiles)))
		x, _ := rightBlock(2, s.steps*Block)
		y := make([]float32, s.groups*Block*Block)
		for _, acc := range []bool{false, true} {
			b.Run(fmt.Sprintf("groups=%d/steps=%d/acc=%v", s.groups, s.steps, acc), func(b *testing.B) {
				for b.Loop() {
					l.Mul(0, s.groups, 0, s.steps, x, 0, y, acc)
				}
				reportFlops(b, float64(2*s.groups*s.steps*Block*Block*Block))
			})
		}
	}
}
