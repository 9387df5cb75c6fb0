package train

import (
	"fmt"
	"math"
)

// schedule returns the factor on the learning rate at a step, counted from 0, of total.
type schedule func(step, total, warmup int) float64

// schedules are the values of lr_scheduler_type, with the meaning of Hugging Face's.
var schedules = map[string]schedule{
	"constant": func(_, _, _ int) float64 { return 1 },
	"linear":   func(step, total, warmup int) float64 { return float64(total-step) / float64(max(1, total-warmup)) },
	"cosine": func(step, total, warmup int) float64 {
		return 0.5 * (1 + math.Cos(math.Pi*float64(step-warmup)/float64(max(1, total-warmup))))
	},
}

// rateAt returns the learning rate of a step: a linear warm-up from 0, then the schedule.
func rateAt(kind string, peak float64, step, total, warmup int) (float64, error) {
	s, ok := schedules[kind]
	if !ok {
		return 0, fmt.Errorf("unknown lr_scheduler_type %q", kind)
	}
	if step < warmup {
		return peak * float64(step) / float64(warmup), nil
	}
	return peak * s(step, total, warmup), nil
}
