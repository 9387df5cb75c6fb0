package model

import (
	"fmt"
	"os"
	"testing"

	"shira/internal/nn"
)

// BenchmarkPrompt scores one row of few tokens, in float32 and in bfloat16: what a short prompt waits for. What it cannot
// go below is reading every weight once; GB/s is the rate at which it does. SHIRA_BENCH_MODEL names another model directory.
func BenchmarkPrompt(b *testing.B) {
	dir := "../../../shared/data/llama/stories260K-hf"
	if d := os.Getenv("SHIRA_BENCH_MODEL"); d != "" {
		dir = d
	}
	if _, err := os.Stat(dir); err != nil {
		b.Skipf("no model at %s", dir)
	}
	for _, t := range []struct {
		name string
		load func(string) (*Model, error)
		size int // bytes of a weight
	}{{"float32", Load, 4}, {"bfloat16", LoadHalf, 2}} {
		m, err := t.load(dir)
		if err != nil {
			b.Fatal(err)
		}
		defer m.Close()
		g := nn.NewGraph(nn.Options{})
		loss, err := m.Loss(g)
		if err != nil {
			b.Fatal(err)
		}
		machine, err := g.Compile(loss)
		if err != nil {
			b.Fatal(err)
		}
		defer machine.Close()
		weights := 0 // of products; where the head is not tied, the embedding's table is counted for it
		for _, w := range m.Linears() {
			weights += w.Out * w.In
		}
		weights += m.VocabSize * m.Linears()[0].In
		for _, n := range []int{1, 8, 32, 128} {
			ids := make([]int32, n)
			for i := range ids {
				ids[i] = int32(3 + 7*i%(m.VocabSize-3))
			}
			batch := nn.Batch{IDs: ids, Targets: ids, Lengths: []int{n}, Scale: 1}
			b.Run(fmt.Sprintf("%s/tokens=%d", t.name, n), func(b *testing.B) {
				for b.Loop() {
					if _, err := machine.Run(batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(t.size*weights*b.N)/float64(b.Elapsed().Nanoseconds()), "GB/s")
			})
		}
	}
}
