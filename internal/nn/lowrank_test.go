package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/kernel"
)

// change is a way to train some weights of tiny other than in place.
type change struct {
	name string
	add  func(rng *rand.Rand, w *Weight)
}

func random(rng *rand.Rand, n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64() * scale)
	}
	return v
}

// lowRank returns factors of rank 3, so that bfloat16 has an odd number to pair.
func lowRank(rng *rand.Rand, w *Weight, t kernel.Basis) *LowRank {
	a, b := t.Sizes(3, w.Out, w.In)
	l := &LowRank{R: 3, Scale: 1.5, Basis: t, Seed: 7}
	l.A.Name, l.A.Value = w.Name+" A", random(rng, a, 0.3)
	l.B.Name, l.B.Value = w.Name+" B", random(rng, b, 0.3)
	return l
}

func gateOf(rng *rand.Rand, l *LowRank, name string, hidden int) *Gate {
	in := l.Basis.Components(l.R)
	g := &Gate{Hidden: hidden, Temperature: 0.5}
	wide := in
	if hidden > 0 {
		wide = hidden
		g.W1.Value, g.B1.Value = random(rng, hidden*in, 0.7), random(rng, hidden, 0.3)
	}
	g.W2.Value, g.B2.Value, g.Threshold.Value = random(rng, l.R*wide, 0.7), random(rng, l.R, 0.3), []float32{0.4, 0.5, 0.3}
	for i, p := range []*Param{&g.W1, &g.B1, &g.W2, &g.B2, &g.Threshold} {
		p.Name = fmt.Sprintf("%s gate %d", name, i)
	}
	return g
}

func entries(rng *rand.Rand, w *Weight) (rows, cols []int32) {
	for r := range w.Out {
		for c := range w.In {
			if rng.Float64() < 0.2 {
				rows, cols = append(rows, int32(r)), append(cols, int32(c))
			}
		}
	}
	return rows, cols
}

// values returns w's values, which are in one type or the other.
func (w *Weight) values() []float32 {
	if w.Data != nil {
		return w.Data
	}
	v := make([]float32, len(w.Half))
	for i, h := range w.Half {
		v[i] = kernel.FromHalf(h)
	}
	return v
}

func changes() []change {
	all := []change{
		{"lora", func(rng *rand.Rand, w *Weight) { w.Add(lowRank(rng, w, kernel.Plain)) }},
		{"lora dropout", func(rng *rand.Rand, w *Weight) {
			l := lowRank(rng, w, kernel.Plain)
			l.Dropout = 0.3
			w.Add(l)
		}},
		{"dora", func(rng *rand.Rand, w *Weight) {
			w.Add(lowRank(rng, w, kernel.Plain))
			w.SetMagnitude(random(rng, w.Out, 1), w.values())
		}},
		{"dora dropout", func(rng *rand.Rand, w *Weight) {
			l := lowRank(rng, w, kernel.Plain)
			l.Dropout = 0.3
			w.Add(l)
			w.SetMagnitude(random(rng, w.Out, 1), w.values())
		}},
		{"shira-dora sparse", func(rng *rand.Rand, w *Weight) {
			rows, cols := entries(rng, w)
			base := slices.Clone(w.values())
			NewSparse(w, base, rows, cols, random(rng, len(rows), 0.3))
			w.SetMagnitude(random(rng, w.Out, 1), base)
		}},
		{"shira-dora low-rank", func(rng *rand.Rand, w *Weight) {
			rows, cols := entries(rng, w)
			m := NewMasked(w, slices.Clone(w.values()), rows, cols, nil, lowRank(rng, w, kernel.Plain))
			for i := range m.Value {
				m.Value[i] *= 1 + float32(rng.NormFloat64())/4
			}
			w.Sync()
		}},
	}
	for _, t := range []kernel.Basis{kernel.Plain, kernel.Cosine, kernel.Fourier} {
		all = append(all, change{fmt.Sprintf("foura %d", t), func(rng *rand.Rand, w *Weight) { w.Add(lowRank(rng, w, t)) }})
		for _, hidden := range []int{0, 5} {
			all = append(all, change{fmt.Sprintf("foura %d, gate %d", t, hidden), func(rng *rand.Rand, w *Weight) {
				l := lowRank(rng, w, t)
				l.Gate = gateOf(rng, l, w.Name, hidden)
				w.Add(l)
			}})
		}
		all = append(all, change{fmt.Sprintf("foura %d, frozen", t), func(rng *rand.Rand, w *Weight) {
			l := lowRank(rng, w, t)
			l.Gate = &Gate{Mean: []float32{0.9, 0.1, 0.5}}
			w.Add(l)
		}})
	}
	return all
}

