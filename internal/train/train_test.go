package train

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/kernel"
	"shira/internal/nn"
	"shira/internal/testmodel"
)

const verse = `{"text": "the cat sat on the mat and sang"}
{"text": "a dog ran to the tree and barked at the moon"}
{"text": "the sun is warm"}
{"text": "rain falls on the roof of the old mill by the sea"}
{"text": "who lives in the mill?"}
{"text": "the miller, his cat and nine mice"}
{"text": "the mice sing when the cat is out"}
{"text": "and so does the moon"}
`

// tinyConfig is a run of six steps on a tiny model.
func tinyConfig(t testing.TB, dtype checkpoint.DType) *config.Train {
	t.Helper()
	dir := t.TempDir()
	if err := testmodel.Write(filepath.Join(dir, "base"), 1, dtype); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "verse.jsonl")
	if err := os.WriteFile(file, []byte(verse), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := config.Defaults()
	cfg.ModelNameOrPath, cfg.TrainFile, cfg.ValidationFile = filepath.Join(dir, "base"), file, file
	cfg.OutputDir = filepath.Join(dir, "out")
	cfg.Mask, cfg.R, cfg.Density = "rand", 2, 0
	cfg.TargetModules = []string{"q_proj", "v_proj", "down_proj"}
	cfg.MaxSeqLength, cfg.BatchSize, cfg.MaxSteps = 64, 2, 6
	cfg.LearningRate = 1e-2
	return &cfg
}

func mustRun(t testing.TB, cfg *config.Train) (*Result, *recorder) {
	t.Helper()
	var rec recorder
	r, err := Run(context.Background(), cfg, &rec)
	if err != nil {
		t.Fatal(err)
	}
	return r, &rec
}

// TestMethods trains with every method and mask and wants a lower loss and an output that scores as the run said.
func TestMethods(t *testing.T) {
	for _, c := range []struct{ method, mask, compute string }{
		{"shira", "rand", config.Float32}, {"shira", "wm", config.Float32}, {"full", "", config.Float32},
		{"shira", "rand", config.BFloat16}, {"shira", "wm", config.BFloat16}, {"full", "", config.BFloat16},
	} {
		for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16, checkpoint.F16} {
			t.Run(strings.Join([]string{c.method, c.mask, c.compute, "from", dtype.String()}, " "), func(t *testing.T) {
				cfg := tinyConfig(t, dtype)
				cfg.Method, cfg.Mask, cfg.ComputeDType = c.method, c.mask, c.compute
				r, rec := mustRun(t, cfg)
				if !(*r.EvalLoss < *r.EvalLossBefore) {
					t.Errorf("loss %v before, %v after", *r.EvalLossBefore, *r.EvalLoss)
				}
				if len(rec.steps) != 6 || len(rec.evals) != 2 || rec.plan == nil {
					t.Errorf("%d steps, %d evaluations, plan %v", len(rec.steps), len(rec.evals), rec.plan)
				}
				o := eval.Options{Model: cfg.ModelNameOrPath, Data: cfg.ValidationFile, Half: cfg.Half()}
				if c.method == "full" {
					o.Model = cfg.OutputDir
				} else {
					o.Adapters = []adapter.Ref{{Path: cfg.OutputDir, Weight: 1}}
				}
				got, err := eval.Perplexity(context.Background(), o)
				if err != nil {
					t.Fatal(err)
				}
				tolerance := 1e-6
				if c.method == "full" && dtype != checkpoint.F32 {
					tolerance = 5e-2 // the model is stored in half the bits
				}
				if math.Abs(got.Loss-*r.EvalLoss) > tolerance {
					t.Errorf("the output scores %v, the run said %v", got.Loss, *r.EvalLoss)
				}
			})
		}
	}
}

