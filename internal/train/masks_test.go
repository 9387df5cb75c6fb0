package train

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/adapter/mask"
	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/kernel"
	"shira/internal/nn"
)

// TestGoldenMasks compares masks with the reference's.
func TestGoldenMasks(t *testing.T) {
	model := need(t, "golden/stories260K")
	ref, err := checkpoint.Open(filepath.Join(model, "masks.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	calibration, _ := ref.Lookup("calibration")
	ids, err := calibration.Ints(nil)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]int64
	for row := range slices.Chunk(ids, calibration.Shape[1]) {
		rows = append(rows, row)
	}
	for _, name := range []string{"wm", "grad", "snip"} {
		cfg := config.Defaults()
		cfg.ModelNameOrPath, cfg.TrainFile = model, writeRows(t, rows)
		cfg.Mask, cfg.Density, cfg.TargetModules = name, 0.01, nil
		for _, tensor := range ref.Tensors() {
			if module, ok := strings.CutPrefix(tensor.Name, name+"/"); ok {
				cfg.TargetModules = append(cfg.TargetModules, strings.TrimSuffix(module, ".weight"))
			}
		}
		chosen, err := ChooseMask(context.Background(), &cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := chosen.Adapter
		if len(a.Deltas) == 0 || len(a.Deltas) != len(cfg.TargetModules) {
			t.Fatalf("%s: %d masks, want %d", name, len(a.Deltas), len(cfg.TargetModules))
		}
		for _, d := range a.Deltas {
			tensor, _ := ref.Lookup(name + "/" + d.Module() + ".weight")
			want, err := tensor.Ints(nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.(*adapter.Sparse).Flat(); !slices.Equal(got, want) {
				t.Errorf("%s of %s: %d of %d entries are the reference's", name, d.Module(), mask.Common(got, want), len(want))
			}
		}
	}
}

// entries returns the mask that cfg chooses, by module.
func entries(t *testing.T, cfg *config.Train) map[string][]int64 {
	t.Helper()
	m, err := ChooseMask(context.Background(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]int64{}
	for _, d := range m.Adapter.Deltas {
		all[d.Module()] = d.(*adapter.Sparse).Flat()
	}
	return all
}

func count(masks map[string][]int64) int {
	n := 0
	for _, flat := range masks {
		n += len(flat)
	}
	return n
}

func common(a, b map[string][]int64) int {
	n := 0
	for module, flat := range a {
		n += mask.Common(flat, b[module])
	}
	return n
}

func equal(a, b map[string][]int64) bool { return count(a) == count(b) && common(a, b) == count(a) }

// TestMasks holds every mask to what the configuration promises of all of them.
func TestMasks(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for _, name := range mask.Names() {
		for _, compute := range []string{config.Float32, config.BFloat16} {
			t.Run(name+" "+compute, func(t *testing.T) {
				cfg := tinyConfig(t, checkpoint.F32)
				cfg.Mask, cfg.ComputeDType, cfg.R, cfg.Density = name, compute, 0, 0.05
				first := entries(t, cfg)

				cfg.Threads = 1
				if !equal(entries(t, cfg), first) {
					t.Error("depends on the number of threads")
				}
				cfg.GradientCheckpointing = true
				if !equal(entries(t, cfg), first) {
					t.Error("depends on gradient_checkpointing")
				}
				slices.Reverse(cfg.TargetModules)
				if !equal(entries(t, cfg), first) {
					t.Error("depends on the order of target_modules")
				}
				cfg.MaxMemory = 1e-9
				if !equal(entries(t, cfg), first) {
					t.Error("depends on the number of passes")
				}
				cfg.MaxMemory = 0

				next := *cfg
				next.Offset = 0.05
				second := entries(t, &next)
				next.Offset = 0.1
				third := entries(t, &next)
				if count(second) != count(first) || common(first, second)+common(second, third)+common(first, third) > 0 {
					t.Error("masks that follow each other share entries")
				}

				m, err := ChooseMask(context.Background(), cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "mask.st")
				if err := m.Adapter.SaveFile(file); err != nil {
					t.Fatal(err)
				}
				next.Offset, next.Exclude = 0, []string{file}
				others := entries(t, &next)
				if count(others) != count(first) || common(first, others) > 0 {
					t.Error("takes excluded entries")
				}

				// A run from the saved mask is the run that chooses it.
				cfg.OutputDir = filepath.Join(t.TempDir(), "chosen")
				mustRun(t, cfg)
				chosen := cfg.OutputDir
				cfg.InitAdapter, cfg.OutputDir = file, filepath.Join(t.TempDir(), "given")
				mustRun(t, cfg)
				if !slices.Equal(values(t, cfg.OutputDir), values(t, chosen)) {
					t.Error("a run from the saved mask gives other values")
				}
			})
		}
	}
}

// values returns the values of the adapter at path, one module after another.
func values(t *testing.T, path string) []float32 {
	t.Helper()
	a, err := adapter.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []float32
	for _, d := range a.Deltas {
		all = append(all, d.(*adapter.Sparse).Values...)
	}
	return all
}

func TestGlobalScope(t *testing.T) {
	for _, name := range []string{"wm", "grad", "snip"} {
		cfg := tinyConfig(t, checkpoint.F32)
		cfg.Mask, cfg.R, cfg.Density = name, 0, 0.05
		each := entries(t, cfg)
		cfg.Scope = config.ScopeGlobal
		all := entries(t, cfg)
		if count(all) != count(each) || equal(all, each) {
			t.Errorf("%s: %d entries, want %d others than those of each weight by itself", name, count(all), count(each))
		}
		cfg.MaxMemory = 1e-9 // one weight a pass
		if !equal(entries(t, cfg), all) {
			t.Errorf("%s: depends on the number of passes", name)
		}
		cfg.Offset = 0.05
		if next := entries(t, cfg); count(next) != count(all) || common(next, all) > 0 {
			t.Errorf("%s: the next mask has %d entries, %d of them those of the first", name, count(next), common(next, all))
		}
	}
}

// TestDensityPattern wants the most special density, and an offset of one mask of each weight's size.
func TestDensityPattern(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.Mask, cfg.R, cfg.Density = "wm", 0, 0.125
	cfg.DensityPattern = map[string]float64{"q_proj": 0.25, "layers.1.self_attn.q_proj": 0.5}
	first := entries(t, cfg)
	for module, want := range map[string]int{
		"model.layers.0.self_attn.q_proj": 64, "model.layers.1.self_attn.q_proj": 128, "model.layers.0.self_attn.v_proj": 16,
	} {
		if got := len(first[module]); got != want {
			t.Errorf("%s: %d entries, want %d", module, got, want)
		}
	}
	cfg.Offset = 0.125
	if next := entries(t, cfg); count(next) != count(first) || common(next, first) > 0 {
		t.Errorf("the next mask has %d entries, %d of them those of the first", count(next), common(next, first))
	}
}

// TestMaskErrors wants what a mask cannot do to be said.
func TestMaskErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*config.Train)
		kind fault.Kind
		want string
	}{
		{"budget", func(cfg *config.Train) { cfg.R = 1 << 20 }, fault.Usage, "exceeds the weight's 16×16 = 256"},
		{"global budget", func(cfg *config.Train) { cfg.Scope, cfg.R = config.ScopeGlobal, 1<<20 }, fault.Usage, "entries of all weights"},
		{"offset", func(cfg *config.Train) { cfg.R, cfg.Offset = 4, 5 }, fault.Usage, "128 entries after an offset of 160 exceeds the 256"},
		{"pattern", func(cfg *config.Train) {
			cfg.R, cfg.Density, cfg.DensityPattern = 0, 0.1, map[string]float64{"k_proj": 0.2}
		}, fault.Usage, `none of the target weights: "k_proj"`},
		{"absent", func(cfg *config.Train) { cfg.Exclude = []string{"absent"} }, fault.Environment, "absent"},
	} {
		cfg := tinyConfig(t, checkpoint.F32)
		cfg.Mask = "wm"
		c.set(cfg)
		if _, err := ChooseMask(context.Background(), cfg, nil); fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want kind %v and %q", c.name, err, c.kind, c.want)
		}
	}
}

