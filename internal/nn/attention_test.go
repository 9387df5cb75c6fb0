package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"shira/internal/kernel"
)

// attend returns an attention of its own over sequences of the given lengths, and random queries, keys and values, which are
// bfloat16 values, and a gradient of the result.
func attend(h Heads, lengths ...int) (a *attention, qkv, dy kernel.Tensor) {
	g := NewGraph(Options{Training: true})
	total := 0
	for _, n := range lengths {
		total += n
	}
	g.batch, g.blocks = Batch{IDs: make([]int32, total), Lengths: lengths}, kernel.Blocks(total)
	rng := rand.New(rand.NewPCG(1, uint64(total)))
	random := func(rows int) kernel.Tensor {
		x := kernel.NewTensor(make([]float32, g.blocks*rows*blk), rows)
		for i := range x.Data {
			x.Data[i] = kernel.FromHalf(kernel.ToHalf(float32(rng.NormFloat64())))
		}
		return x
	}
	qkv, dy = random((h.Query+2*h.KV)*h.Size), random(h.Query*h.Size)
	return &attention{g: g, h: h, qkv: &Var{rows: qkv.Rows, needGrad: true}, y: &Var{rows: dy.Rows, needGrad: true}}, qkv, dy
}

func halvesOf(x kernel.Tensor) *kernel.Halves {
	h := &kernel.Halves{}
	h.Set(x)
	return h
}

func like(x kernel.Tensor) kernel.Tensor {
	y := kernel.NewTensor(make([]float32, len(x.Data)), x.Rows)
	for i := range y.Data {
		y.Data[i] = float32(math.NaN())
	}
	return y
}

// distance returns how far got is from want, as a share of want's norm.
func distance(got, want []float32) float64 {
	var diff, norm float64
	for i, w := range want {
		diff += float64(got[i]-w) * float64(got[i]-w)
		norm += float64(w) * float64(w)
	}
	return math.Sqrt(diff / norm)
}

// TestAttentionInHalves holds attention in bfloat16 to that in float32 for the same queries, keys and values.
func TestAttentionInHalves(t *testing.T) {
	for _, size := range []int{2, 6, 8, 48, 64, 128} {
		for _, heads := range []Heads{{Query: 2, KV: 2}, {Query: 6, KV: 2}} {
			for _, lengths := range [][]int{{1}, {32}, {64, 64}, {200}, {5, 40, 33, 1, 70}} {
				for _, rope := range []*Rope{nil, NewRope(size, 10000)} {
					h := heads
					h.Size, h.Rope = size, rope
					what := fmt.Sprintf("%d of %d heads of %d, lengths %v, rope %v", h.KV, h.Query, size, lengths, rope != nil)
					a, qkv, dy := attend(h, lengths...)
					want, got := like(dy), like(dy)
					a.forward(qkv, want)
					var y kernel.Halves
					wantLSE := append([]float32{}, a.lse...)
					for i, v := range a.shifts {
						wantLSE = append(wantLSE, float32(float64(v)*math.Ln2-math.Log(float64(a.inverses[i]))))
					}
					a.forwardHalf(halvesOf(qkv), &y)
					y.Expand(got)
					if e := distance(got.Data, want.Data); !(e < 0.006) {
						t.Errorf("%s: the result differs by %.3g of its norm", what, e)
					}
					if e := distance(a.lse, wantLSE); !(e < 0.006) {
						t.Errorf("%s: the log-sum-exp differs by %.3g of its norm", what, e)
					}
					wantGrad := like(qkv)
					a.backward(qkv, want, dy, wantGrad)
					a.qkv.act.halves, a.qkv.act.gradRounded, a.y.act.halves = halvesOf(qkv), true, &y
					v, err := a.differentiateHalf(valueOf(dy))
					if err != nil {
						t.Fatal(err)
					}
					gotGrad := values(v, qkv.Rows)
					if e := distance(gotGrad.Data, wantGrad.Data); !(e < 0.015) {
						t.Errorf("%s: gradients differ by %.3g of their norm", what, e)
					}
					again := like(qkv)
					a.g.mem.halves.Expand(again)
					for i, v := range again.Data {
						if v != kernel.FromHalf(kernel.ToHalf(gotGrad.Data[i])) {
							t.Fatalf("%s: gradient %d is %g, rounded %g", what, i, gotGrad.Data[i], v)
						}
					}
					if a.inBlocks() {
						pieces := &pieces{like(qkv)}
						a.qkv.act.taker = pieces
						a.begin()
						for b := range dy.N() {
							a.take(b, 0, dy.Blk(b))
						}
						if _, err := a.differentiateHalf(nil); err != nil || !slices.Equal(pieces.x.Data, gotGrad.Data) {
							t.Errorf("%s: gradients in pieces differ; %v", what, err)
						}
					}
				}
			}
		}
	}
}

