package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"weak"

	"shira/internal/kernel"
)

// tiny is a decoder of two layers with odd shapes: grouped queries, biases, a vocabulary that fills no block.
type tiny struct {
	heads        Heads
	embed, head  *Weight
	layers       []tinyLayer
	norm         *Gain
	weights      []*Weight
	gains        []*Gain
	vocab, width int
}

type tinyLayer struct {
	in, post                   *Gain
	q, k, v, o, gate, up, down *Weight
}

func newTiny(seed uint64, tied bool) *tiny { return newTinyOf(seed, tied, 6) }

// newTinyOf has heads of the given size.
func newTinyOf(seed uint64, tied bool, size int) *tiny {
	const width, vocab, hidden = 20, 37, 28
	rng := rand.New(rand.NewPCG(seed, 1))
	m := &tiny{heads: Heads{Query: 4, KV: 2, Size: size, Rope: NewRope(size, 10000)}, vocab: vocab, width: width}
	random := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * scale)
		}
		return v
	}
	gain := func(name string, n int) *Gain {
		g := &Gain{Name: name, Data: random(n, 0.5)}
		m.gains = append(m.gains, g)
		return g
	}
	weight := func(name string, out, in int, bias bool) *Weight {
		w := &Weight{Name: name, Out: out, In: in, Data: random(out*in, 0.4)}
		if bias {
			w.Bias = gain(name+".bias", out)
		}
		m.weights = append(m.weights, w)
		return w
	}
	m.embed = weight("embed", vocab, width, false)
	for i := range 2 {
		n := func(s string) string { return fmt.Sprintf("%d.%s", i, s) }
		m.layers = append(m.layers, tinyLayer{
			in: gain(n("in"), width), post: gain(n("post"), width),
			q: weight(n("q"), 4*size, width, true), k: weight(n("k"), 2*size, width, true), v: weight(n("v"), 2*size, width, false),
			o: weight(n("o"), width, 4*size, true), gate: weight(n("gate"), hidden, width, false), up: weight(n("up"), hidden, width, true),
			down: weight(n("down"), width, hidden, false),
		})
	}
	m.norm = gain("norm", width)
	m.head = m.embed
	m.embed.Tied = tied
	if !tied {
		m.head = weight("head", vocab, width, false)
	}
	return m
}

func must(v *Var, err error) *Var {
	if err != nil {
		panic(err)
	}
	return v
}

func (m *tiny) loss(g *Graph) *Var {
	const eps = 1e-5
	x := must(g.Embed(m.embed))
	for _, l := range m.layers {
		h := must(g.RMSNorm(x, l.in, eps))
		a := must(g.Attention(must(g.Linear(QKV, h, nil, l.q, l.k, l.v)), m.heads))
		x = must(g.Linear(Out, a, x, l.o))
		h = must(g.RMSNorm(x, l.post, eps))
		x = must(g.Linear(Down, must(g.SwiGLU(must(g.Linear(GateUp, h, nil, l.gate, l.up)))), x, l.down))
	}
	return must(g.CrossEntropy(must(g.RMSNorm(x, m.norm, eps)), m.head))
}