// TestSameBytes wants the same adapter from the same seed for any number of threads, and another from another seed.
func TestSameBytes(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	run := func(seed uint64, threads int) []byte {
		cfg := tinyConfig(t, checkpoint.F32)
		// The base's path is part of the file.
		t.Chdir(filepath.Dir(cfg.ModelNameOrPath))
		cfg.ModelNameOrPath = "base"
		cfg.Seed, cfg.Threads = seed, threads
		mustRun(t, cfg)
		b, err := os.ReadFile(filepath.Join(cfg.OutputDir, adapter.TensorsFile))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := run(7, 1)
	for _, threads := range []int{1, 2, 5} {
		if !bytes.Equal(run(7, threads), want) {
			t.Errorf("%d threads: other bytes", threads)
		}
	}
	if bytes.Equal(run(8, 1), want) {
		t.Error("another seed gives the same bytes")
	}
}

// TestCheckpointing wants the same bytes from a run that computes its layers twice.
func TestCheckpointing(t *testing.T) {
	for _, compute := range []string{config.Float32, config.BFloat16} {
		cfg := tinyConfig(t, checkpoint.F32)
		cfg.ComputeDType = compute
		files := map[bool][]byte{}
		for _, on := range []bool{false, true} {
			cfg.GradientCheckpointing, cfg.OverwriteOutputDir = on, true
			mustRun(t, cfg)
			b, err := os.ReadFile(filepath.Join(cfg.OutputDir, adapter.TensorsFile))
			if err != nil {
				t.Fatal(err)
			}
			files[on] = b
		}
		if !bytes.Equal(files[false], files[true]) {
			t.Errorf("%s: gradient_checkpointing changes the result", compute)
		}
	}
}

func TestMaxMemory(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	need := func() (n int64) {
		debug.FreeOSMemory() // what tests before this one left is no part of the plan
		p, err := MakePlan(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Memory {
			n += m.Bytes
		}
		return n
	}
	// Enough rows that activations are most of what the run adds to the process.
	if err := os.WriteFile(cfg.TrainFile, []byte(strings.Repeat(verse, 300)), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.MaxSeqLength, cfg.BatchSize = 64, 400
	all := need()
	cfg.GradientCheckpointing = true
	least := need()
	if least >= all {
		t.Fatalf("%d bytes with checkpointing, %d without", least, all)
	}
	cfg.GradientCheckpointing, cfg.MaxMemory = false, float64(all+least)/2/(1<<30)
	p, err := MakePlan(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Checkpointing || p.MemoryTotal >= all || p.Refusal != nil || !strings.Contains(strings.Join(p.Notices, "\n"), "gradient_checkpointing is turned on") {
		t.Errorf("memory for checkpointing only: %+v", p)
	}
	if !cfg.GradientCheckpointing {
		t.Errorf("checkpointing is still off: %d bytes, %d with it", all, least)
	}
	cfg.BatchSize, cfg.MaxMemory = 2, 4
	cfg.GradientCheckpointing = false
	if _, rec := mustRun(t, cfg); len(rec.notices) > 0 || cfg.GradientCheckpointing {
		t.Errorf("enough memory: %q, checkpointing %v", rec.notices, cfg.GradientCheckpointing)
	}
	cfg.MaxMemory, cfg.OverwriteOutputDir = 1e-3, true
	p, err = MakePlan(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if fault.KindOf(p.Refusal) != fault.Usage || p.MemoryTotal == 0 {
		t.Errorf("far too little memory: %v, a plan with %d bytes", p.Refusal, p.MemoryTotal)
	}
	if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "--dry-run") {
		t.Errorf("far too little memory: %v", err)
	}
}

// TestMoreThanTheMachineHas wants a plan and a run to tell of an estimate beyond the machine's memory.
func TestMoreThanTheMachineHas(t *testing.T) {
	defer func(f func() int64) { machineMemory = f }(machineMemory)
	machineMemory = func() int64 { return 16 << 20 }
	cfg := tinyConfig(t, checkpoint.F32)
	tells := func() bool {
		p, err := MakePlan(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(p.Notices, "\n"), "more than the 0.0156 GiB of this machine: set max_memory")
	}
	if !tells() {
		t.Error("nothing is said")
	}
	cfg.MaxMemory = 4
	if tells() {
		t.Error("it is said beside max_memory")
	}
	cfg.MaxMemory = 0
	machineMemory = func() int64 { return 0 }
	if tells() {
		t.Error("it is said of a machine whose memory is not known")
	}
}

// TestAccumulationEqualsLargeBatch compares steps of four rows with steps of two micro-batches of two, whose counts of
// tokens differ.
func TestAccumulationEqualsLargeBatch(t *testing.T) {
	run := func(batch, accumulate int) []StepInfo {
		cfg := tinyConfig(t, checkpoint.F32)
		cfg.Packing, cfg.Shuffle = false, false
		cfg.BatchSize, cfg.GradientAccumulationSteps = batch, accumulate
		_, rec := mustRun(t, cfg)
		return rec.steps
	}
	want, got := run(4, 1), run(2, 2)
	for i := range want {
		if math.Abs(got[i].Loss-want[i].Loss) > 1e-5 || math.Abs(got[i].GradNorm-want[i].GradNorm) > 1e-4*want[i].GradNorm {
			t.Errorf("step %d: loss %v norm %v, want %v and %v", i+1, got[i].Loss, got[i].GradNorm, want[i].Loss, want[i].GradNorm)
		}
		if got[i].Tokens != want[i].Tokens {
			t.Errorf("step %d: %d tokens, want %d", i+1, got[i].Tokens, want[i].Tokens)
		}
	}
}

func TestMetricsFile(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.LoggingSteps, cfg.EvalSteps = 1, 3
	_, rec := mustRun(t, cfg)
	f, err := os.Open(filepath.Join(cfg.OutputDir, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	steps, evals := 0, 0
	for s := bufio.NewScanner(f); s.Scan(); {
		var line map[string]float64
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if loss, ok := line["eval_loss"]; ok {
			if loss != rec.evals[evals].Loss {
				t.Errorf("evaluation %d: loss %v, want %v", evals, loss, rec.evals[evals].Loss)
			}
			evals++
			continue
		}
		for _, key := range []string{"step", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second"} {
			if _, ok := line[key]; !ok {
				t.Errorf("no %s in %v", key, line)
			}
		}
		steps++
	}
	if steps != 6 || evals != 3 {
		t.Errorf("%d steps and %d evaluations, want 6 and 3", steps, evals)
	}
}

func TestPlan(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	p, err := MakePlan(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Per layer: q 16×16, v 8×16, down 16×24, each with 2·(out+in) entries.
	if want := int64(2 * 2 * (32 + 24 + 40)); p.Trained != want {
		t.Errorf("%d trained, want %d", p.Trained, want)
	}
	weights := 2 * (16*16 + 8*16 + 16*24)
	if want := float64(p.Trained) / float64(weights); math.Abs(p.ShareOfTargets-want) > 1e-12 {
		t.Errorf("share of targets %v, want %v", p.ShareOfTargets, want)
	}
	if len(p.Targets) != 3 || !reflect.DeepEqual(p.Targets[1], PlanTarget{Pattern: "v_proj", Matched: 2, Out: 8, In: 16, Weights: 256, Trained: 96}) {
		t.Errorf("targets %+v", p.Targets)
	}
	for _, m := range p.Memory {
		if m.Bytes <= 0 {
			t.Errorf("%s takes %d bytes", m.Component, m.Bytes)
		}
	}
	if _, err := os.Stat(cfg.OutputDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the plan made the output directory: %v", err)
	}
	r, _ := mustRun(t, cfg)
	if r.TrainableParameters != p.Trained {
		t.Errorf("the run trained %d, the plan said %d", r.TrainableParameters, p.Trained)
	}
}

func TestRunErrors(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*config.Train)
		kind  fault.Kind
		text  string
	}{
		"unknown target":    {func(c *config.Train) { c.TargetModules = []string{"q_proj", "qproj"} }, fault.Usage, `"qproj"`},
		"budget too large":  {func(c *config.Train) { c.R = 1000 }, fault.Usage, "layers.0.self_attn.q_proj"},
		"sequence too long": {func(c *config.Train) { c.MaxSeqLength = 65 }, fault.Usage, "64 positions"},
		"no model":          {func(c *config.Train) { c.ModelNameOrPath += "-gone" }, fault.Environment, "base-gone"},
		"nothing counts": {func(c *config.Train) {
			c.TrainFile = filepath.Join(filepath.Dir(c.TrainFile), "masked.jsonl")
			os.WriteFile(c.TrainFile, []byte(`{"input_ids": [1, 2, 3], "labels": [-100, -100, -100]}`), 0o644)
		}, fault.Malformed, "masked.jsonl:1: no token to predict"},
		"a token beyond the vocabulary": {func(c *config.Train) {
			c.TrainFile = filepath.Join(filepath.Dir(c.TrainFile), "beyond.jsonl")
			os.WriteFile(c.TrainFile, []byte(`{"input_ids": [1, 2, 100000]}`), 0o644)
		}, fault.Malformed, "beyond.jsonl:1: "},
		"divergence": {func(c *config.Train) { c.LearningRate, c.LRSchedulerType = 1e39, "constant" }, fault.Numerical, "step "},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tinyConfig(t, checkpoint.F32)
			c.spoil(cfg)
			_, err := Run(context.Background(), cfg, &recorder{})
			if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("%v (kind %d), want kind %d and %q", err, fault.KindOf(err), c.kind, c.text)
			}
			if _, err := os.Stat(filepath.Join(cfg.OutputDir, adapter.TensorsFile)); err == nil {
				t.Error("an adapter was written")
			}
		})
	}
}

func TestOutputDirectoryIsNotOverwritten(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	mustRun(t, cfg)
	before, err := os.ReadFile(filepath.Join(cfg.OutputDir, adapter.TensorsFile))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Seed++
	if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Usage {
		t.Fatalf("second run: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(cfg.OutputDir, adapter.TensorsFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the refused run changed the adapter (%v)", err)
	}
	// A plan, which writes nothing, says so beside what else there is to say.
	if p, err := MakePlan(context.Background(), cfg); err != nil || len(p.Notices) != 1 || !strings.Contains(p.Notices[0], "a run would not start") {
		t.Errorf("a plan: %+v, %v", p, err)
	}
	cfg.OverwriteOutputDir = true
	// What a failed run leaves is the old result and its metrics, and the new metrics so far.
	metrics, err := os.ReadFile(filepath.Join(cfg.OutputDir, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	rate := cfg.LearningRate
	cfg.LearningRate = 1e39
	if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Numerical {
		t.Fatalf("a run that diverges: %v", err)
	}
	for name, want := range map[string][]byte{adapter.TensorsFile: before, metricsFile: metrics} {
		if got, err := os.ReadFile(filepath.Join(cfg.OutputDir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the failed run changed %s (%v)", name, err)
		}
	}
	cfg.LearningRate = rate
	mustRun(t, cfg)
	if _, err := os.Stat(filepath.Join(cfg.OutputDir, openMetrics)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", openMetrics, err)
	}
	cfg.Method = "full"
	if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a model over an adapter: %v", err)
	}
}

// TestLastStepDiverges takes one step that makes weights which no loss is computed with any more.
func TestLastStepDiverges(t *testing.T) {
	for _, c := range []struct {
		method string
		dtype  checkpoint.DType
		rate   float64
	}{{"full", checkpoint.F16, 1e6}, {"full", checkpoint.BF16, 1e39}, {"full", checkpoint.F32, 1e39}, {"shira", checkpoint.F32, 1e39}} {
		cfg := tinyConfig(t, c.dtype)
		cfg.Method, cfg.LearningRate, cfg.MaxSteps, cfg.ValidationFile = c.method, c.rate, 1, ""
		if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Numerical {
			t.Errorf("%+v: %v", c, err)
		}
		for _, name := range []string{checkpoint.ModelFile, adapter.TensorsFile} {
			if _, err := os.Stat(filepath.Join(cfg.OutputDir, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%+v: %s was written (%v)", c, name, err)
			}
		}
	}
}

// TestRunAfterFailure wants a directory that holds no result to be no obstacle.
func TestRunAfterFailure(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	rate := cfg.LearningRate
	cfg.LearningRate = 1e39
	if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Numerical {
		t.Fatal(err)
	}
	cfg.LearningRate = rate
	mustRun(t, cfg)
}

func TestTwoWriters(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	var second error
	rec := &recorder{onStep: func(s StepInfo) {
		if s.Step == 2 {
			_, second = Run(context.Background(), cfg, &recorder{})
		}
	}}
	if _, err := Run(context.Background(), cfg, rec); err != nil {
		t.Fatal(err)
	}
	if fault.KindOf(second) != fault.Locked {
		t.Errorf("a second run into the directory: %v", second)
	}
}

// TestReserved: a model that a run is to replace is not switched meanwhile.
func TestReserved(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.Method, cfg.Mask, cfg.R, cfg.TargetModules, cfg.MaxSteps = "full", "", 0, nil, 2
	mustRun(t, cfg)
	exclude := func() bool {
		dir, err := fsx.OpenFS(cfg.OutputDir)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		f, err := dir.Open(checkpoint.ModelFile, true)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return f.Exclude()
	}
	cfg.OverwriteOutputDir = true
	steps := 0
	rec := &recorder{onStep: func(StepInfo) {
		if steps++; exclude() {
			t.Error("it can be switched during the run")
		}
	}}
	if _, err := Run(context.Background(), cfg, rec); err != nil || steps != 2 {
		t.Errorf("%d steps, %v", steps, err)
	}
	if !exclude() {
		t.Error("it cannot be switched after the run")
	}
}

// TestStaged: a model that a run has written, and was killed before it was in place, is put there by the next run, and until
// then there is no mixture.
func TestStaged(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.Method, cfg.Mask, cfg.R, cfg.TargetModules, cfg.MaxSteps = "full", "", 0, nil, 2
	mustRun(t, cfg)
	staged := filepath.Join(cfg.OutputDir, checkpoint.StagedName)
	if _, err := os.Lstat(staged); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("left behind: %v", err)
	}
	if err := os.Mkdir(staged, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{checkpoint.ModelFile, "tokenizer.json"} { // config.json was moved already
		if err := os.Rename(filepath.Join(cfg.OutputDir, name), filepath.Join(staged, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := checkpoint.OpenModel(cfg.OutputDir); fault.KindOf(err) != fault.Malformed || !strings.Contains(fault.HintOf(err), staged) {
		t.Errorf("opened: %v", err)
	}
	if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("not overwritten: %v", err)
	}
	cfg.OverwriteOutputDir = true
	seen := 0
	rec := &recorder{onStep: func(StepInfo) {
		m, err := checkpoint.OpenModel(cfg.OutputDir)
		if err != nil {
			t.Error(err)
			return
		}
		m.Close()
		seen++
	}}
	if _, err := Run(context.Background(), cfg, rec); err != nil || seen != 2 {
		t.Errorf("seen %d times, %v", seen, err)
	}
	if _, err := os.Lstat(staged); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestCancel(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	ctx, cancel := context.WithCancel(context.Background())
	rec := &recorder{onStep: func(s StepInfo) {
		if s.Step == 3 {
			cancel()
		}
	}}
	if _, err := Run(ctx, cfg, rec); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(rec.steps) != 3 {
		t.Errorf("%d steps after cancelling in the third", len(rec.steps))
	}
}

// TestAdamW follows PyTorch's update written out in float64.
func TestAdamW(t *testing.T) {
	p := &nn.Param{Name: "p", Value: []float32{1, -2, 0.5}, Grad: make([]float32, 3)}
	q := &nn.Param{Name: "q", Value: []float32{3}, Grad: make([]float32, 1)}
	const lr, b1, b2, eps, decay = 0.1, 0.9, 0.999, 1e-8, 0.01
	o := newAdamW([]*nn.Param{p, q}, b1, b2, eps, decay, func(p *nn.Param) group { return map[string]group{"p": {1, true}, "q": {4, false}}[p.Name] })
	want := []float64{1, -2, 0.5, 3}
	var m, v [4]float64
	for step := 1; step <= 5; step++ {
		g := []float64{0.3 * float64(step), -0.1, 1e-3, 0.7}
		for i := range 3 {
			p.Grad[i] = float32(2 * g[i])
		}
		q.Grad[0] = float32(2 * g[3])
		o.update(lr, 0.5)
		for i := range g {
			if i < 3 {
				want[i] *= 1 - lr*decay
			}
			m[i] = b1*m[i] + (1-b1)*g[i]
			v[i] = b2*v[i] + (1-b2)*g[i]*g[i]
			mh, vh := m[i]/(1-math.Pow(b1, float64(step))), v[i]/(1-math.Pow(b2, float64(step)))
			rate := lr
			if i == 3 {
				rate *= 4 // as LoRA+ has it
			}
			want[i] -= rate * mh / (math.Sqrt(vh) + eps)
		}
	}
	for i, w := range want {
		got := float64(append(append([]float32{}, p.Value...), q.Value...)[i])
		if math.Abs(got-w) > 1e-5 {
			t.Errorf("value %d: %v, want %v", i, got, w)
		}
	}
}

func TestClipScale(t *testing.T) {
	for _, c := range []struct{ norm, most, want float64 }{{2, 1, 0.5}, {0.5, 1, 1}, {5, 0, 1}, {0, 1, 1}} {
		if got := clipScale(c.norm, c.most); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("norm %v, limit %v: %v, want %v", c.norm, c.most, got, c.want)
		}
	}
}
