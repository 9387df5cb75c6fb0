package model

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/adapter/mask"
	"shira/internal/nn"
)

// BenchmarkStep measures forward and backward of a SHiRA training step, as the peers' script does: random tokens, five
// targets. SHIRA_BENCH_MODEL names another model directory; it is then measured at 4×256 tokens and r=32,
// SHIRA_BENCH_DTYPE=bfloat16 products in that type.
func BenchmarkStep(b *testing.B) {
	dir, rows, rank := "../../../shared/data/llama/stories260K-hf", 8, 2
	if d := os.Getenv("SHIRA_BENCH_MODEL"); d != "" {
		dir, rows, rank = d, 4, 32
	}
	if _, err := os.Stat(dir); err != nil {
		b.Skipf("no model at %s", dir)
	}
	const length = 256
	load, half := Load, os.Getenv("SHIRA_BENCH_DTYPE") == "bfloat16"
	if half {
		load = LoadHalf
	}
	m, err := load(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for _, w := range m.Linears() {
		if strings.HasSuffix(w.Name, "o_proj") || strings.HasSuffix(w.Name, "gate_proj") {
			continue
		}
		s, err := mask.Lookup("rand")
		if err != nil {
			b.Fatal(err)
		}
		flat, err := s.Select(mask.Request{Name: w.Name, Out: w.Out, In: w.In, K: mask.BudgetR(rank, w.Out, w.In)})
		if err != nil {
			b.Fatal(err)
		}
		d := adapter.NewSparse(w.Name, w.Out, w.In, flat)
		m.Own(w)
		base, err := m.Values(w)
		if err != nil {
			b.Fatal(err)
		}
		nn.NewSparse(w, base, d.RowIdx, d.ColIdx, nil)
	}
	g := nn.NewGraph(nn.Options{Training: true, HalfActivations: half})
	loss, err := m.Loss(g)
	if err != nil {
		b.Fatal(err)
	}
	machine, err := g.Compile(loss)
	if err != nil {
		b.Fatal(err)
	}
	defer machine.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	ids := make([]int64, rows*length)
	for i := range ids {
		ids[i] = int64(3 + rng.IntN(m.VocabSize-3))
	}
	batch := batchOf(ids, ids, rows, length)
	if _, err := machine.Run(batch); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := machine.Run(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(ids)*b.N)/b.Elapsed().Seconds(), "tok/s")
}
