package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"shira/internal/kernel"
)

// Losses and gradients in bfloat16 are those of the rounded values, also where a logit is far above the first ones.
func TestPairedCrossEntropy(t *testing.T) {
	const vocab, width, tokens = 701, 16, 600
	blocks := kernel.Blocks(tokens)
	for name, scale := range map[string]float32{"near": 1, "far": 60} {
		r := rand.New(rand.NewPCG(1, 2))
		random := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = kernel.FromHalf(kernel.ToHalf(float32(r.NormFloat64())))
			}
			return v
		}
		w, x := random(vocab*width), kernel.NewTensor(random(blocks*width*kernel.Block), width)
		for i := 650 * width; i < 651*width; i++ {
			w[i] = kernel.FromHalf(kernel.ToHalf(w[i] * scale))
		}
		head := &Weight{Name: "head", Out: vocab, In: width, Half: make([]uint16, len(w))}
		head.Set(w)
		g := NewGraph(Options{Training: true})
		g.blocks, g.batch = blocks, Batch{Targets: make([]int32, tokens), Scale: 0.5}
		for p := range g.batch.Targets {
			if g.batch.Targets[p] = int32(r.IntN(vocab)); p%7 == 3 {
				g.batch.Targets[p] = Ignore
			}
		}
		c := &crossEntropy{g: g, head: head, rows: width, needGrad: true}
		c.scratch.New = func() any { return new([]float32) }
		if err := c.forward(x); err != nil {
			t.Fatal(err)
		}
		dx := kernel.NewTensor(g.mem.dNormed.data, width)
		at, farthest := 0, 0.0
		for p, target := range g.batch.Targets {
			value := func(x kernel.Tensor, f int) float64 {
				return float64(x.Blk(p / kernel.Block)[f*kernel.Block+p%kernel.Block])
			}
			logits, peak, sum := make([]float64, vocab), math.Inf(-1), 0.0
			for v := range logits {
				for f := range width {
					logits[v] += float64(w[v*width+f]) * value(x, f)
				}
				peak = max(peak, logits[v])
			}
			for _, l := range logits {
				sum += math.Exp(l - peak)
			}
			grads := make([]float64, width)
			if target != Ignore {
				if want := math.Log(sum) + peak - logits[target]; math.Abs(float64(g.result.NLL[at])-want) > 1e-4*(1+want) {
					t.Fatalf("%s: loss %g of position %d, want %g", name, g.result.NLL[at], p, want)
				}
				at++
				farthest = max(farthest, peak)
				for v, l := range logits {
					d := math.Exp(l-peak) / sum
					if v == int(target) {
						d--
					}
					for f := range grads {
						grads[f] += 0.5 * d * float64(w[v*width+f])
					}
				}
			}
			var diff, norm float64
			for f, want := range grads {
				diff, norm = diff+math.Pow(value(dx, f)-want, 2), norm+want*want
			}
			if math.Sqrt(diff) > 0.01*math.Sqrt(norm)+1e-4*float64(scale) {
				t.Fatalf("%s: gradients of position %d differ by %g of %g", name, p, math.Sqrt(diff), math.Sqrt(norm))
			}
		}
		if far := farthest > 200; far != (name == "far") {
			t.Errorf("%s: the largest logit is %g", name, farthest)
		}
	}
}