// TestPlanOfCalibration wants a plan without calibration that knows what that takes.
func TestPlanOfCalibration(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.Mask, cfg.R, cfg.Density, cfg.BatchSize, cfg.MaxSeqLength, cfg.ValidationFile = "snip", 0, 0.01, 1, 16, ""
	cfg.TargetModules = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
	p, err := MakePlan(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if p.Mask != "snip" || p.Trained == 0 {
		t.Errorf("plan of mask %q with %d values", p.Mask, p.Trained)
	}
	if i := slices.IndexFunc(p.Memory, func(m PlanMemory) bool { return strings.HasPrefix(m.Component, "calibration") }); i < 0 {
		t.Error("calibration takes no memory")
	}
	r, _ := mustRun(t, cfg)
	if r.TrainableParameters != p.Trained {
		t.Errorf("%d values, the plan said %d", r.TrainableParameters, p.Trained)
	}
}

func TestTallyPasses(t *testing.T) {
	weights := []*nn.Weight{{Name: "a", Out: 4, In: 4}, {Name: "b", Out: 2, In: 8}, {Name: "c", Out: 10, In: 10}, {Name: "d", Out: 1, In: 1}}
	for _, c := range []struct {
		limit int64
		want  []int // weights in each pass
	}{{1, []int{1, 1, 1, 1}}, {128, []int{2, 1, 1}}, {404, []int{2, 2}}, {1 << 20, []int{4}}} {
		var got []int
		for _, pass := range tallyPasses(weights, c.limit) {
			got = append(got, len(pass))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("limit %d: passes of %v weights, want %v", c.limit, got, c.want)
		}
	}
}
