package kernel

import (
	"fmt"
	"testing"
)

// TestStack compares products with stacks of weights with those of each weight.
func TestStack(t *testing.T) {
	for _, c := range []struct {
		in     int
		outs   []int
		blocks int
	}{{64, []int{64}, 3}, {64, []int{64, 32, 32}, 70}, {172, []int{64}, 9}, {64, []int{172, 172}, 64}, {45, []int{7, 70}, 5}, {3, []int{2, 1}, 1}} {
		withISA(t, func(t *testing.T) {
			s := &Stack{In: c.in}
			var sampled []Sampled
			for i, out := range c.outs {
				s.Weights = append(s.Weights, random(uint64(i), out*c.in))
				d := Sampled{First: s.Out, Ptr: make([]int, out+1)}
				for r := range out {
					for col := (r + i) % 5; col < c.in; col += 7 {
						d.Cols = append(d.Cols, int32(col))
					}
					d.Ptr[r+1] = len(d.Cols)
				}
				d.DS = make([]float32, len(d.Cols))
				sampled = append(sampled, d)
				s.Out += out
			}
			if !s.Small() {
				t.Fatalf("%v is not small", c)
			}
			tensor := func(seed uint64, rows int) Tensor { return NewTensor(random(seed, rows*c.blocks*Block), rows) }
			x, dy := tensor(10, c.in), tensor(11, s.Out)
			for _, acc := range []bool{false, true} {
				got, want := tensor(12, s.Out), tensor(12, s.Out)
				before := make([]bool, c.blocks)
				s.Mul(x, got, acc, func(b int) { before[b] = true })
				off := 0
				for i, out := range c.outs {
					MatMul(s.Weights[i], false, x, want.Band(off, out), acc)
					off += out
				}
				requireClose(t, fmt.Sprint(c, ": y, acc ", acc), got.Data, want.Data, 1e-5)
				for b, seen := range before {
					if !seen {
						t.Fatalf("%v: block %d is not announced", c, b)
					}
				}
			}
			dx, want := tensor(13, c.in), tensor(14, c.in)
			state := make([]int, c.blocks)
			s.Backward(sampled, dy, x, dx, func(b int) { state[b]++ }, func(b int) { state[b] *= 2 })
			off := 0
			for i, out := range c.outs {
				MatMul(s.Weights[i], true, dy.Band(off, out), want, i > 0)
				ds := make([]float32, len(sampled[i].DS))
				Sddmm(sampled[i].Ptr, sampled[i].Cols, dy.Band(off, out), x, ds)
				requireClose(t, fmt.Sprint(c, ": ds"), sampled[i].DS, ds, 1e-5)
				off += out
			}
			requireClose(t, fmt.Sprint(c, ": dx"), dx.Data, want.Data, 1e-5)

			got, there := tensor(15, c.in), tensor(16, s.Out)
			s.Mul(x, there, false, func(int) {})
			s.Through(c.blocks, func(b int, xs []float32) { copy(xs, x.Blk(b)) }, func(b int, y []float32) {
				requireSame(t, fmt.Sprint(c, ": on the way"), y, there.Blk(b))
				copy(y, dy.Blk(b))
			}, func(b int, dxs []float32) { copy(got.Blk(b), dxs) })
			requireSame(t, fmt.Sprint(c, ": and back"), got.Data, dx.Data)
			for b, n := range state {
				if n != 2 {
					t.Fatalf("%v: block %d is not announced once before and once after", c, b)
				}
			}
		})
	}
}

// TestStackThreads wants the same bits of any number of threads.
func TestStackThreads(t *testing.T) {
	const in, out, blocks = 64, 96, 50
	s := &Stack{In: in, Out: out, Weights: [][]float32{random(1, 64*in), random(2, 32*in)}}
	x, dy := NewTensor(random(3, in*blocks*Block), in), NewTensor(random(4, out*blocks*Block), out)
	var first [3][]float32
	withThreads(t, func(t *testing.T, threads int) {
		y, dx := NewTensor(make([]float32, out*blocks*Block), out), NewTensor(make([]float32, in*blocks*Block), in)
		d := Sampled{Ptr: []int{0, 2, 3}, Cols: []int32{1, 60, 9}, DS: make([]float32, 3)}
		s.Mul(x, y, false, func(int) {})
		s.Backward([]Sampled{d}, dy, x, dx, nil, nil)
		for i, v := range [][]float32{y.Data, dx.Data, d.DS} {
			if threads == 1 {
				first[i] = v
			}
			requireSame(t, fmt.Sprint(threads, " threads"), v, first[i])
		}
	})
}

func TestStackIsSmall(t *testing.T) {
	for _, c := range []struct {
		in, out int
		want    bool
	}{{64, 344, true}, {256, 512, true}, {512, 256, true}, {513, 10, false}, {10, 513, false}, {512, 257, false}, {0, 4, false}} {
		if got := (&Stack{In: c.in, Out: c.out}).Small(); got != c.want {
			t.Errorf("%d inputs, %d outputs: small is %v", c.in, c.out, got)
		}
	}
}
