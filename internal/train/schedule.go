package train

import (
	"math"

	"shira/internal/config"
)

// schedule returns the factor on the peak rate at a step, counted from 0, after the warm-up. progress is the share of the
// steps after the warm-up that lie before it.
type schedule func(cfg *config.Train, step int, progress float64, warmup int) float64

// schedules are the values of lr_scheduler_type, with the formulas of transformers' optimization.py.
var schedules = map[string]schedule{
	"constant":             func(*config.Train, int, float64, int) float64 { return 1 },
	"constant_with_warmup": func(*config.Train, int, float64, int) float64 { return 1 },
	"linear":               func(_ *config.Train, _ int, progress float64, _ int) float64 { return 1 - progress },
	"cosine": func(cfg *config.Train, _ int, progress float64, _ int) float64 {
		return wave(cfg.SchedulerArg("num_cycles", 0.5), progress)
	},
	"cosine_with_restarts": func(cfg *config.Train, _ int, progress float64, _ int) float64 {
		return wave(0.5, math.Mod(cfg.SchedulerArg("num_cycles", 1)*progress, 1))
	},
	"cosine_with_min_lr": func(cfg *config.Train, _ int, progress float64, _ int) float64 {
		least := cfg.SchedulerArg("min_lr_rate", cfg.SchedulerArg("min_lr", 0)/cfg.LearningRate)
		return wave(cfg.SchedulerArg("num_cycles", 0.5), progress)*(1-least) + least
	},
	"polynomial": func(cfg *config.Train, _ int, progress float64, _ int) float64 {
		end := cfg.SchedulerArg("lr_end", 1e-7) / cfg.LearningRate
		return (1-end)*math.Pow(1-progress, cfg.SchedulerArg("power", 1)) + end
	},
	"inverse_sqrt": func(cfg *config.Train, step int, _ float64, warmup int) float64 {
		scale := cfg.SchedulerArg("timescale", 10_000)
		if warmup > 0 {
			scale = cfg.SchedulerArg("timescale", float64(warmup))
		}
		return 1 / math.Sqrt((float64(step-warmup)+scale)/scale)
	},
	// Its warm-up has a form of its own: see rateAt.
	stableDecay: nil,
}

const stableDecay = "warmup_stable_decay"

// wave is the cosine from 1 that runs through the given number of cycles while progress goes from 0 to 1.
func wave(cycles, progress float64) float64 { return 0.5 * (1 + math.Cos(2*math.Pi*cycles*progress)) }

// rateAt returns the learning rate of a step, counted from 0, of total: a linear warm-up from 0, then the schedule.
func rateAt(cfg *config.Train, step, total, warmup int) float64 {
	if cfg.LRSchedulerType == stableDecay {
		return cfg.LearningRate * stableDecayAt(cfg, step, total, warmup)
	}
	if step < warmup {
		return cfg.LearningRate * float64(step) / float64(warmup)
	}
	progress := float64(step-warmup) / float64(max(1, total-warmup))
	return cfg.LearningRate * schedules[cfg.LRSchedulerType](cfg, step, progress, warmup)
}

// stableDecayAt rises, stays and falls, from and to a least share of the peak.
func stableDecayAt(cfg *config.Train, step, total, warmup int) float64 {
	decay := int(cfg.SchedulerArg("num_decay_steps", 0))
	stable := int(cfg.SchedulerArg("num_stable_steps", float64(max(0, total-warmup-decay))))
	least := cfg.SchedulerArg("min_lr_ratio", 0)
	form := func(name, otherwise string) string {
		if f := cfg.LRSchedulerKwargs[name]; f != "" {
			return f
		}
		return otherwise
	}
	factor := 0.0
	switch {
	case step < warmup:
		factor = rise(form("warmup_type", "linear"), float64(step)/float64(warmup))
	case step < warmup+stable:
		return 1
	case step < warmup+stable+decay:
		progress := float64(step-warmup-stable) / float64(decay)
		if f := form("decay_type", "cosine"); f == "cosine" {
			factor = wave(cfg.SchedulerArg("num_cycles", 0.5), progress)
		} else {
			factor = fall(f, progress)
		}
	}
	return factor*(1-least) + least
}

// rise goes from 0 to 1 with progress, fall from 1 to 0.
func rise(form string, progress float64) float64 {
	switch form {
	case "cosine":
		return 1 - wave(0.5, progress)
	case "1-sqrt":
		return 1 - math.Sqrt(1-progress)
	}
	return progress
}

func fall(form string, progress float64) float64 {
	if form == "1-sqrt" {
		return 1 - math.Sqrt(progress)
	}
	return 1 - progress
}
