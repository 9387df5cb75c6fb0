package train

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/nn"
)

const shared = "../../../shared"

func need(t testing.TB, path string) string {
	t.Helper()
	path = filepath.Join(shared, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no real data at %s", path)
	}
	return path
}

// recorder is an Observer that keeps everything.
type recorder struct {
	plan    *Plan
	steps   []StepInfo
	evals   []EvalInfo
	notices []string
	resumed int
	saved   []string
	onStep  func(StepInfo)
}

func (r *recorder) Start(p *Plan) { r.plan = p }
func (r *recorder) Step(s StepInfo) {
	r.steps = append(r.steps, s)
	if r.onStep != nil {
		r.onStep(s)
	}
}
func (r *recorder) Eval(e EvalInfo)  { r.evals = append(r.evals, e) }
func (r *recorder) Resume(step int)  { r.resumed = step }
func (r *recorder) Saved(dir string) { r.saved = append(r.saved, dir) }
func (r *recorder) Notice(s string)  { r.notices = append(r.notices, s) }

// writeRows writes token rows as JSONL.
func writeRows(t *testing.T, rows [][]int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	enc := json.NewEncoder(f)
	for _, r := range rows {
		if err := enc.Encode(map[string]any{"input_ids": r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func goldenConfig(t *testing.T, method string) (*config.Train, *checkpoint.File, []int) {
	dir := need(t, "golden/stories260K/methods/"+method)
	ref, err := checkpoint.Open(filepath.Join(dir, "run.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ref.Close() })
	batches, _ := ref.Lookup("batches")
	ids, err := batches.Ints(nil)
	if err != nil {
		t.Fatal(err)
	}
	n, b, l := batches.Shape[0], batches.Shape[1], batches.Shape[2]
	var rows [][]int64
	for i := range n * b {
		rows = append(rows, ids[i*l:(i+1)*l])
	}
	cfg := config.Defaults()
	cfg.Method = method
	cfg.ModelNameOrPath = need(t, "golden/stories260K")
	cfg.InitAdapter = filepath.Join(dir, "init")
	cfg.TrainFile = writeRows(t, rows)
	cfg.OutputDir = t.TempDir()
	cfg.BatchSize, cfg.MaxSeqLength, cfg.MaxSteps = b, l, n
	cfg.LearningRate, cfg.LRSchedulerType = 5e-3, "constant"
	cfg.WeightDecay, cfg.MaxGradNorm = 0, 0
	cfg.Packing, cfg.Shuffle = false, false
	return &cfg, ref, []int{n, b, l}
}

// TestGoldenRun repeats the reference's 12 steps from its initial adapter.
func TestGoldenRun(t *testing.T) {
	for _, method := range []string{"shira", "lora", "rslora", "dora"} {
		t.Run(method, func(t *testing.T) {
			cfg, ref, shape := goldenConfig(t, method)
			var rec recorder
			res, err := Run(context.Background(), cfg, &rec)
			if err != nil {
				t.Fatal(err)
			}
			losses, _ := ref.Lookup("losses")
			want, err := losses.Float32s(nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(rec.steps) != shape[0] || res.Steps != shape[0] {
				t.Fatalf("%d steps, want %d", len(rec.steps), shape[0])
			}
			for i, s := range rec.steps {
				if math.Abs(s.Loss-float64(want[i])) > 1e-4 {
					t.Errorf("step %d: loss %.6f, want %.6f", i+1, s.Loss, want[i])
				}
			}
			got, err := adapter.Load(cfg.OutputDir)
			if err != nil {
				t.Fatal(err)
			}
			final, err := adapter.Load(filepath.Join(filepath.Dir(cfg.InitAdapter), "final"))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Deltas) != len(final.Deltas) {
				t.Fatalf("%d deltas, want %d", len(got.Deltas), len(final.Deltas))
			}
			for i, d := range got.Deltas {
				sameDelta(t, d, final.Deltas[i])
			}
		})
	}
}

// sameDelta compares the values of two deltas of one kind.
func sameDelta(t *testing.T, got, want adapter.Delta) {
	t.Helper()
	var diff, norm float64
	compare := func(got, want []float32) {
		for k, v := range want {
			diff += math.Pow(float64(got[k]-v), 2)
			norm += float64(v) * float64(v)
		}
	}
	switch g := got.(type) {
	case *adapter.Sparse:
		w := want.(*adapter.Sparse)
		for k := range w.Values {
			if g.RowIdx[k] != w.RowIdx[k] || g.ColIdx[k] != w.ColIdx[k] {
				t.Fatalf("%s: entry %d is at (%d,%d), want (%d,%d)", g.Name, k, g.RowIdx[k], g.ColIdx[k], w.RowIdx[k], w.ColIdx[k])
			}
		}
		compare(g.Values, w.Values)
	case *adapter.LowRank:
		w := want.(*adapter.LowRank)
		if g.Scale != w.Scale {
			t.Errorf("%s: scale %v, want %v", g.Name, g.Scale, w.Scale)
		}
		compare(g.A, w.A)
		compare(g.B, w.B)
		compare(g.Magnitude, w.Magnitude)
	}
	if e := math.Sqrt(diff / norm); !(e < 1e-2) {
		t.Errorf("%s: values differ by %.2g of their norm", got.Module(), e)
	}
}

// TestGoldenGradients compares the first step's gradients.
func TestGoldenGradients(t *testing.T) {
	for _, method := range []string{"lora", "rslora", "dora"} {
		t.Run(method, func(t *testing.T) {
			cfg, ref, _ := goldenConfig(t, method)
			s := &session{cfg: cfg}
			if err := s.setUp(context.Background()); err != nil {
				t.Fatal(err)
			}
			defer s.close()
			machine, err := s.compile()
			if err != nil {
				t.Fatal(err)
			}
			defer machine.Close()
			b := s.loader.Next()
			if _, err := machine.Run(nn.Batch{IDs: b.IDs, Targets: b.Targets, Lengths: b.Lengths, Scale: 1 / float64(b.Labels)}); err != nil {
				t.Fatal(err)
			}
			compared := 0
			for _, p := range machine.Params() {
				name, ok := goldenGradient(ref, p.Name)
				if !ok {
					t.Fatalf("no gradient of %s in the reference", p.Name)
				}
				x, _ := ref.Lookup(name)
				want, err := x.Float32s(nil)
				if err != nil {
					t.Fatal(err)
				}
				var diff, norm float64
				for i, v := range want {
					diff += math.Pow(float64(p.Grad[i]-v), 2)
					norm += float64(v) * float64(v)
				}
				if math.Sqrt(diff) > 1e-3*math.Sqrt(norm)+1e-9 {
					t.Errorf("%s differs by %.2g of its norm %.3g", p.Name, math.Sqrt(diff/norm), math.Sqrt(norm))
				}
				compared++
			}
			if compared == 0 {
				t.Error("nothing compared")
			}
		})
	}
}

// goldenGradient finds the reference's name of a parameter, in which PEFT's wrappers stand.
func goldenGradient(ref *checkpoint.File, name string) (string, bool) {
	plain := strings.NewReplacer(".default", "")
	for _, x := range ref.Tensors() {
		got := strings.TrimSuffix(plain.Replace(x.Name), ".weight")
		if strings.HasPrefix(got, "grad0/") && strings.HasSuffix(got, "."+strings.TrimSuffix(name, ".weight")) {
			return x.Name, true
		}
	}
	return "", false
}
