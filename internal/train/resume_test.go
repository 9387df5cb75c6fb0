package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/fault"
)

// resumable is a run in which everything that a resumed run depends on takes part. Its paths are relative: they are part
// of what it writes.
func resumable(t *testing.T, method, compute string) *config.Train {
	t.Helper()
	cfg := tinyConfig(t, checkpoint.F32)
	t.Chdir(filepath.Dir(cfg.ModelNameOrPath))
	cfg.ModelNameOrPath, cfg.TrainFile, cfg.ValidationFile = "base", "verse.jsonl", "verse.jsonl"
	cfg.Method, cfg.ComputeDType = method, compute
	cfg.Packing, cfg.BatchSize, cfg.GradientAccumulationSteps = false, 2, 2
	cfg.MaxSteps, cfg.EvalSteps, cfg.SaveSteps, cfg.SaveTotalLimit = 7, 3, 2, 2
	cfg.LRSchedulerType, cfg.WarmupSteps, cfg.WeightDecay = "cosine", 2, 0.01
	cfg.NeftuneNoiseAlpha = 5
	return cfg
}

// results are the files of a run's directory that must not depend on whether it was interrupted.
func results(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{adapter.TensorsFile, adapter.ConfigFile, checkpoint.ModelFile, metricsFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		files[name] = regexp.MustCompile(`"tokens_per_second":[^}]*`).ReplaceAllString(string(b), "")
	}
	if files[metricsFile] == "" || files[adapter.TensorsFile]+files[checkpoint.ModelFile] == "" {
		t.Fatalf("no result in %s", dir)
	}
	return files
}

func sameResults(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %s is another", what, name)
			if name == metricsFile {
				t.Logf("got\n%swant\n%s", got[name], want[name])
			}
		}
	}
}

// TestKilledAtEveryStep takes a copy of the directory during each step, as a killed process would leave it, and has a run go
// on from there.
func TestKilledAtEveryStep(t *testing.T) {
	for _, c := range []struct{ method, compute string }{
		{"shira", config.Float32}, {"full", config.BFloat16},
	} {
		t.Run(c.method+" "+c.compute, func(t *testing.T) {
			cfg := resumable(t, c.method, c.compute)
			rec := &recorder{onStep: func(s StepInfo) {
				if err := os.CopyFS(fmt.Sprintf("killed-%d", s.Step), os.DirFS(cfg.OutputDir)); err != nil {
					t.Error(err)
				}
			}}
			if _, err := Run(context.Background(), cfg, rec); err != nil {
				t.Fatal(err)
			}
			want := results(t, cfg.OutputDir)
			for step := 1; step <= cfg.MaxSteps; step++ {
				next := *cfg
				next.OutputDir, next.ResumeFromCheckpoint = fmt.Sprintf("killed-%d", step), config.ResumeAuto
				res, rec := mustRun(t, &next)
				if from := (step - 1) / 2 * 2; res.ResumedFrom != from || rec.resumed != from {
					t.Errorf("killed in step %d: went on after step %d, want %d", step, res.ResumedFrom, from)
				}
				sameResults(t, next.OutputDir, results(t, next.OutputDir), want)
				if left, _ := checkpoints(next.OutputDir); fmt.Sprint(left) != "[4 6]" {
					t.Errorf("killed in step %d: checkpoints %v", step, left)
				}
			}
		})
	}
}

// TestFormsGoOn has a run of every form of every method go on from its middle.
func TestFormsGoOn(t *testing.T) {
	for _, form := range forms {
		for _, compute := range []string{config.Float32, config.BFloat16} {
			t.Run(form.name+" "+compute, func(t *testing.T) {
				cfg := formConfig(t, form.name, form.set, checkpoint.F32, compute)
				cfg.SaveSteps, cfg.Packing, cfg.NeftuneNoiseAlpha = 4, false, 5
				mustRun(t, cfg)
				next := *cfg
				next.ResumeFromCheckpoint, next.OutputDir = filepath.Join(cfg.OutputDir, "checkpoint-4"), cfg.OutputDir+"-again"
				if res, _ := mustRun(t, &next); res.ResumedFrom != 4 {
					t.Errorf("%+v", res)
				}
				sameResults(t, form.name, results(t, next.OutputDir), results(t, cfg.OutputDir))
			})
		}
	}
}

