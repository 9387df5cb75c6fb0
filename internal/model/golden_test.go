package model

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/kernel"
	"shira/internal/nn"
)

const goldens = "../../../shared/golden"

// golden opens the reference values of an architecture, or skips the test.
func golden(t *testing.T, arch string) (dir string, ref *checkpoint.File) {
	t.Helper()
	dir = filepath.Join(goldens, arch)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference values at %s", dir)
	}
	ref, err := checkpoint.Open(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ref.Close() })
	return dir, ref
}

func floats(t *testing.T, f *checkpoint.File, name string) []float32 {
	t.Helper()
	x, ok := f.Lookup(name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	v, err := x.Float32s(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ints(t *testing.T, f *checkpoint.File, name string) (v []int64, shape []int) {
	t.Helper()
	x, ok := f.Lookup(name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	v, err := x.Ints(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v, x.Shape
}

// batchOf lays rows of token ids end to end; labels are shifted by one within each row.
func batchOf(ids, labels []int64, rows, length int) nn.Batch {
	var b nn.Batch
	counted := 0
	for r := range rows {
		for p := range length {
			b.IDs = append(b.IDs, int32(ids[r*length+p]))
			target := int32(nn.Ignore)
			if p+1 < length {
				target = int32(labels[r*length+p+1])
			}
			if target != nn.Ignore {
				counted++
			}
			b.Targets = append(b.Targets, target)
		}
		b.Lengths = append(b.Lengths, length)
	}
	b.Scale = 1 / float64(counted)
	return b
}

// trainAll makes every weight of m trainable.
func trainAll(m *Model) map[string]*nn.Param {
	params := map[string]*nn.Param{}
	for _, w := range m.Weights() {
		m.Own(w)
		w.Dense = &nn.Param{Name: w.Name + ".weight", Value: w.Data}
		params[w.Dense.Name] = w.Dense
	}
	for _, g := range m.Gains() {
		g.Dense = &nn.Param{Name: g.Name, Value: g.Data}
		params[g.Name] = g.Dense
	}
	return params
}

func relative(got, want []float32) float64 {
	var d, n float64
	for i, w := range want {
		d += (float64(got[i]) - float64(w)) * (float64(got[i]) - float64(w))
		n += float64(w) * float64(w)
	}
	return math.Sqrt(d / max(n, 1e-30))
}

var goldenArchs = []string{"llama", "llama3", "llama-bias-headdim", "stories260K"}

func TestGoldenLossAndGradients(t *testing.T) {
	for _, arch := range goldenArchs {
		t.Run(arch, func(t *testing.T) {
			dir, ref := golden(t, arch)
			ids, shape := ints(t, ref, "input_ids")
			labels, _ := ints(t, ref, "labels")
			m, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			params := trainAll(m)
			g := nn.NewGraph(nn.Options{Training: true})
			loss, err := m.Loss(g)
			if err != nil {
				t.Fatal(err)
			}
			machine, err := g.Compile(loss)
			if err != nil {
				t.Fatal(err)
			}
			defer machine.Close()
			b := batchOf(ids, labels, shape[0], shape[1])
			for range 2 { // the second run must not see what the first left behind
				r, err := machine.Run(b)
				if err != nil {
					t.Fatal(err)
				}
				want := float64(floats(t, ref, "loss")[0])
				if got := r.Loss * b.Scale; math.Abs(got-want) > 1e-4*want {
					t.Errorf("loss %.7f, want %.7f", got, want)
				}
				seen := 0
				for _, x := range ref.Tensors() {
					name, ok := cut(x.Name, "grad/")
					if !ok {
						continue
					}
					seen++
					p := params[name]
					if p == nil {
						t.Fatalf("no parameter %s", name)
					}
					if e := relative(p.Grad, floats(t, ref, x.Name)); e > 1e-3 {
						t.Errorf("gradient of %s differs by %.2g of its norm", name, e)
					}
				}
				if seen != len(params) {
					t.Errorf("%d gradients compared, the model has %d parameters", seen, len(params))
				}
			}
		})
	}
}

func cut(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || s[:len(prefix)] != prefix {
		return "", false
	}
	return s[len(prefix):], true
}

func TestGoldenLogits(t *testing.T) {
	for _, arch := range goldenArchs {
		t.Run(arch, func(t *testing.T) {
			dir, ref := golden(t, arch)
			ids, shape := ints(t, ref, "input_ids")
			m, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			got := logits(t, m, batchOf(ids, ids, shape[0], shape[1]))
			want := floats(t, ref, "logits")
			if len(got) != len(want) {
				t.Fatalf("%d logits, want %d", len(got), len(want))
			}
			if e := relative(got, want); e > 1e-5 {
				t.Errorf("logits differ by %.2g", e)
			}
		})
	}
}

// logits returns the logits of every token of b, token by token.
func logits(t *testing.T, m *Model, b nn.Batch) []float32 {
	t.Helper()
	g := nn.NewGraph(nn.Options{})
	x, err := m.Hidden(g)
	if err != nil {
		t.Fatal(err)
	}
	head := m.Weights()[0]
	for _, w := range m.Weights() {
		if w.Name == "lm_head" {
			head = w
		}
	}
	y, err := g.Logits(x, head)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := g.Compile(y)
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	if _, err := machine.Run(b); err != nil {
		t.Fatal(err)
	}
	v := y.Value()
	out := make([]float32, 0, len(b.IDs)*v.Rows)
	for p := range b.IDs {
		for f := range v.Rows {
			out = append(out, v.Blk(p / kernel.Block)[f*kernel.Block+p%kernel.Block])
		}
	}
	return out
}

// TestScoresDoNotDependOnTheBatch scores the same rows alone, together, in another order and with other numbers of
// threads, and wants the same bits.
func TestScoresDoNotDependOnTheBatch(t *testing.T) {
	dir, ref := golden(t, "stories260K")
	ids, shape := ints(t, ref, "input_ids")
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g := nn.NewGraph(nn.Options{})
	loss, err := m.Loss(g)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := g.Compile(loss)
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	row := func(r, n int) nn.Batch { return batchOf(ids[r*shape[1]:], ids[r*shape[1]:], 1, n) }
	join := func(bs ...nn.Batch) nn.Batch {
		var all nn.Batch
		for _, b := range bs {
			all.IDs = append(all.IDs, b.IDs...)
			all.Targets = append(all.Targets, b.Targets...)
			all.Lengths = append(all.Lengths, b.Lengths...)
		}
		return all
	}
	run := func(b nn.Batch) []float32 {
		t.Helper()
		r, err := machine.Run(b)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(r.NLL)
	}
	a, b, c := row(0, 48), row(1, 37), row(0, 5)
	want := slices.Concat(run(a), run(b), run(c))
	defer kernel.SetThreads(kernel.Threads())
	for _, threads := range []int{1, 2, 3, 7} {
		kernel.SetThreads(threads)
		if got := run(join(a, b, c)); !slices.Equal(got, want) {
			t.Errorf("%d threads: packed together the scores differ", threads)
		}
		got := run(join(c, b, a))
		if !slices.Equal(slices.Concat(got[4+36:], got[4:4+36], got[:4]), want) {
			t.Errorf("%d threads: in another order the scores differ", threads)
		}
	}
}