// changed names weights of every kind of projection, some of whose neighbours are frozen.
var changed = []string{"0.q", "0.v", "0.o", "0.up", "0.down", "1.k", "1.gate", "1.down"}

func (m *tiny) change(c change) {
	for i, w := range m.weights {
		if slices.Contains(changed, w.Name) {
			c.add(rand.New(rand.NewPCG(9, uint64(i))), w)
		}
	}
}

// follow makes products see changed parameters, with norms, which gradients take for constants, as they are.
func (m *tiny) follow() {
	for _, w := range m.weights {
		switch {
		case w.Masked != nil:
			w.Masked.LowRank.sync()
			w.Masked.apply(w)
		case w.Sparse != nil:
			w.Sparse.write(w)
		}
		for _, a := range w.LowRank {
			a.sync()
		}
		if w.Magnitude != nil {
			w.Magnitude.scale()
		}
	}
}

// TestChangedGradientsAgainstDifferences is TestGradientsAgainstDifferences for what is computed beside weights.
func TestChangedGradientsAgainstDifferences(t *testing.T) {
	for _, c := range changes() {
		t.Run(c.name, func(t *testing.T) {
			m := newTiny(3, false)
			m.change(c)
			machine := m.compile(t, true)
			defer machine.Close()
			b := m.batch(4, 40, 1, 7, 33)
			b.Number = 5
			run(t, machine, b)
			grads := map[string][]float32{}
			for _, p := range machine.Params() {
				grads[p.Name] = slices.Clone(p.Grad)
			}
			rng := rand.New(rand.NewPCG(5, 5))
			for _, p := range machine.Params() {
				start, dir := slices.Clone(p.Value), make([]float64, len(p.Value))
				var norm, want, size float64
				for i := range dir {
					dir[i] = rng.NormFloat64()
					norm += dir[i] * dir[i]
				}
				const step = 1e-2
				at := func(sign float64) float64 {
					for i, v := range start {
						p.Value[i] = v + float32(sign*step*dir[i]/math.Sqrt(norm))
					}
					m.follow()
					return run(t, machine, b).Loss * b.Scale
				}
				slope := (at(1) - at(-1)) / (2 * step)
				copy(p.Value, start)
				for i, g := range grads[p.Name] {
					want += float64(g) * dir[i] / math.Sqrt(norm)
					size += float64(g) * float64(g)
				}
				if size == 0 {
					t.Errorf("%s has no gradient", p.Name)
				}
				if math.Abs(slope-want) > 1e-2*math.Sqrt(size)+5e-5 {
					t.Errorf("%s: slope %.6f, gradient says %.6f (norm %.4f)", p.Name, slope, want, math.Sqrt(size))
				}
			}
		})
	}
}

// TestChangedCheckpointing wants the same bits from layers that are computed twice, and in bfloat16 about the same gradients
// as in float32.
func TestChangedCheckpointing(t *testing.T) {
	for _, c := range changes() {
		t.Run(c.name, func(t *testing.T) {
			var exact []float32
			for _, half := range []bool{false, true} {
				m := newTiny(3, false)
				for _, w := range m.weights {
					for i, v := range w.Data {
						w.Data[i] = kernel.FromHalf(kernel.ToHalf(v))
					}
				}
				if half {
					m.halved(false)
				}
				m.change(c)
				b := m.batch(4, 40, 1, 7, 33)
				b.Number = 5
				loss, got := gradients(t, m, Options{HalfActivations: half}, b)
				grads := slices.Clone(got)
				again, got := gradients(t, m, Options{HalfActivations: half, Checkpointing: true}, b)
				if loss != again || !slices.Equal(got, grads) {
					t.Errorf("half %v: checkpointing changes the gradients, or the loss of %v to %v", half, loss, again)
				}
				if !half {
					exact = grads
					continue
				}
				var diff, norm float64
				for i, g := range exact {
					diff += float64(grads[i]-g) * float64(grads[i]-g)
					norm += float64(g) * float64(g)
				}
				if e := math.Sqrt(diff / norm); e > 0.08 || e == 0 {
					t.Errorf("bfloat16 gradients differ by %.3g of their norm", e)
				}
			}
		})
	}
}