// TestInterrupted stops a run after each step, and has it go on until it is done. An evaluation that was interrupted is made up
// for.
func TestInterrupted(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	whole, _ := mustRun(t, cfg)
	want := results(t, cfg.OutputDir)
	cfg.OutputDir, cfg.SaveStrategy, cfg.ResumeFromCheckpoint = "stopped", config.StrategyNo, config.ResumeAuto
	for step := 1; step <= cfg.MaxSteps; step++ {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := Run(ctx, cfg, &recorder{onStep: func(StepInfo) { cancel() }})
		if !errors.Is(err, context.Canceled) || !strings.Contains(fault.HintOf(err), fmt.Sprintf("stopped/checkpoint-%d: go on", step)) {
			t.Fatalf("step %d: %v (hint %q)", step, err, fault.HintOf(err))
		}
	}
	res, _ := mustRun(t, cfg)
	sameResults(t, "a run in seven parts", results(t, cfg.OutputDir), want)
	if res.TrainLoss != whole.TrainLoss || *res.EvalLoss != *whole.EvalLoss || *res.EvalLossBefore != *whole.EvalLossBefore {
		t.Errorf("%+v, want %+v", res, whole)
	}
}

// TestRefusedResumeOpensNothing wants a start that was refused to be no permission to replace a result.
func TestRefusedResumeOpensNothing(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	mustRun(t, cfg)
	want := results(t, cfg.OutputDir)
	next := *cfg
	next.ResumeFromCheckpoint, next.OverwriteOutputDir, next.WeightDecay = config.ResumeAuto, true, 0.5
	if _, err := Run(context.Background(), &next, &recorder{}); fault.KindOf(err) != fault.Incompatible {
		t.Fatalf("another weight_decay: %v", err)
	}
	next = *cfg
	next.ResumeFromCheckpoint = config.ResumeAuto
	if _, err := Run(context.Background(), &next, &recorder{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("after the refused start: %v", err)
	}
	sameResults(t, "after the refused start", results(t, cfg.OutputDir), want)
}

func TestResumeByName(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	mustRun(t, cfg)
	want := results(t, cfg.OutputDir)
	next := *cfg
	next.ResumeFromCheckpoint, next.OutputDir = filepath.Join(cfg.OutputDir, "checkpoint-4"), "elsewhere"
	next.Threads, next.SaveSteps, next.GradientCheckpointing = 1, 1, true
	mustRun(t, &next)
	sameResults(t, "from a checkpoint by name", results(t, next.OutputDir), want)
	// The checkpoint is an adapter as any other.
	if _, err := adapter.Load(next.ResumeFromCheckpoint); err != nil {
		t.Error(err)
	}
}

func TestResumeErrors(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	cfg.SaveTotalLimit = 0
	mustRun(t, cfg)
	dir := filepath.Join(cfg.OutputDir, "checkpoint-4")
	for name, c := range map[string]struct {
		spoil func(t *testing.T, c *config.Train)
		kind  fault.Kind
		text  string
	}{
		"not there": {func(_ *testing.T, c *config.Train) { c.ResumeFromCheckpoint = "gone" }, fault.Environment, "gone: "},
		"not a checkpoint": {func(_ *testing.T, c *config.Train) { c.ResumeFromCheckpoint = "base" }, fault.Malformed,
			"is no whole checkpoint: it has no SHA256SUMS"},
		"the directory of a run": {func(_ *testing.T, c *config.Train) { c.ResumeFromCheckpoint = filepath.Dir(dir) }, fault.Malformed,
			"is no whole checkpoint: it has no SHA256SUMS"},
		"configuration": {func(_ *testing.T, c *config.Train) { c.Seed, c.WeightDecay = 1, 0 }, fault.Incompatible,
			"weight_decay was 0.01, is 0; seed was 42, is 1"},
		"schedule": {func(_ *testing.T, c *config.Train) { c.LearningRate *= 2 }, fault.Incompatible,
			"the learning rates of the steps taken are others: in step 4 it was"},
		"fewer steps": {func(_ *testing.T, c *config.Train) { c.MaxSteps = 3 }, fault.Incompatible, "the run has 3 steps, the checkpoint is after step 4"},
		"training data": {func(t *testing.T, c *config.Train) {
			c.TrainFile = "other.jsonl"
			write(t, c.TrainFile, strings.ReplaceAll(verse, "cat", "bat"))
		}, fault.Incompatible, "the training data changed"},
		"validation data": {func(t *testing.T, c *config.Train) {
			c.ValidationFile = "other.jsonl"
			write(t, c.ValidationFile, strings.ReplaceAll(verse, "cat", "bat"))
		}, fault.Incompatible, "the validation data changed"},
		"damaged state": {func(t *testing.T, c *config.Train) { damage(t, filepath.Join(dir, stateFile)) }, fault.Malformed,
			stateFile + ": is damaged"},
		"no metrics": {func(t *testing.T, c *config.Train) {
			if err := os.Remove(filepath.Join(dir, metricsFile)); err != nil {
				t.Fatal(err)
			}
		}, fault.Malformed, "it has no metrics.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.CopyFS("backup", os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := errors.Join(os.RemoveAll(dir), os.Rename("backup", dir)); err != nil {
					t.Fatal(err)
				}
			}()
			next := *cfg
			next.OutputDir, next.ResumeFromCheckpoint = "new", dir
			c.spoil(t, &next)
			_, err := Run(context.Background(), &next, &recorder{})
			if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v (kind %d), want kind %d and %q", err, fault.KindOf(err), c.kind, c.text)
			}
			if hint := fault.HintOf(err); name == "the directory of a run" && !strings.HasSuffix(hint, "checkpoint-6") {
				t.Errorf("the hint %q does not name the last checkpoint", hint)
			}
		})
	}
	// Data of the same content may lie elsewhere, and a schedule may go on longer where its rates stay the same.
	write(t, "moved.jsonl", verse)
	next := *cfg
	next.OutputDir, next.ResumeFromCheckpoint, next.TrainFile = "new", dir, "moved.jsonl"
	mustRun(t, &next)
	sameResults(t, "from data that moved", results(t, "new"), results(t, cfg.OutputDir))
}

