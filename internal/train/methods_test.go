package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/fuse"
	"shira/internal/kernel"
)

// forms are the methods, each in every form that computes something else.
var forms = []struct {
	name string
	set  func(*config.Train)
}{
	{"shira", func(c *config.Train) { c.Mask = "wm" }},
	{"lora", func(c *config.Train) { c.Mask = "" }},
	{"lora with dropout", func(c *config.Train) { c.Method, c.LoraDropout = "lora", 0.2 }},
	{"lora with patterns", func(c *config.Train) {
		c.Method, c.RankPattern, c.AlphaPattern = "lora", map[string]float64{"down_proj": 5, "0.*q_proj": 1}, map[string]float64{"v_proj": 3}
		c.TargetModules, c.LayersToTransform = []string{`.*\.[a-z_]*(q|v|down)_proj`}, []int{0, 1}
	}},
	{"lora with two rates", func(c *config.Train) { c.Method, c.LoraPlusLRRatio = "lora", 4 }},
	{"rslora", func(*config.Train) {}},
	{"dora", func(*config.Train) {}},
	{"dora with dropout", func(c *config.Train) { c.Method, c.LoraDropout = "dora", 0.2 }},
	{"shira-dora", func(c *config.Train) { c.Mask = "wm" }},
	{"shira-dora with density", func(c *config.Train) { c.Method, c.Mask, c.Density = "shira-dora", "rand", 0.05 }},
	{"shira-dora, sparse", func(c *config.Train) { c.Method, c.Mask, c.Direction = "shira-dora", "wm", config.DirectionSparse }},
	{"lora with a whole module", func(c *config.Train) { c.Method, c.ModulesToSave = "lora", []string{"1.mlp.gate_proj"} }},
	{"foura", func(*config.Train) {}},
	{"foura, hard gate", func(c *config.Train) { c.Method, c.Gate = "foura", config.GateHard }},
	{"foura, frozen gate", func(c *config.Train) { c.Method, c.Gate = "foura", config.GateFrozen }},
	{"foura, one map", func(c *config.Train) { c.Method, c.GateHidden, c.Transform = "foura", new(int), config.TransformDFT }},
	{"foura, no gate", func(c *config.Train) { c.Method, c.Gate = "foura", config.GateNone }},
	{"lora with a gate", func(c *config.Train) { c.Method, c.Transform = "foura", config.TransformNone }},
}

// TestFormsOfAdapters holds the values of configuration keys to those that adapters' files have.
func TestFormsOfAdapters(t *testing.T) {
	values := map[string][]string{"transform": adapter.Transforms(), "gate": slices.Clone(adapter.Gates)}
	for _, k := range config.Keys() {
		want, ok := values[k.Name]
		if !ok {
			continue
		}
		delete(values, k.Name)
		got := slices.Clone(k.Choices)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: configurations have %q, adapters %q", k.Name, got, want)
		}
	}
	if len(values) > 0 {
		t.Errorf("no keys %v", values)
	}
}

// formConfig is a run of one of the forms.
func formConfig(t testing.TB, name string, set func(*config.Train), dtype checkpoint.DType, compute string) *config.Train {
	cfg := tinyConfig(t, dtype)
	cfg.Method, cfg.Mask, cfg.ComputeDType = name, "", compute
	set(cfg)
	return cfg
}

