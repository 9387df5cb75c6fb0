package kernel

import (
	"fmt"
	"testing"
)

func TestAttend(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, n := range []struct{ full, diagonal int }{{0, 2}, {0, 32}, {32, 32}, {96, 8}, {64, 0}, {1024, 32}} {
			name, keys := fmt.Sprintf("%d and %d keys", n.full, n.diagonal), n.full+n.diagonal
			ld := Blocks(keys) * Block
			k, v, q := random(1, SmallHead*ld), random(2, SmallHead*ld), random(3, SmallHead*Block)
			for i := range q {
				q[i] *= 5
			}
			run := func(f func(int, int, []float32, []float32, int, []float32, []float32, []float32, *[Block]float32, *[Block]float32),
			) (o []float32, shift, inverse [Block]float32) {
				o = make([]float32, SmallHead*Block)
				f(n.full, n.diagonal, k, v, ld, q, make([]float32, keys*Block), o, &shift, &inverse)
				return o, shift, inverse
			}
			got, gotShift, gotInverse := run(Attend)
			want, wantShift, wantInverse := run(refAttend)
			requireClose(t, name, got, want, 1e-5)
			requireClose(t, name+": shift", gotShift[:], wantShift[:], 1e-6)
			requireClose(t, name+": inverse", gotInverse[:], wantInverse[:], 1e-5)
		}
	})
}

func TestAttendSeesNoLaterKey(t *testing.T) {
	withISA(t, func(t *testing.T) {
		k, v, q := random(1, SmallHead*Block), random(2, SmallHead*Block), random(3, SmallHead*Block)
		var shift, inverse [Block]float32
		run := func() []float32 {
			o := make([]float32, SmallHead*Block)
			Attend(0, Block, k, v, Block, q, make([]float32, Block*Block), o, &shift, &inverse)
			return o
		}
		before := run()
		for f := range SmallHead {
			k[f*Block+20], v[f*Block+20] = 1e6, 1e6
		}
		after := run()
		for f := range SmallHead {
			requireSame(t, "queries before the key", after[f*Block:][:20], before[f*Block:][:20])
		}
	})
}

func TestAttendBackward(t *testing.T) {
	const ld = 64
	withISA(t, func(t *testing.T) {
		for _, n := range []struct{ tiles, first, seen int }{{1, 0, -1}, {4, 0, -1}, {1, 0, 1}, {1, 16, 1}, {2, 16, 7}} {
			k, v := random(1, SmallHead*ld), random(2, SmallHead*ld)
			q, do, shift, delta := random(3, SmallHead*Block), random(4, SmallHead*Block), column(5), column(6)
			for i := range shift {
				shift[i] += 6 // no score is above it
			}
			run := func(f func(dk, dv, dq []float32)) [3][]float32 {
				r := [3][]float32{random(7, SmallHead*ld), random(8, SmallHead*ld), random(9, SmallHead*Block)}
				f(r[0], r[1], r[2])
				return r
			}
			got := run(func(dk, dv, dq []float32) {
				AttendBackward(n.tiles, n.first, n.seen, k, v, ld, q, do, shift, delta, &AttendTile{}, dk, dv, dq)
			})
			want := run(func(dk, dv, dq []float32) {
				refAttendBackward(n.tiles, Block-n.first, n.seen, k, v, ld, q[n.first:], do[n.first:], shift[n.first:], delta[n.first:], nil, dk, dv, dq[n.first:])
			})
			for i, what := range []string{"dK", "dV", "dQ"} {
				requireClose(t, fmt.Sprint(n, ": ", what), got[i], want[i], 1e-5)
			}
		}
	})
}

// A block of queries with 128 keys before it, in the first-level cache.
func BenchmarkAttend(b *testing.B) {
	const full = 128
	const ld = full + Block
	k, v, q := random(1, SmallHead*ld), random(2, SmallHead*ld), random(3, SmallHead*Block)
	p, o, dq, shift, sum := make([]float32, ld*Block), make([]float32, SmallHead*Block), make([]float32, SmallHead*Block), column(5), column(6)
	dk, dv := make([]float32, SmallHead*ld), make([]float32, SmallHead*ld)
	report := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(ld*Block/16), "ns/vector")
	}
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			Attend(full, Block, k, v, ld, q, p, o, shift, sum)
		}
		report(b)
	})
	b.Run("backward", func(b *testing.B) {
		for b.Loop() {
			AttendBackward(full/AttendKeys, 0, -1, k, v, ld, q, o, shift, sum, &AttendTile{}, dk, dv, dq)
			AttendBackward(1, 0, 1, k[full:], v[full:], ld, q, o, shift, sum, &AttendTile{}, dk[full:], dv[full:], dq)
			AttendBackward(1, AttendKeys, 1, k[full+AttendKeys:], v[full+AttendKeys:], ld, q, o, shift, sum, &AttendTile{}, dk[full+AttendKeys:], dv[full+AttendKeys:], dq)
		}
		report(b)
	})
}
