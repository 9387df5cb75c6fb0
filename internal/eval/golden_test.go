package eval

import (
	"math"
	"path/filepath"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/kernel"
	"shira/internal/model"
	"shira/internal/nn"
)

// TestGoldenMethods scores the reference's adapters before its 12 steps, and compares the logits after them.
func TestGoldenMethods(t *testing.T) {
	base := need(t, "golden/stories260K")
	for _, method := range []string{"shira", "lora", "rslora", "dora"} {
		t.Run(method, func(t *testing.T) {
			dir := need(t, "golden/stories260K/methods/"+method)
			ref, err := checkpoint.Open(filepath.Join(dir, "run.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer ref.Close()
			batches, _ := ref.Lookup("batches")
			ids, err := batches.Ints(nil)
			if err != nil {
				t.Fatal(err)
			}
			rows, length := batches.Shape[1], batches.Shape[2]
			first := make([][]int, rows)
			b := nn.Batch{Scale: 1}
			for i, id := range ids[:rows*length] {
				first[i/length] = append(first[i/length], int(id))
				b.IDs, b.Targets = append(b.IDs, int32(id)), append(b.Targets, nn.Ignore)
			}
			for range rows {
				b.Lengths = append(b.Lengths, length)
			}

			o := Options{Model: base, Data: writeIDs(t, first), Adapters: []adapter.Ref{{Path: filepath.Join(dir, "init"), Weight: 1}}}
			score, err := Perplexity(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if want := floats(t, ref, "losses")[0]; math.Abs(score.Loss-float64(want)) > 1e-4 {
				t.Errorf("the untrained adapter has loss %v, want %v", score.Loss, want)
			}

			m, err := model.Load(base)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			s, err := newStates(m, Options{}, [][]adapter.Ref{{{Path: filepath.Join(dir, "final"), Weight: 1}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.to(0); err != nil {
				t.Fatal(err)
			}
			got, want := logits(t, m, b), floats(t, ref, "final_logits")
			var d, n float64
			for i, w := range want {
				d += (float64(got[i]) - float64(w)) * (float64(got[i]) - float64(w))
				n += float64(w) * float64(w)
			}
			if e := math.Sqrt(d / n); e > 1e-5 {
				t.Errorf("the trained adapter's logits differ by %.2g", e)
			}
		})
	}
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

// logits returns the logits of every token of b, token by token. The model's embeddings are tied.
func logits(t *testing.T, m *model.Model, b nn.Batch) []float32 {
	t.Helper()
	g := nn.NewGraph(nn.Options{})
	x, err := m.Hidden(g)
	if err != nil {
		t.Fatal(err)
	}
	y, err := g.Logits(x, m.Weights()[0])
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