// TestTurnEndWithoutToken wants one notice of a template whose end of a turn the tokenizer does not know.
func TestTurnEndWithoutToken(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	cfg.TrainFile, cfg.ValidationFile, cfg.EvalSteps, cfg.ChatTemplate = "chat.jsonl", "", 0, "t.jinja"
	write(t, cfg.TrainFile, strings.Repeat(`{"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]}`+"\n", 4))
	for end, want := range map[string]int{"": 0, "</s>": 0, "<|im_end|>\n": 1, " stop": 0} {
		write(t, cfg.ChatTemplate, "{% for m in messages %}{{ m.content }}"+end+"{% endfor %}")
		p, err := MakePlan(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(strings.Join(p.Notices, "\n"), `ends a turn with "<|im_end|>", which is no token`); got != want {
			t.Errorf("%q: notices %q", end, p.Notices)
		}
	}
}

// TestOtherTemplate refuses to go on where a chat template makes other tokens of the same file.
func TestOtherTemplate(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	cfg.TrainFile, cfg.ValidationFile, cfg.EvalSteps, cfg.ChatTemplate = "chat.jsonl", "", 0, "t.jinja"
	write(t, cfg.TrainFile, strings.Repeat(`{"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]}`+"\n", 4))
	write(t, cfg.ChatTemplate, "{% for m in messages %}a {{ m.content }}{% endfor %}")
	mustRun(t, cfg)
	next := *cfg
	next.OutputDir, next.ResumeFromCheckpoint = "next", filepath.Join(cfg.OutputDir, "checkpoint-4")
	mustRun(t, &next)
	write(t, cfg.ChatTemplate, "{% for m in messages %}b {{ m.content }}{% endfor %}")
	next.OutputDir = "wrong"
	_, err := Run(context.Background(), &next, &recorder{})
	if fault.KindOf(err) != fault.Incompatible || !strings.Contains(err.Error(), "makes other tokens") {
		t.Errorf("got %v", err)
	}
}

// TestLongerRun goes on with more steps than were asked for at first.
func TestLongerRun(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	cfg.LRSchedulerType, cfg.ValidationFile, cfg.EvalSteps = "constant", "", 0
	mustRun(t, cfg)
	next := *cfg
	next.MaxSteps, next.ResumeFromCheckpoint, next.OverwriteOutputDir = 11, config.ResumeAuto, true
	res, _ := mustRun(t, &next)
	if res.ResumedFrom != 6 || res.Steps != 11 {
		t.Errorf("%+v", res)
	}
	whole := next
	whole.OutputDir, whole.ResumeFromCheckpoint = "whole", ""
	mustRun(t, &whole)
	sameResults(t, "a longer run", results(t, next.OutputDir), results(t, whole.OutputDir))
}

// TestDamagedCheckpoint wants auto to go on from the newest one that is whole.
func TestDamagedCheckpoint(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	cfg.SaveTotalLimit = 0
	mustRun(t, cfg)
	want := results(t, cfg.OutputDir)
	damage(t, filepath.Join(cfg.OutputDir, "checkpoint-6", stateFile))
	cfg.ResumeFromCheckpoint, cfg.OverwriteOutputDir = config.ResumeAuto, true
	_, rec := mustRun(t, cfg)
	if rec.resumed != 4 || len(rec.notices) != 1 || !strings.Contains(rec.notices[0], "checkpoint-6") {
		t.Errorf("went on after step %d, notices %q", rec.resumed, rec.notices)
	}
	sameResults(t, "after damage", results(t, cfg.OutputDir), want)
}

// TestCheckpointsStay wants a new run to leave those of another alone, unless it may overwrite them.
func TestCheckpointsStay(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Run(ctx, cfg, &recorder{onStep: func(StepInfo) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), cfg, &recorder{}); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "--resume auto") {
		t.Errorf("a new run: %v", err)
	}
	// What a killed process leaves unfinished goes.
	unfinished := filepath.Join(cfg.OutputDir, "checkpoint-2.tmp-0123456789abcdef")
	if err := os.Mkdir(unfinished, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.OverwriteOutputDir = true
	if res, _ := mustRun(t, cfg); res.ResumedFrom != 0 {
		t.Errorf("%+v", res)
	}
	if _, err := os.Stat(unfinished); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", unfinished, err)
	}
	if left, _ := checkpoints(cfg.OutputDir); fmt.Sprint(left) != "[4 6]" {
		t.Errorf("checkpoints %v", left)
	}
}