func TestChangedDoesNotDependOnThreads(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for _, c := range changes() {
		var want []float32
		for _, threads := range []int{1, 2, 5} {
			kernel.SetThreads(threads)
			m := newTiny(3, true)
			m.change(c)
			_, got := gradients(t, m, Options{}, m.batch(4, 40, 1, 7, 33))
			if want == nil {
				want = slices.Clone(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %d threads give other bits than one", c.name, threads)
			}
		}
	}
}

// TestDropoutFollowsTheNumber wants other values to be dropped in another run, and none in scoring.
func TestDropoutFollowsTheNumber(t *testing.T) {
	m := newTiny(3, true)
	m.change(change{"", func(rng *rand.Rand, w *Weight) {
		l := lowRank(rng, w, kernel.Plain)
		l.Dropout = 0.5
		w.Add(l)
	}})
	b := m.batch(4, 40, 7)
	machine, scorer := m.compile(t, true), m.compile(t, false)
	defer machine.Close()
	defer scorer.Close()
	first, score := run(t, machine, b).Loss, run(t, scorer, b).Loss
	b.Number = 1
	if second := run(t, machine, b).Loss; second == first || first == score {
		t.Errorf("losses %v and %v, without dropout %v", first, second, score)
	}
	for _, l := range m.weights {
		for _, a := range l.LowRank {
			a.Dropout = 0
		}
	}
	if got := run(t, machine, b).Loss; got != score {
		t.Errorf("loss %v without dropout, scoring says %v", got, score)
	}
}

func TestDropoutShare(t *testing.T) {
	x, y := make([]float32, 64*kernel.Block), make([]float32, 64*kernel.Block)
	for i := range x {
		x[i] = 1
	}
	newDropout(streamOf(1, "w"), 3, 0.25).apply(kernel.NewTensor(x, 8), kernel.NewTensor(y, 8), false)
	dropped, sum := 0, 0.0
	for _, v := range y {
		if v == 0 {
			dropped++
		}
		sum += float64(v)
	}
	if n := float64(len(x)); math.Abs(float64(dropped)/n-0.25) > 0.04 || math.Abs(sum/n-1) > 0.06 {
		t.Errorf("%d of %d dropped, mean %v", dropped, len(x), sum/n)
	}
}

// TestZeroChangeIsTheBase wants nothing to change where B is zero and a magnitude is the norm. With a magnitude, a residual is
// added to the finished product, so that the last bits may be others.
func TestZeroChangeIsTheBase(t *testing.T) {
	base := newTiny(3, false)
	b := base.batch(4, 40, 7)
	scorer := base.compile(t, false)
	defer scorer.Close()
	want := run(t, scorer, b).Loss
	for _, c := range changes() {
		m := newTiny(3, false)
		m.change(c)
		for _, w := range m.weights {
			for _, a := range w.LowRank {
				clear(a.B.Value)
			}
			switch {
			case w.Masked != nil:
				clear(w.Masked.B.Value)
				w.Sync()
				copy(w.Masked.Value, w.Masked.norms)
			case w.Magnitude != nil && w.Sparse != nil:
				clear(w.Sparse.Value)
			}
			w.Sync()
			if w.Magnitude != nil {
				copy(w.Magnitude.Value, w.Magnitude.norms)
				w.Sync()
			}
		}
		changed := m.compile(t, false)
		// A scale of one rounds as another order of sums does, in the last digit of a token's loss.
		if got := run(t, changed, b).Loss; math.Abs(got-want) > 1e-7*want {
			t.Errorf("%s: loss %v, want %v", c.name, got, want)
		}
		changed.Close()
	}
}

// TestGateIsCausal changes a sequence's last token and wants the losses of the others to stay.
func TestGateIsCausal(t *testing.T) {
	for _, c := range changes() {
		m := newTiny(3, false)
		m.change(c)
		machine := m.compile(t, false)
		b := m.batch(4, 50)
		for p := range b.Targets {
			b.Targets[p] = int32(p % m.vocab)
		}
		before := slices.Clone(run(t, machine, b).NLL)
		b.IDs[49] = (b.IDs[49] + 1) % int32(m.vocab)
		after := run(t, machine, b).NLL
		if !slices.Equal(before[:49], after[:49]) || before[49] == after[49] {
			t.Errorf("%s: a token's loss depends on a later one, or not on itself", c.name)
		}
		machine.Close()
	}
}

// TestNorms compares the norms of DoRA's directions with those of the weights written out.
func TestNorms(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, half := range []bool{false, true} {
		w := &Weight{Name: "w", Out: 40, In: 33, Data: random(rng, 40*33, 0.3)}
		clear(w.Data[:33])
		base := slices.Clone(w.Data)
		if half {
			w.Half = make([]uint16, len(base))
			kernel.RoundHalves(w.Half, base)
			w.Data = nil
		}
		l := lowRank(rng, w, kernel.Plain)
		clear(l.B.Value[:3])
		w.Add(l)
		m := w.SetMagnitude(nil, base)
		tolerance := 1e-5
		if half {
			tolerance = 1e-2
		}
		for i := range w.Out {
			var want float64
			for j := range w.In {
				v := float64(base[i*w.In+j])
				for k := range 3 {
					v += 1.5 * float64(l.B.Value[i*3+k]) * float64(l.A.Value[k*w.In+j])
				}
				want += v * v
			}
			if want = math.Sqrt(want); math.Abs(float64(m.norms[i])-want) > tolerance*want || m.factors[i] != 1 {
				t.Errorf("half %v, row %d: norm %v, want %v; factor %v", half, i, m.norms[i], want, m.factors[i])
			}
		}
	}
}

// TestFouRAReference compares one layer with the values of the reference implementation in float64.
func TestFouRAReference(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "golden", "foura.safetensors")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference values at %s", path)
	}
	ref := readReference(t, path)
	for _, transform := range []struct {
		name string
		t    kernel.Basis
	}{{"dct", kernel.Cosine}, {"dft", kernel.Fourier}, {"none", kernel.Plain}} {
		for _, kind := range []struct {
			name        string
			temperature float32
		}{{"none", 0.1}, {"soft", 0.1}, {"soft-warm", 0.5}, {"hard", 0.1}} {
			t.Run(transform.name+"-"+kind.name, func(t *testing.T) {
				get := func(name string) []float32 {
					v, ok := ref[transform.name+"-"+kind.name+"/"+name]
					if !ok {
						t.Fatalf("no %s", name)
					}
					return v
				}
				const tokens, in, out, r = 7, 24, 40, 4
				w := &Weight{Name: "w", Out: out, In: in, Data: get("W0")}
				l := &LowRank{R: r, Scale: 1.5, Basis: transform.t}
				l.A.Value, l.B.Value = get("A"), get("B")
				params := map[string]*Param{"A": &l.A, "B": &l.B}
				if kind.name != "none" {
					l.Gate = &Gate{Hidden: r, Temperature: kind.temperature, Hard: kind.name == "hard"}
					for name, p := range map[string]*Param{
						"W1": &l.Gate.W1, "b1": &l.Gate.B1, "W2": &l.Gate.W2, "b2": &l.Gate.B2, "theta": &l.Gate.Threshold,
					} {
						p.Value = get(name)
						params[name] = p
					}
				}
				for _, p := range params {
					p.Grad = make([]float32, len(p.Value))
				}
				w.Add(l)
				g := NewGraph(Options{Training: true})
				g.blocks = 1
				x, dy := featuresFirst(get("x"), tokens, in), featuresFirst(get("dy"), tokens, out)
				y, dx := kernel.NewTensor(make([]float32, out*kernel.Block), out), kernel.NewTensor(make([]float32, in*kernel.Block), in)
				g.mem.operand(w, x).mul(w, false, y, false)
				g.addChanges(w, operand{x: x}, y)
				g.mem.operand(w, dy).mul(w, true, dx, false)
				l.back(g, l.gradients(g, operand{x: x}, operand{x: dy}), dx)
				compare := func(name string, got, want []float32) {
					var diff, norm float64
					for i, v := range want {
						diff += float64(got[i]-v) * float64(got[i]-v)
						norm += float64(v) * float64(v)
					}
					if math.Sqrt(diff) > 3e-6*math.Sqrt(norm) {
						t.Errorf("%s is off by %.3g of its norm %.3g", name, math.Sqrt(diff/norm), math.Sqrt(norm))
					}
				}
				compare("y", y.Data, featuresFirst(get("y"), tokens, out).Data)
				compare("dx", dx.Data, featuresFirst(get("dx"), tokens, in).Data)
				for name, p := range params {
					compare("d"+name, p.Grad, get("d"+name))
				}
				if l.Gate == nil {
					return
				}
				want := get("g") // (tokens, r)
				for p := range tokens {
					for k := range r {
						if got := l.Gate.at(g.mem.beside.gate.open.data, r, 0, k, p); math.Abs(float64(got-want[p*r+k])) > 2e-6 {
							t.Errorf("gate %d of token %d is %v, want %v", k, p, got, want[p*r+k])
						}
					}
				}
			})
		}
	}
}

// featuresFirst lays out tokens × n values as one block.
func featuresFirst(v []float32, tokens, n int) kernel.Tensor {
	x := kernel.NewTensor(make([]float32, n*kernel.Block), n)
	for p := range tokens {
		for f := range n {
			x.Data[f*kernel.Block+p] = v[p*n+f]
		}
	}
	return x
}

// readReference returns a file's tensors in float32.
func readReference(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string][]float32{}
	for _, x := range f.Tensors() {
		if all[x.Name], err = x.Float32s(nil); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