// pieces takes a gradient in pieces.
type pieces struct{ x kernel.Tensor }

func (p *pieces) begin()                      {}
func (p *pieces) take(b, f int, dy []float32) { copy(p.x.Blk(b)[f*blk:], dy) }
func (p *pieces) gradient() G.Value           { return nil }

func valueOf(x kernel.Tensor) G.Value {
	return tensor.New(tensor.WithShape(x.N(), x.Rows, blk), tensor.WithBacking(x.Data))
}

// Memory for scores is taken once for a sequence, not again for each of its blocks of queries, which see more and more keys.
func TestAttentionAllocatesOnce(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	kernel.SetThreads(1)
	allocated := func(f func()) int64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return int64(after.TotalAlloc - before.TotalAlloc)
	}
	for _, size := range []int{kernel.SmallHead, 64} {
		h := Heads{Query: 1, KV: 1, Size: size}
		for _, half := range []bool{false, true} {
			const tokens = 4096
			a, qkv, dy := attend(h, tokens)
			y, dqkv, in, dyHalves, out := like(dy), like(qkv), halvesOf(qkv), halvesOf(dy), halvesOf(dy)
			// Scratch memory, two numbers for each query, and a mebibyte for all else.
			limit := int64(4*tokens*(h.scratchRows(half, true)+2)) + 1<<20
			got := allocated(func() {
				if half {
					a.forwardHalf(in, out)
					a.backwardHalf(in, out, dyHalves, func(*scratch) putter { return func([]float32, int, int, int) {} })
				} else {
					a.forward(qkv, y)
					a.backward(qkv, y, dy, dqkv)
				}
			})
			if got > limit {
				t.Errorf("heads of %d, in halves %v: %d bytes are allocated, more than %d", size, half, got, limit)
			}
		}
	}
}

// The attention of models of 110 million parameters and of 1.1 billion.
func BenchmarkAttentionInHalves(b *testing.B) {
	for name, s := range map[string]struct {
		heads   Heads
		lengths []int
	}{
		"110M/4x256":  {Heads{Query: 12, KV: 12, Size: 64, Rope: NewRope(64, 10000)}, []int{256, 256, 256, 256}},
		"1.1B/1x512":  {Heads{Query: 32, KV: 4, Size: 64, Rope: NewRope(64, 10000)}, []int{512}},
		"1.1B/1x4096": {Heads{Query: 32, KV: 4, Size: 64, Rope: NewRope(64, 10000)}, []int{4096}},
	} {
		a, qkv, dy := attend(s.heads, s.lengths...)
		in, dyHalves, dqkv := halvesOf(qkv), halvesOf(dy), halvesOf(qkv)
		var y kernel.Halves
		a.forwardHalf(in, &y)
		b.Run(name+"/forward", func(b *testing.B) {
			for b.Loop() {
				a.forwardHalf(in, &y)
			}
			b.ReportMetric(a.flops()*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GF/s")
		})
		b.Run(name+"/backward", func(b *testing.B) {
			for b.Loop() {
				a.backwardHalf(in, &y, dyHalves, func(*scratch) putter {
					return func(tile []float32, off, first, _ int) { dqkv.SetBand(first/blk, off, tile) }
				})
			}
			b.ReportMetric(2*a.flops()*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GF/s")
		})
	}
}
