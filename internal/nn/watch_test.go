package nn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// gradsOf returns copies of the gradients of the last run.
func gradsOf(m *Machine) (grads []float32) {
	for _, p := range m.Params() {
		grads = append(grads, p.Grad...)
	}
	return grads
}

// TestWatchChangesNothing wants from a run that is watched the gradients of one that is not, and no operator where all is finite:
// to show values that exist in bfloat16 alone, it writes to memory that others share.
func TestWatchChangesNothing(t *testing.T) {
	for name, train := range map[string]func(*tiny){
		"sparse": func(m *tiny) { m.sparse(0.2, "0.q", "0.k", "0.v", "0.up", "0.down", "1.q", "1.up", "1.down") },
		"mixed": func(m *tiny) {
			m.sparse(0.2, "0.q", "0.up", "1.down")
			rng := rand.New(rand.NewPCG(7, 7))
			for _, w := range []*Weight{m.layers[0].v, m.layers[1].k, m.layers[1].gate} {
				w.Add(lowRank(rng, w, kernel.Plain))
			}
		},
		"mixed the other way": func(m *tiny) {
			m.sparse(0.2, "1.q", "1.up", "0.down")
			rng := rand.New(rand.NewPCG(7, 7))
			for _, w := range []*Weight{m.layers[1].v, m.layers[0].gate, m.layers[1].down} {
				w.Add(lowRank(rng, w, kernel.Plain))
			}
		},
		"with and without bias": func(m *tiny) {
			m.sparse(0.2, "0.up", "0.q", "1.up", "1.q")
			for _, w := range []*Weight{m.layers[1].up, m.layers[1].q, m.layers[1].k} {
				w.Bias = nil
			}
		},
		"tallied": func(m *tiny) { NewTally(m.layers[0].gate, make([]float32, m.layers[0].gate.Out*m.width)) },
	} {
		for _, size := range []int{6, 32, 64} {
			for _, half := range []bool{false, true} {
				for _, o := range []Options{{}, {HalfActivations: true}, {Checkpointing: true}, {HalfActivations: true, Checkpointing: true}} {
					m := newTinyOf(3, true, size)
					if half {
						m.halved(false)
					}
					train(m)
					o.Training = true
					g := NewGraph(o)
					machine, err := g.Compile(m.loss(g))
					if err != nil {
						t.Fatal(err)
					}
					b := m.batch(4, 64, 32, 40)
					run(t, machine, b)
					want := gradsOf(machine)
					var tally []float32
					if w := m.layers[0].gate; w.Tally != nil {
						tally = slices.Clone(w.Tally.Sum)
					}
					what := fmt.Sprintf("%s, heads of %d, bfloat16 %v, %+v", name, size, half, o)
					if found := machine.FirstNotFinite(b); found != "" {
						t.Errorf("%s: %q is not finite", what, found)
					}
					if !slices.Equal(gradsOf(machine), want) {
						t.Errorf("%s: gradients differ by %.2g of their norm", what, distance(gradsOf(machine), want))
					}
					if w := m.layers[0].gate; w.Tally != nil && !slices.Equal(w.Tally.Sum, tally) {
						t.Errorf("%s: the tally has changed", what)
					}
					machine.Close()
				}
			}
		}
	}
}

// TestRunAfterOneThatEndedEarly ends runs at each operator in turn, as a watch does, and wants of the next one, whose gradients go
// other ways, what it gives alone.
func TestRunAfterOneThatEndedEarly(t *testing.T) {
	m := newTinyOf(3, true, 32)
	m.sparse(0.2, "0.q", "0.k", "0.down", "1.v", "1.q", "1.up")
	m.halved(false)
	g := NewGraph(Options{Training: true, HalfActivations: true})
	machine, err := g.Compile(m.loss(g))
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	whole, odd := m.batch(1, 64, 32), m.batch(2, 40, 17)
	run(t, machine, odd)
	want := gradsOf(machine)
	ended := 0
	for _, n := range g.graph.AllNodes() {
		o, ok := n.Op().(*op)
		if !ok {
			continue
		}
		do := o.do
		o.do = func(in []G.Value) (G.Value, error) {
			if _, err := do(in); err != nil {
				return nil, err
			}
			return nil, errFound
		}
		if _, err := machine.Run(whole); err != nil {
			ended++
		}
		o.do = do
		run(t, machine, odd)
		if !slices.Equal(gradsOf(machine), want) {
			t.Errorf("after a run that ended at %s, gradients differ by %.2g of their norm", o.name, distance(gradsOf(machine), want))
		}
	}
	if ended < 20 {
		t.Errorf("%d runs have ended early", ended)
	}
}
