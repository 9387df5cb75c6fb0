package train

import (
	"math"
	"slices"
	"testing"

	"shira/internal/config"
)

// TestSchedules compares with what transformers.get_scheduler (5.x) gives for a peak of 2 over 12 steps.
func TestSchedules(t *testing.T) {
	type kwargs = map[string]string
	warm := []float64{0, 0.666666667, 1.333333333}
	seen := map[string]bool{}
	for _, c := range []struct {
		kind   string
		warmup int
		args   kwargs
		want   []float64 // of the last steps
	}{
		{"linear", 3, nil, []float64{2, 1.777777778, 1.555555556, 1.333333333, 1.111111111, 0.888888889, 0.666666667, 0.444444444, 0.222222222}},
		{"cosine", 3, nil, []float64{2, 1.939692621, 1.766044443, 1.5, 1.173648178, 0.826351822, 0.5, 0.233955557, 0.060307379}},
		{"cosine", 3, kwargs{"num_cycles": "1.5"}, []float64{2, 1.5, 0.5, 0, 0.5, 1.5, 2, 1.5, 0.5}},
		{"cosine_with_restarts", 3, nil, []float64{2, 1.939692621, 1.766044443, 1.5, 1.173648178, 0.826351822, 0.5, 0.233955557, 0.060307379}},
		{"cosine_with_restarts", 3, kwargs{"num_cycles": "3"}, []float64{2, 1.5, 0.5, 2, 1.5, 0.5, 2, 1.5, 0.5}},
		{"polynomial", 3, nil, []float64{2, 1.777777789, 1.555555578, 1.333333367, 1.111111156, 0.888888944, 0.666666733, 0.444444522, 0.222222311}},
		{"polynomial", 3, kwargs{"lr_end": "0.1", "power": "2.0"}, []float64{2, 1.601234568, 1.249382716, 0.944444444, 0.686419753, 0.475308642, 0.311111111, 0.19382716, 0.12345679}},
		{"constant", 0, nil, []float64{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}},
		{"constant_with_warmup", 3, nil, []float64{2, 2, 2, 2, 2, 2, 2, 2, 2}},
		{"inverse_sqrt", 3, nil, []float64{2, 1.732050808, 1.549193338, 1.414213562, 1.309307341, 1.224744871, 1.154700538, 1.095445115, 1.044465936}},
		{"inverse_sqrt", 0, nil, []float64{2, 1.999900007, 1.99980003, 1.999700067, 1.99960012, 1.999500187, 1.99940027, 1.999300367, 1.99920048, 1.999100607, 1.999000749, 1.998900907}},
		{"inverse_sqrt", 3, kwargs{"timescale": "5"}, []float64{2, 1.825741858, 1.690308509, 1.58113883, 1.490711985, 1.414213562, 1.348399725, 1.290994449, 1.240347346}},
		{"cosine_with_min_lr", 3, kwargs{"min_lr": "0.2"}, []float64{2, 1.945723359, 1.789439999, 1.55, 1.25628336, 0.94371664, 0.65, 0.410560001, 0.254276641}},
		{"cosine_with_min_lr", 3, kwargs{"min_lr_rate": "0.25"}, []float64{2, 1.954769466, 1.824533332, 1.625, 1.380236133, 1.119763867, 0.875, 0.675466668, 0.545230534}},
		{"cosine_with_min_lr", 3, kwargs{"min_lr_rate": "0.25", "num_cycles": "1.0"}, []float64{2, 1.824533332, 1.380236133, 0.875, 0.545230534, 0.545230534, 0.875, 1.380236133, 1.824533332}},
		{"warmup_stable_decay", 3, kwargs{"num_decay_steps": "5"}, []float64{2, 2, 2, 2, 2, 1.809016994, 1.309016994, 0.690983006, 0.190983006}},
		{"warmup_stable_decay", 3, kwargs{"num_decay_steps": "5", "min_lr_ratio": "0.1", "decay_type": "linear", "warmup_type": "cosine"}, []float64{0.2, 0.65, 1.55, 2, 2, 2, 2, 2, 1.64, 1.28, 0.92, 0.56}},
		{"warmup_stable_decay", 3, kwargs{"num_decay_steps": "5", "decay_type": "1-sqrt", "num_stable_steps": "2"}, []float64{2, 2, 2, 1.105572809, 0.735088936, 0.450806662, 0.211145618, 0, 0}},
	} {
		seen[c.kind] = true
		cfg := config.Defaults()
		cfg.LearningRate, cfg.LRSchedulerType, cfg.LRSchedulerKwargs = 2, c.kind, c.args
		want := c.want
		if len(want) == 9 {
			want = slices.Concat(warm, want)
		}
		for step, w := range want {
			if got := rateAt(&cfg, step, 12, c.warmup); math.Abs(got-w) > 1e-8 {
				t.Errorf("%s %v, step %d: %.9f, want %.9f", c.kind, c.args, step, got, w)
			}
		}
	}
	for _, k := range config.Keys() {
		if k.Name != "lr_scheduler_type" {
			continue
		}
		for _, name := range k.Choices {
			if !seen[name] {
				t.Errorf("%s is not compared", name)
			}
		}
		if len(k.Choices) != len(schedules) {
			t.Errorf("%d schedules, %d names", len(schedules), len(k.Choices))
		}
	}
}
