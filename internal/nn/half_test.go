package nn

import (
	"math"
	"slices"
	"testing"

	"shira/internal/kernel"
)

// gradients compiles m for training and returns the loss and all gradients of two runs of b, the second of which must not
// see what the first left behind.
func gradients(t *testing.T, m *tiny, o Options, b Batch) (loss float64, grads []float32) {
	t.Helper()
	o.Training = true
	g := NewGraph(o)
	machine, err := g.Compile(m.loss(g))
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	for range 2 {
		loss, grads = run(t, machine, b).Loss, nil
		for _, p := range machine.Params() {
			grads = append(grads, p.Grad...)
		}
	}
	return loss, grads
}

func TestCheckpointingChangesNoBit(t *testing.T) {
	for name, train := range map[string]func(*tiny){
		"all":    (*tiny).trainDense,
		"sparse": func(m *tiny) { m.sparse(0.2, "0.q", "0.up", "1.k", "1.o", "1.gate", "1.down") },
		"upper":  func(m *tiny) { m.sparse(0.2, "1.v") },
	} {
		m := newTiny(3, true)
		train(m)
		b := m.batch(4, 40, 1, 7, 33)
		loss, grads := gradients(t, m, Options{}, b)
		want := slices.Clone(grads)
		again, got := gradients(t, m, Options{Checkpointing: true}, b)
		if loss != again || !slices.Equal(got, want) {
			t.Errorf("%s: other gradients, or a loss of %v, not %v", name, again, loss)
		}
	}
}

func TestCheckpointingNeedsLessMemory(t *testing.T) {
	m := newTiny(3, true)
	m.trainDense()
	kept := func(o Options) int64 {
		g := NewGraph(o)
		if _, err := g.Compile(m.loss(g)); err != nil {
			t.Fatal(err)
		}
		return g.Memory(256, 64).Activations
	}
	all, half := kept(Options{Training: true}), kept(Options{Training: true, HalfActivations: true})
	inputs := kept(Options{Training: true, Checkpointing: true})
	if half >= all || inputs >= half {
		t.Errorf("%d bytes kept, %d with bfloat16, %d with checkpointing", all, half, inputs)
	}
	// The inputs of two layers and of the head, and a number for each of 4 heads of two layers, of 8 blocks.
	if want := int64((3*20 + 2*4) * 8 * kernel.Block * 4); inputs != want {
		t.Errorf("%d bytes kept with checkpointing, want %d", inputs, want)
	}
}

// halved rounds m's matrices to bfloat16, which products then use; exact values stay in Data with keep.
func (m *tiny) halved(keep bool) {
	for _, w := range m.weights {
		w.Half = make([]uint16, len(w.Data))
		kernel.RoundHalves(w.Half, w.Data)
		if !keep {
			w.Data = nil
		}
	}
}

// TestHalf compares training in bfloat16 with float32 on the rounded weights: rounding the activations costs each
// gradient some parts in a hundred, an error in the computation all of it.
func TestHalf(t *testing.T) { testHalf(t, 6, 4, 40, 1, 7, 33) }

// TestHalfInPieces is TestHalf where attention works in whole blocks and tiles, so that its gradients go on in pieces.
func TestHalfInPieces(t *testing.T) {
	testHalf(t, 32, 64, 32, 40)
	testHalf(t, 64, 64, 32, 40, 5)
}

func testHalf(t *testing.T, size int, lengths ...int) {
	t.Helper()
	names := []string{"0.q", "0.k", "0.v", "0.o", "0.up", "0.down", "1.q", "1.k", "1.v", "1.up", "1.down"}
	exact, half := newTinyOf(3, true, size), newTinyOf(3, true, size)
	for _, w := range exact.weights {
		for i, v := range w.Data {
			w.Data[i] = kernel.FromHalf(kernel.ToHalf(v))
		}
	}
	b := exact.batch(4, lengths...)
	exact.sparse(0.2, names...)
	half.sparse(0.2, names...)
	half.halved(false)
	loss, want := gradients(t, exact, Options{}, b)
	var kept []float32
	for _, o := range []Options{{}, {HalfActivations: true}, {HalfActivations: true, Checkpointing: true}} {
		again, got := gradients(t, half, o, b)
		if o.HalfActivations && !o.Checkpointing {
			kept = slices.Clone(got)
		} else if o.Checkpointing && !slices.Equal(got, kept) {
			t.Error("checkpointing changes the gradients")
		}
		if math.Abs(again-loss) > 5e-3*loss {
			t.Errorf("%+v: loss %v, want about %v", o, again, loss)
		}
		var diff, norm float64
		for i, g := range want {
			diff += float64(got[i]-g) * float64(got[i]-g)
			norm += float64(g) * float64(g)
		}
		if e := math.Sqrt(diff / norm); e > 0.03 || e == 0 {
			t.Errorf("%+v: gradients differ by %.3g of their norm", o, e)
		}
	}
}

// TestHalfWithMasters trains everything: products read the rounded copy, Sync renews it.
func TestHalfWithMasters(t *testing.T) {
	m := newTiny(3, false)
	m.trainDense()
	m.halved(true)
	b := m.batch(4, 40)
	before, _ := gradients(t, m, Options{}, b)
	for _, w := range m.weights {
		for i := range w.Data {
			w.Data[i] *= 0.5
		}
	}
	if now, _ := gradients(t, m, Options{}, b); now != before {
		t.Error("something reads master values, which nothing else than training sees")
	}
	for _, w := range m.weights {
		w.Sync()
		for i, v := range w.Data {
			if w.Half[i] != kernel.ToHalf(v) {
				t.Fatalf("%s: value %d is not renewed", w.Name, i)
			}
		}
	}
}

func TestSyncRoundsOnce(t *testing.T) {
	w := &Weight{Name: "w", Out: 2, In: 2, Half: make([]uint16, 4)}
	base := []float32{1.00390625, 2, 3, 4} // the first lies between two bfloat16 values
	kernel.RoundHalves(w.Half, base)
	s := NewSparse(w, base, []int32{0, 1}, []int32{0, 1}, nil)
	s.Value[0], s.Value[1] = 0.001953125, 1
	w.Sync()
	want := []uint16{kernel.ToHalf(1.005859375), kernel.ToHalf(2), kernel.ToHalf(3), kernel.ToHalf(5)}
	if !slices.Equal(w.Half, want) {
		t.Errorf("%x, want %x", w.Half, want)
	}
}
