package nn

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"shira/internal/kernel"
)

// wide is a decoder of two layers whose activations outweigh all else that a run allocates.
func wide(seed uint64) *tiny {
	const width, vocab, hidden, size = 256, 3000, 512, 64
	rng := rand.New(rand.NewPCG(seed, 3))
	m := &tiny{heads: Heads{Query: 4, KV: 2, Size: size, Rope: NewRope(size, 10000)}, vocab: vocab, width: width}
	weight := func(name string, out, in int) *Weight {
		w := &Weight{Name: name, Out: out, In: in, Data: random(rng, out*in, 0.05)}
		m.weights = append(m.weights, w)
		return w
	}
	gain := func(name string) *Gain { return &Gain{Name: name, Data: random(rng, width, 0.5)} }
	m.embed, m.norm = weight("embed", vocab, width), gain("norm")
	for i := range 2 {
		n := func(s string) string { return fmt.Sprintf("%d.%s", i, s) }
		m.layers = append(m.layers, tinyLayer{
			in: gain(n("in")), post: gain(n("post")),
			q: weight(n("q"), 4*size, width), k: weight(n("k"), 2*size, width), v: weight(n("v"), 2*size, width), o: weight(n("o"), width, 4*size),
			gate: weight(n("gate"), hidden, width), up: weight(n("up"), hidden, width), down: weight(n("down"), width, hidden),
		})
	}
	m.head = weight("head", vocab, width)
	return m
}

// TestMemoryIsWhatStays holds the estimate to what a graph's run leaves in memory for the next one, but for what is in pools.
func TestMemoryIsWhatStays(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	kernel.SetThreads(1) // each has scratch memory that it need not use
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools keep goes in the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	pooled := func(g *Graph) int64 {
		rows := 0
		switch {
		case !g.Training:
			rows = scoreRows
		case g.loss.paired():
			rows = trainRows
		}
		return int64(4*kernel.Block*kernel.Blocks(512)*rows*kernel.Threads()) + g.productMemory(int64(kernel.Blocks(512)))
	}
	for name, train := range map[string]func(*tiny){
		"sparse": func(m *tiny) { m.sparse(0.05, "0.q", "0.k", "0.up", "0.down", "1.v", "1.up", "1.down") },
		"low rank": func(m *tiny) {
			m.change(change{add: func(rng *rand.Rand, w *Weight) { w.Add(lowRank(rng, w, kernel.Plain)) }})
		},
	} {
		for _, half := range []bool{false, true} {
			for _, o := range []Options{{}, {Training: true}, {Training: true, Checkpointing: true}} {
				for _, lengths := range [][]int{{512}, {100, 312, 100}} {
					m := wide(1)
					if half {
						m.halved(false)
					}
					train(m)
					o.HalfActivations = half
					g := NewGraph(o)
					machine, err := g.Compile(m.loss(g))
					if err != nil {
						t.Fatal(err)
					}
					b := m.batch(2, lengths...)
					for i := range b.Targets {
						b.Targets[i] = max(b.Targets[i], 0) // all count
					}
					before := live()
					run(t, machine, b)
					got := live() - before
					e := g.Memory(len(b.IDs), slices.Max(lengths))
					want := e.Activations + e.Shared + e.Logits + e.Attention - pooled(g)
					ratio := float64(got) / float64(want)
					if ratio < 0.9 || ratio > 1.07 {
						t.Errorf("%s, bfloat16 %v, %+v, lengths %v: %d bytes stay, %.2f of the estimate", name, half, o, lengths, got, ratio)
					}
					machine.Close()
				}
			}
		}
	}
}