func (m *tiny) compile(t *testing.T, training bool) *Machine {
	t.Helper()
	g := NewGraph(Options{Training: training})
	machine, err := g.Compile(m.loss(g))
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

func (m *tiny) batch(seed uint64, lengths ...int) Batch {
	rng := rand.New(rand.NewPCG(seed, 2))
	b := Batch{Lengths: lengths}
	counted := 0
	for _, n := range lengths {
		for p := range n {
			b.IDs = append(b.IDs, int32(rng.IntN(m.vocab)))
			target := int32(rng.IntN(m.vocab))
			if p == n-1 || rng.IntN(4) == 0 {
				target = Ignore
			} else {
				counted++
			}
			b.Targets = append(b.Targets, target)
		}
	}
	b.Scale = 1 / float64(max(1, counted))
	return b
}

// trainDense makes everything trainable.
func (m *tiny) trainDense() {
	for _, w := range m.weights {
		w.Dense = &Param{Name: w.Name + ".weight", Value: w.Data}
	}
	for _, g := range m.gains {
		g.Dense = &Param{Name: g.Name, Value: g.Data}
	}
}

func run(t *testing.T, m *Machine, b Batch) *Result {
	t.Helper()
	r, err := m.Run(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGradientsAgainstDifferences compares every parameter's gradient along a random direction with the central
// difference of the loss along it.
func TestGradientsAgainstDifferences(t *testing.T) {
	for _, tied := range []bool{false, true} {
		m := newTiny(3, tied)
		m.trainDense()
		machine := m.compile(t, true)
		defer machine.Close()
		b := m.batch(4, 40, 1, 7, 33)
		run(t, machine, b)
		grads := map[string][]float32{}
		for _, p := range machine.Params() {
			grads[p.Name] = slices.Clone(p.Grad)
		}
		if want := len(m.weights) + len(m.gains); len(grads) != want {
			t.Fatalf("%d parameters are trained, want %d", len(grads), want)
		}
		rng := rand.New(rand.NewPCG(5, 5))
		for _, p := range machine.Params() {
			start, dir := slices.Clone(p.Value), make([]float64, len(p.Value))
			var norm, want float64
			for i := range dir {
				dir[i] = rng.NormFloat64()
				norm += dir[i] * dir[i]
			}
			const step = 2e-2
			at := func(sign float64) float64 {
				for i, v := range start {
					p.Value[i] = v + float32(sign*step*dir[i]/math.Sqrt(norm))
				}
				return run(t, machine, b).Loss * b.Scale
			}
			slope := (at(1) - at(-1)) / (2 * step)
			copy(p.Value, start)
			var size float64
			for i, g := range grads[p.Name] {
				want += float64(g) * dir[i] / math.Sqrt(norm)
				size += float64(g) * float64(g)
			}
			if math.Abs(slope-want) > 5e-3*math.Sqrt(size)+2e-5 {
				t.Errorf("tied %v, %s: slope %.6f, gradient says %.6f (norm %.4f)", tied, p.Name, slope, want, math.Sqrt(size))
			}
		}
	}
}

// sparse makes share of the entries of the named weights trainable.
func (m *tiny) sparse(share float64, names ...string) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, w := range m.weights {
		if !slices.Contains(names, w.Name) {
			continue
		}
		var rows, cols []int32
		for r := range w.Out {
			for c := range w.In {
				if rng.Float64() < share {
					rows, cols = append(rows, int32(r)), append(cols, int32(c))
				}
			}
		}
		NewSparse(w, w.values(), rows, cols, nil)
	}
}

// TestSampledGradientsEqualDense checks the sampled gradients, with any part of the model frozen, against the dense ones.
func TestSampledGradientsEqualDense(t *testing.T) {
	dense := newTiny(3, false)
	dense.trainDense()
	reference := dense.compile(t, true)
	defer reference.Close()
	b := dense.batch(4, 40, 1, 7, 33)
	loss := run(t, reference, b).Loss
	want := map[string][]float32{}
	for _, p := range reference.Params() {
		want[p.Name] = p.Grad
	}
	for _, names := range [][]string{
		{"0.q", "0.k", "0.v", "0.up", "0.down", "1.q", "1.k", "1.v", "1.up", "1.down"},
		{"0.v"}, {"1.down"}, {"1.gate", "1.o"}, {"0.o", "1.k"},
	} {
		m := newTiny(3, false)
		m.sparse(0.2, names...)
		machine := m.compile(t, true)
		defer machine.Close()
		if got := run(t, machine, b).Loss; got != loss {
			t.Errorf("%v: loss %v, want %v", names, got, loss)
		}
		if len(machine.Params()) != len(names) {
			t.Errorf("%v: %d parameters", names, len(machine.Params()))
		}
		for _, w := range m.weights {
			s := w.Sparse
			if s == nil {
				continue
			}
			full := want[w.Name+".weight"]
			for r := range w.Out {
				for i := s.Ptr[r]; i < s.Ptr[r+1]; i++ {
					g := full[r*w.In+int(s.Cols[i])]
					if math.Abs(float64(s.Grad[i]-g)) > 1e-5*(1+math.Abs(float64(g))) {
						t.Fatalf("%v: gradient of %s at (%d,%d) is %v, want %v", names, w.Name, r, s.Cols[i], s.Grad[i], g)
					}
				}
			}
		}
	}
}

// TestTally wants the sum over runs of the gradients that dense training has, of some weights, and no other effect.
func TestTally(t *testing.T) {
	batches := func(m *tiny) []Batch { return []Batch{m.batch(5, 40, 3), m.batch(6, 17)} }
	dense := newTiny(4, false)
	dense.trainDense()
	machine := dense.compile(t, true)
	defer machine.Close()
	want := map[string][]float64{}
	for _, b := range batches(dense) {
		run(t, machine, b)
		for _, w := range dense.weights {
			for i, g := range w.Dense.Grad {
				if want[w.Name] == nil {
					want[w.Name] = make([]float64, len(w.Data))
				}
				want[w.Name][i] += float64(g)
			}
		}
	}

	m := newTiny(4, false)
	picked := []*Weight{m.layers[0].v, m.layers[0].gate, m.layers[1].q, m.layers[1].down}
	for _, w := range picked {
		NewTally(w, make([]float32, len(w.Data)))
	}
	tallying := m.compile(t, true)
	defer tallying.Close()
	for _, b := range batches(m) {
		run(t, tallying, b)
	}
	for _, w := range picked {
		var diff, norm float64
		for i, g := range w.Tally.Sum {
			diff += math.Pow(float64(g)-want[w.Name][i], 2)
			norm += want[w.Name][i] * want[w.Name][i]
		}
		if norm == 0 || diff > 1e-10*norm {
			t.Errorf("%s: the gradient differs by %.2g of its norm", w.Name, math.Sqrt(diff/norm))
		}
	}
	for i, w := range m.weights {
		if !slices.Equal(w.Data, dense.weights[i].Data) {
			t.Errorf("%s has changed", w.Name)
		}
	}
}

func TestGradientsDoNotDependOnThreads(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	var want []float32
	for _, threads := range []int{1, 2, 3, 7} {
		kernel.SetThreads(threads)
		m := newTiny(3, true)
		m.trainDense()
		machine := m.compile(t, true)
		run(t, machine, m.batch(4, 40, 1, 7, 33))
		var got []float32
		for _, p := range machine.Params() {
			got = append(got, p.Grad...)
		}
		machine.Close()
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d threads give other bits than one", threads)
		}
	}
}

func TestSyncWritesBasePlusValue(t *testing.T) {
	w := &Weight{Name: "w", Out: 2, In: 3, Data: []float32{1, 2, 3, 4, 5, 6}}
	s := NewSparse(w, w.Data, []int32{0, 1, 1}, []int32{2, 0, 1}, []float32{10, 0, -5})
	if want := []float32{1, 2, 13, 4, 0, 6}; !slices.Equal(w.Data, want) {
		t.Fatalf("after start: %v, want %v", w.Data, want)
	}
	copy(s.Value, []float32{0, 0.5, 0})
	w.Sync()
	if want := []float32{1, 2, 3, 4.5, 5, 6}; !slices.Equal(w.Data, want) {
		t.Fatalf("after a step: %v, want %v", w.Data, want)
	}
}

func TestBadBatches(t *testing.T) {
	m := newTiny(3, true)
	machine := m.compile(t, false)
	defer machine.Close()
	good := m.batch(1, 5)
	want := run(t, machine, good).Loss
	for name, spoil := range map[string]func(*Batch){
		"id outside the vocabulary":     func(b *Batch) { b.IDs[2] = int32(m.vocab) },
		"negative id":                   func(b *Batch) { b.IDs[2] = -1 },
		"target outside the vocabulary": func(b *Batch) { b.Targets[0] = int32(m.vocab) },
		"lengths too short":             func(b *Batch) { b.Lengths = []int{4} },
		"empty sequence":                func(b *Batch) { b.Lengths = []int{5, 0} },
		"scale":                         func(b *Batch) { b.Scale = math.Inf(1) },
	} {
		b := Batch{IDs: slices.Clone(good.IDs), Targets: slices.Clone(good.Targets), Lengths: slices.Clone(good.Lengths), Scale: good.Scale}
		spoil(&b)
		if _, err := machine.Run(b); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := run(t, machine, good).Loss; got != want { // the machine survives, from its first instruction on
			t.Errorf("%s: then loss %v, want %v", name, got, want)
		}
	}
}

// Operators refuse what has another shape than they take.
func TestBadShapes(t *testing.T) {
	table, weight := &Weight{Name: "table", Out: 3, In: 7, Data: make([]float32, 21)}, &Weight{Name: "w", Out: 5, In: 8, Data: make([]float32, 40)}
	of := func(out int) *Weight { return &Weight{Name: "w", Out: out, In: 7, Data: make([]float32, 7*out)} }
	heads := Heads{Query: 4, KV: 2, Size: 2}
	with := func(change func(*Heads)) Heads {
		h := heads
		change(&h)
		return h
	}
	attend := func(rows int, h Heads) func(*Graph, *Var) (*Var, error) {
		return func(g *Graph, x *Var) (*Var, error) { return g.Attention(must(g.Linear(QKV, x, nil, of(rows))), h) }
	}
	for _, c := range []struct {
		want  string
		build func(g *Graph, x *Var) (*Var, error)
	}{
		{"w takes 8 features, not 7", func(g *Graph, x *Var) (*Var, error) { return g.Linear(QKV, x, nil, weight) }},
		{"w gives 6 features, to be added to 7", func(g *Graph, x *Var) (*Var, error) { return g.Linear(Out, x, x, of(6)) }},
		{"w takes 8 features, not 7", func(g *Graph, x *Var) (*Var, error) { return g.Logits(x, weight) }},
		{"w takes 8 features, not 7", func(g *Graph, x *Var) (*Var, error) { return g.CrossEntropy(x, weight) }},
		{"gain takes 6 features, not 7", func(g *Graph, x *Var) (*Var, error) {
			return g.RMSNorm(x, &Gain{Name: "gain", Data: make([]float32, 6)}, 1e-5)
		}},
		{"SwiGLU takes an even number of features, not 7", func(g *Graph, x *Var) (*Var, error) { return g.SwiGLU(x) }},
		{"attention takes 16 features, not 15", attend(15, heads)},
		{"attention with 4 query heads and 3 key/value heads of size 2", attend(20, with(func(h *Heads) { h.KV = 3 }))},
		{"attention with 4 query heads and 0 key/value heads of size 2", attend(8, with(func(h *Heads) { h.KV = 0 }))},
		{"rotary positions for heads of size 4, not 2", attend(16, with(func(h *Heads) { h.Rope = NewRope(4, 10000) }))},
	} {
		g := NewGraph(Options{})
		if _, err := c.build(g, must(g.Embed(table))); err == nil || err.Error() != c.want {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestNothingToTrain(t *testing.T) {
	m := newTiny(3, true)
	g := NewGraph(Options{Training: true})
	if _, err := g.Compile(m.loss(g)); err == nil {
		t.Error("compiled a training graph without parameters")
	}
}

// TestMachinesAreCollected guards against a cycle through the tape machine's finalizer, which would keep every model of
// a process alive.
func TestMachinesAreCollected(t *testing.T) {
	var alive []weak.Pointer[tiny]
	for range 5 {
		m := newTiny(3, true)
		m.trainDense()
		machine := m.compile(t, true)
		run(t, machine, m.batch(4, 40))
		machine.Close()
		alive = append(alive, weak.Make(m))
	}
	for range 5 {
		runtime.GC()
	}
	n := 0
	for _, p := range alive {
		if p.Value() != nil {
			n++
		}
	}
	if n > 1 {
		t.Errorf("%d of %d models are still reachable", n, len(alive))
	}
}

// TestScoringBesideTraining runs an inference graph over the weights of a training graph.
func TestScoringBesideTraining(t *testing.T) {
	m := newTiny(3, true)
	m.trainDense()
	machine, scorer := m.compile(t, true), m.compile(t, false)
	defer machine.Close()
	defer scorer.Close()
	b := m.batch(4, 40, 7)
	if got, want := run(t, scorer, b).Loss, run(t, machine, b).Loss; got != want {
		t.Errorf("scoring gives loss %v, training %v", got, want)
	}
	if len(scorer.Params()) != 0 {
		t.Errorf("the scoring graph has %d parameters", len(scorer.Params()))
	}
}