// score evaluates a model with adapters on the run's validation file.
func score(t testing.TB, cfg *config.Train, model string, refs ...adapter.Ref) float64 {
	t.Helper()
	r, err := eval.Perplexity(context.Background(), eval.Options{
		Model: model, Data: cfg.ValidationFile, Half: cfg.Half(), MaxSeqLength: cfg.MaxSeqLength, Adapters: refs,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Loss
}

// TestForms holds every form to what users rely on: an untrained adapter is the base, and so is one of weight 0; training
// lowers the loss; what is written scores as the run said, beside the base and fused into it; and goes on from there.
func TestForms(t *testing.T) {
	for _, f := range forms {
		for _, compute := range []string{config.Float32, config.BFloat16} {
			t.Run(f.name+" "+compute, func(t *testing.T) {
				t.Parallel()
				cfg := formConfig(t, f.name, f.set, checkpoint.F32, compute)
				r, rec := mustRun(t, cfg)
				base := score(t, cfg, cfg.ModelNameOrPath)
				if math.Abs(*r.EvalLossBefore-base) > 1e-6 {
					t.Errorf("loss %v before training, the base's is %v", *r.EvalLossBefore, base)
				}
				if !(*r.EvalLoss < base) {
					t.Errorf("loss %v before, %v after", base, *r.EvalLoss)
				}
				if got := score(t, cfg, cfg.ModelNameOrPath, adapter.Ref{Path: cfg.OutputDir, Weight: 0}); math.Abs(got-base) > 1e-6 {
					t.Errorf("at weight 0 the loss is %v, the base's %v", got, base)
				}
				// In bfloat16 the sum of weight and change is rounded, which training beside the weight does not do.
				near := map[string]float64{config.Float32: 1e-5, config.BFloat16: 2e-2}[compute]
				if got := score(t, cfg, cfg.ModelNameOrPath, adapter.Ref{Path: cfg.OutputDir, Weight: 1}); math.Abs(got-*r.EvalLoss) > near {
					t.Errorf("the adapter scores %v, the run said %v", got, *r.EvalLoss)
				}
				wantFused(t, cfg, *r.EvalLoss, near)
				if len(rec.plan.Targets) == 0 || rec.plan.Trained != r.TrainableParameters || rec.plan.AdapterBytes == 0 {
					t.Errorf("plan %+v", rec.plan)
				}
				wantContinued(t, cfg, *r.EvalLoss, near)
			})
		}
	}
}

// wantFused wants the fused model to have the loss, or a refusal where the adapter depends on the input.
func wantFused(t *testing.T, cfg *config.Train, loss, near float64) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "fused")
	_, err := fuse.Run(context.Background(), fuse.Options{
		Base: cfg.ModelNameOrPath, Adapters: []fuse.Source{{Path: cfg.OutputDir, Weight: 1}}, Out: out,
	})
	a, loadErr := adapter.Load(cfg.OutputDir)
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	if a.InputDependent() {
		if fault.KindOf(err) != fault.Incompatible {
			t.Errorf("an adapter that depends on the input is fused: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := score(t, cfg, out); math.Abs(got-loss) > near {
		t.Errorf("fused, the loss is %v, beside the base %v", got, loss)
	}
}

// wantContinued wants a run that starts from the adapter to start with its loss, or a refusal where what it was trained by is
// not in it.
func wantContinued(t *testing.T, cfg *config.Train, loss, near float64) {
	t.Helper()
	next := *cfg
	next.InitAdapter, next.OutputDir, next.MaxSteps = cfg.OutputDir, filepath.Join(t.TempDir(), "next"), 1
	r, err := Run(context.Background(), &next, &recorder{})
	if cfg.Method == "shira-dora" && cfg.Direction == "" {
		if fault.KindOf(err) != fault.Incompatible {
			t.Errorf("goes on from an adapter without what it was trained by: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(*r.EvalLossBefore-loss) > near {
		t.Errorf("goes on with loss %v, not %v", *r.EvalLossBefore, loss)
	}
}

// TestFormsSameBytes wants the same adapter for any number of threads, with layers that are computed twice, and from a run that
// was stopped and went on.
func TestFormsSameBytes(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for _, f := range forms {
		for _, compute := range []string{config.Float32, config.BFloat16} {
			t.Run(f.name+" "+compute, func(t *testing.T) {
				cfg := formConfig(t, f.name, f.set, checkpoint.F32, compute)
				cfg.GradientAccumulationSteps, cfg.ValidationFile = 2, ""
				result := func(change func(c *config.Train)) []byte {
					c := *cfg
					c.OutputDir = filepath.Join(t.TempDir(), "out")
					change(&c)
					if c.ResumeFromCheckpoint == "" {
						mustRun(t, &c)
					} else {
						stopAndGoOn(t, &c)
					}
					b, err := os.ReadFile(filepath.Join(c.OutputDir, adapter.TensorsFile))
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
				want := result(func(c *config.Train) { c.Threads = 1 })
				for what, change := range map[string]func(c *config.Train){
					"three threads": func(c *config.Train) { c.Threads = 3 },
					"checkpointing": func(c *config.Train) { c.GradientCheckpointing = true },
					"a stop":        func(c *config.Train) { c.ResumeFromCheckpoint = config.ResumeAuto },
				} {
					if !bytes.Equal(result(change), want) {
						t.Errorf("%s: other bytes", what)
					}
				}
			})
		}
	}
}

// stopAndGoOn interrupts a run in its third step and resumes it.
func stopAndGoOn(t *testing.T, cfg *config.Train) {
	t.Helper()
	first := *cfg
	first.ResumeFromCheckpoint = ""
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, &first, &recorder{onStep: func(s StepInfo) {
		if s.Step == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mustRun(t, cfg)
}

// TestTargets matches modules by name, pattern and layer.
func TestTargets(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	m, err := loadModel(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, c := range []struct {
		targets []string
		layers  []int
		want    int
		err     string
	}{
		{[]string{"q_proj"}, nil, 2, ""},
		{[]string{"q_proj", "v_proj"}, []int{1}, 2, ""},
		{[]string{"all-linear"}, nil, 14, ""},
		{[]string{`.*\.layers\.1\.mlp\..*`}, nil, 3, ""},
		{[]string{`model.layers.0.self_attn.(q|k)_proj`, "down_proj"}, nil, 4, ""},
		{[]string{"(q|k)_proj"}, nil, 0, `target_modules match nothing in the model: "(q|k)_proj"`},
		{[]string{"q_proj", "w_proj"}, nil, 0, `"w_proj"`},
		{[]string{"q_proj"}, []int{0, 7}, 0, "layers_to_transform: the model has no layer 7"},
	} {
		cfg.TargetModules, cfg.LayersToTransform = c.targets, c.layers
		got, err := matchTargets(m, cfg)
		if c.err != "" {
			if fault.KindOf(err) != fault.Usage || !bytes.Contains([]byte(err.Error()), []byte(c.err)) {
				t.Errorf("%v: %v", c.targets, err)
			}
		} else if err != nil || len(got) != c.want {
			t.Errorf("%v %v: %d modules, want %d; %v", c.targets, c.layers, len(got), c.want, err)
		}
	}
}

// TestSavedTargets wants files to name modules so that PEFT finds them.
func TestSavedTargets(t *testing.T) {
	for _, c := range []struct {
		method  string
		targets []string
		layers  []int
		want    []string
		saved   []int
	}{
		{"lora", []string{"q_proj", "v_proj"}, nil, []string{"q_proj", "v_proj"}, nil},
		{"lora", []string{"q_proj"}, []int{1}, []string{"q_proj"}, []int{1}},
		{"lora", []string{`.*1.*q_proj`}, nil, []string{"model.layers.1.self_attn.q_proj"}, nil},
		{"shira", []string{"q_proj"}, []int{1}, []string{"model.layers.1.self_attn.q_proj"}, nil},
	} {
		cfg := tinyConfig(t, checkpoint.F32)
		cfg.Method, cfg.TargetModules, cfg.LayersToTransform, cfg.MaxSteps = c.method, c.targets, c.layers, 1
		mustRun(t, cfg)
		a, err := adapter.Load(cfg.OutputDir)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Config.TargetModules, c.want) || !slices.Equal(a.Config.Layers, c.saved) {
			t.Errorf("%s %v %v: saved as %v, %v", c.method, c.targets, c.layers, a.Config.TargetModules, a.Config.Layers)
		}
	}
}

// TestPatternsMustMatch wants a pattern that changes no rank to be an error.
func TestPatternsMustMatch(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.Method, cfg.AlphaPattern = "lora", map[string]float64{"o_proj": 4}
	_, err := MakePlan(context.Background(), cfg)
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

// TestModulesToSave refuses what cannot be trained whole.
func TestModulesToSave(t *testing.T) {
	for name, want := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"embed_tokens": {fault.Incompatible, "is tied"},
		"lm_head":      {fault.Incompatible, `"lm_head" is tied to the input embedding`},
		"q_proj":       {fault.Usage, "is adapted already"},
		"norm":         {fault.Usage, "is no matrix of the model"},
	} {
		cfg := tinyConfig(t, checkpoint.F32)
		cfg.Method, cfg.ModulesToSave = "lora", []string{name}
		if _, err := MakePlan(context.Background(), cfg); fault.KindOf(err) != want.kind || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestResumeWithAnotherStart refuses to go on with an init_adapter whose factors count otherwise.
func TestResumeWithAnotherStart(t *testing.T) {
	for method, set := range map[string]func(*config.Train){
		"lora":  func(c *config.Train) { c.LoraAlpha = 64 },
		"foura": func(c *config.Train) { c.GateTemperature = 0.9 },
	} {
		t.Run(method, func(t *testing.T) {
			cfg := tinyConfig(t, checkpoint.F32)
			cfg.Method, cfg.Mask, cfg.MaxSteps = method, "", 1
			first, other := *cfg, *cfg
			first.OutputDir, other.OutputDir = filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "other")
			set(&other)
			mustRun(t, &first)
			mustRun(t, &other)
			cfg.InitAdapter, cfg.MaxSteps, cfg.SaveSteps, cfg.LRSchedulerType = first.OutputDir, 4, 2, "constant"
			mustRun(t, cfg)
			next := *cfg
			next.ResumeFromCheckpoint, next.OutputDir = filepath.Join(cfg.OutputDir, "checkpoint-2"), filepath.Join(t.TempDir(), "next")
			mustRun(t, &next)
			next.InitAdapter, next.OutputDir = other.OutputDir, filepath.Join(t.TempDir(), "wrong")
			_, err := Run(context.Background(), &next, &recorder{})
			if fault.KindOf(err) != fault.Incompatible || !strings.Contains(fmt.Sprint(err), "factors are others") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestInitAdapterSaysItsOwn wants the plan and the card to say what the adapter has, not what the configuration would choose.
func TestInitAdapterSaysItsOwn(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.Mask, cfg.R, cfg.MaxSteps = "rand", 1, 1
	mustRun(t, cfg)
	next := *cfg
	next.InitAdapter, next.OutputDir, next.Mask, next.R = cfg.OutputDir, filepath.Join(t.TempDir(), "next"), "wm", 4
	_, rec := mustRun(t, &next)
	if rec.plan.Mask != "rand" {
		t.Errorf("the plan says mask %s", rec.plan.Mask)
	}
	card, err := os.ReadFile(filepath.Join(next.OutputDir, cardFile))
	if err != nil || strings.Contains(string(card), "\nr: ") || strings.Contains(string(card), "\nmask: ") || !strings.Contains(string(card), "\ninit_adapter: ") {
		t.Errorf("%v\n%s", err, card)
	}
	a, err := adapter.Load(next.OutputDir)
	if err != nil || a.Config.R != 1 || a.Config.Mask != "rand" {
		t.Errorf("%v, %+v", err, a)
	}
}

// TestInitAdapterOfAnotherMethod wants the way out to be told.
func TestInitAdapterOfAnotherMethod(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.Method, cfg.MaxSteps = "lora", 1
	mustRun(t, cfg)
	cfg.InitAdapter, cfg.OutputDir = cfg.OutputDir, filepath.Join(t.TempDir(), "next")
	cfg.Method = "dora"
	_, err := Run(context.Background(), cfg, &recorder{})
	e, _ := errors.AsType[*fault.Error](err)
	if fault.KindOf(err) != fault.Incompatible || e.Hint != "set method: lora" {
		t.Errorf("got %v", err)
	}
}