// TestEpochStrategies wants evaluations and checkpoints where epochs end, also in a run that goes on.
func TestEpochStrategies(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	// Eight rows, four a step: an epoch is two steps.
	cfg.EvalStrategy, cfg.EvalSteps, cfg.SaveStrategy, cfg.SaveTotalLimit = config.StrategyEpoch, 0, config.StrategyEpoch, 0
	res, rec := mustRun(t, cfg)
	var at []int
	for _, e := range rec.evals {
		at = append(at, e.Step)
	}
	if fmt.Sprint(at) != "[0 2 4 6 7]" {
		t.Errorf("evaluations after steps %v", at)
	}
	if left, _ := checkpoints(cfg.OutputDir); fmt.Sprint(left) != "[2 4 6]" || res.Steps != 7 {
		t.Errorf("checkpoints %v", left)
	}
	if e := rec.evals[2].Epoch; e != 2 {
		t.Errorf("the evaluation after step 4 is in epoch %v", e)
	}
	next := *cfg
	next.OutputDir, next.ResumeFromCheckpoint = "next", filepath.Join(cfg.OutputDir, "checkpoint-4")
	mustRun(t, &next)
	sameResults(t, "from an epoch's end", results(t, "next"), results(t, cfg.OutputDir))
}

// TestUnwritable wants the checkpoints before to stay where one cannot be written, and the run to go on later.
func TestUnwritable(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	mustRun(t, cfg)
	want := results(t, cfg.OutputDir)
	cfg.OutputDir = "stuck"
	// A file where a directory is to be.
	obstacle := filepath.Join(cfg.OutputDir, "checkpoint-4")
	rec := &recorder{onStep: func(s StepInfo) {
		if s.Step == 3 {
			write(t, obstacle, "in the way")
		}
	}}
	_, err := Run(context.Background(), cfg, rec)
	if err == nil || !strings.Contains(fault.HintOf(err), "the last checkpoint is stuck/checkpoint-2: go on") {
		t.Fatalf("%v (hint %q)", err, fault.HintOf(err))
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	cfg.ResumeFromCheckpoint = config.ResumeAuto
	if res, _ := mustRun(t, cfg); res.ResumedFrom != 2 {
		t.Errorf("%+v", res)
	}
	sameResults(t, "after the obstacle", results(t, cfg.OutputDir), want)
}

// TestBestModel wants the state of the lowest validation loss, also where its checkpoint is an old one, and an early end.
func TestBestModel(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	cfg.EvalSteps, cfg.SaveStrategy, cfg.SaveTotalLimit, cfg.MaxSteps = 1, config.StrategyNo, 1, 40
	cfg.LoadBestModelAtEnd = true
	forgetful(t, cfg)
	res, rec := mustRun(t, cfg)
	best := rec.evals[1]
	for _, e := range rec.evals[1:] {
		if e.Loss < best.Loss {
			best = e
		}
	}
	if res.BestStep != best.Step || *res.EvalLoss != best.Loss || best.Step == res.Steps {
		t.Fatalf("best step %d, loss %v; want %+v, not the last", res.BestStep, *res.EvalLoss, best)
	}
	after := regexp.MustCompile(`Validation loss after\D*([\d.]+)`).FindStringSubmatch(read(t, cfg.OutputDir, ReportFile))
	if want := fmt.Sprintf("%.4f", best.Loss); after == nil || after[1] != want {
		t.Errorf("the report says %q of the result, want a loss of %s", after, want)
	}
	shorter := *cfg
	shorter.OutputDir, shorter.MaxSteps = "shorter", best.Step
	mustRun(t, &shorter)
	sameAdapter(t, shorter.OutputDir, cfg.OutputDir)

	early := *cfg
	early.OutputDir, early.EarlyStoppingPatience = "early", 2
	res, rec = mustRun(t, &early)
	last := len(rec.evals) - 1
	if !res.StoppedEarly || res.Steps == cfg.MaxSteps || rec.evals[last].Step != res.Steps {
		t.Errorf("%+v", res)
	}
	// Interrupted on the way, it ends in the same way.
	stopped := early
	stopped.OutputDir, stopped.ResumeFromCheckpoint = "stopped", config.ResumeAuto
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Run(ctx, &stopped, &recorder{onStep: func(s StepInfo) {
		if s.Step == res.Steps-1 {
			cancel()
		}
	}}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	again, _ := mustRun(t, &stopped)
	if again.Steps != res.Steps || again.BestStep != res.BestStep {
		t.Errorf("%+v, want %+v", again, res)
	}
	sameResults(t, "interrupted", results(t, "stopped"), results(t, "early"))
	// With more patience it goes on after its end.
	patient := early
	patient.EarlyStoppingPatience, patient.ResumeFromCheckpoint, patient.OverwriteOutputDir = 4, config.ResumeAuto, true
	patient.OutputDir, patient.SaveStrategy, patient.SaveSteps = "patient", config.StrategySteps, 1
	short := patient
	short.EarlyStoppingPatience = 2
	mustRun(t, &short)
	longer, _ := mustRun(t, &patient)
	whole := patient
	whole.OutputDir = "whole"
	at, _ := mustRun(t, &whole)
	if longer.ResumedFrom != res.Steps || longer.Steps <= res.Steps || longer.Steps != at.Steps {
		t.Errorf("%+v, want it to go on after step %d to %d", longer, res.Steps, at.Steps)
	}
	sameResults(t, "with more patience", results(t, "patient"), results(t, "whole"))
}

// forgetful makes cfg a run of which the validation data gain at first, and then lose.
func forgetful(t *testing.T, cfg *config.Train) {
	t.Helper()
	cfg.LRSchedulerType, cfg.LearningRate, cfg.NeftuneNoiseAlpha = "constant", 0.1, 0
	cfg.ValidationFile = "other.jsonl"
	write(t, cfg.ValidationFile, `{"text": "zebras! JUMP, quick?"}`)
}

// TestBestElsewhere goes on in another directory, where the best checkpoint so far is not.
func TestBestElsewhere(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	cfg.LoadBestModelAtEnd, cfg.EvalSteps, cfg.MaxSteps, cfg.SaveSteps, cfg.SaveTotalLimit = true, 1, 40, 40, 0
	forgetful(t, cfg)
	res, _ := mustRun(t, cfg)
	if res.BestStep == res.Steps {
		t.Fatal("the last step is the best")
	}
	next := *cfg
	next.OutputDir, next.ResumeFromCheckpoint = "next", filepath.Join(cfg.OutputDir, "checkpoint-40")
	mustRun(t, &next)
	sameResults(t, "with the best of before", results(t, "next"), results(t, cfg.OutputDir))
	if err := os.RemoveAll(fmt.Sprintf("%s/checkpoint-%d", cfg.OutputDir, res.BestStep)); err != nil {
		t.Fatal(err)
	}
	next.OutputDir = "third"
	if _, err := Run(context.Background(), &next, &recorder{}); fault.KindOf(err) != fault.Malformed || !strings.Contains(err.Error(), "needs the best checkpoint") {
		t.Errorf("without it: %v", err)
	}
}

func sameAdapter(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(filepath.Join(a, adapter.TensorsFile))
	if err != nil {
		t.Fatal(err)
	}
	if y, err := os.ReadFile(filepath.Join(b, adapter.TensorsFile)); err != nil || !bytes.Equal(x, y) {
		t.Errorf("the adapters of %s and %s differ (%v)", a, b, err)
	}
}

// TestJudge follows Hugging Face's EarlyStoppingCallback.
func TestJudge(t *testing.T) {
	cfg := config.Defaults()
	cfg.EarlyStoppingPatience, cfg.EarlyStoppingThreshold = 2, 0.1
	tr := &trainer{session: &session{cfg: &cfg}}
	for i, c := range []struct {
		loss    float64
		best    int
		misses  int
		stopped bool
	}{{3, 1, 0, false}, {2.95, 2, 1, false}, {2.8, 3, 0, false}, {2.9, 3, 1, false}, {2.75, 5, 2, true}} {
		tr.Step = i + 1
		tr.judge(c.loss)
		if tr.BestStep != c.best || tr.Misses != c.misses || tr.Stopped != c.stopped {
			t.Errorf("evaluation %d: %+v, want %+v", i+1, tr.progress, c)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// damage flips a bit in the last bytes of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-5] ^= 1
	write(t, path, string(b))
}
