package train

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/config"
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

func goldenConfig(t *testing.T) (*config.Train, *checkpoint.File, []int) {
	dir := need(t, "golden/stories260K/methods/shira")
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
	cfg, ref, shape := goldenConfig(t)
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
		g, w := d.(*adapter.Sparse), final.Deltas[i].(*adapter.Sparse)
		var diff, norm float64
		for k, v := range w.Values {
			if g.RowIdx[k] != w.RowIdx[k] || g.ColIdx[k] != w.ColIdx[k] {
				t.Fatalf("%s: entry %d is at (%d,%d), want (%d,%d)", g.Name, k, g.RowIdx[k], g.ColIdx[k], w.RowIdx[k], w.ColIdx[k])
			}
			diff += math.Pow(float64(g.Values[k]-v), 2)
			norm += float64(v) * float64(v)
		}
		if math.Sqrt(diff/norm) > 1e-2 {
			t.Errorf("%s: values differ by %.2g of their norm", g.Name, math.Sqrt(diff/norm))
		}
	}
}
