package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"shira/internal/fault"
)

// scheduler is a value of lr_scheduler_type.
type scheduler struct {
	name string
	args []string // names of lr_scheduler_kwargs that it takes
	need []string // of which one must be given
}

// schedulers is the table of schedules; package train has their formulas.
var schedulers = []scheduler{
	{name: "linear"},
	{name: "cosine", args: []string{"num_cycles"}},
	{name: "constant"},
	{name: "constant_with_warmup"},
	{name: "cosine_with_restarts", args: []string{"num_cycles"}},
	{name: "cosine_with_min_lr", args: []string{"min_lr", "min_lr_rate", "num_cycles"}, need: []string{"min_lr", "min_lr_rate"}},
	{name: "polynomial", args: []string{"lr_end", "power"}},
	{name: "inverse_sqrt", args: []string{"timescale"}},
	{name: "warmup_stable_decay", need: []string{"num_decay_steps"},
		args: []string{"num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"}},
}

// schedulerForms are the values of warmup_type and decay_type.
var schedulerForms = []string{"linear", "cosine", "1-sqrt"}

// schedulerChecks say what the values of lr_scheduler_kwargs that are numbers must be.
var schedulerChecks = map[string]func(float64) string{
	"num_cycles": positive, "power": positive, "timescale": positive, "min_lr": atLeast(0), "lr_end": atLeast(0),
	"min_lr_rate": within(0, 1), "min_lr_ratio": within(0, 1), "num_decay_steps": atLeast(1), "num_stable_steps": atLeast(0),
}

func schedulerNames() []string {
	var names []string
	for _, s := range schedulers {
		names = append(names, s.name)
	}
	return names
}

// wrongSchedule says what is wrong with the arguments of a schedule, one line each.
func wrongSchedule(kind string, args map[string]string) []string {
	i := slices.IndexFunc(schedulers, func(s scheduler) bool { return s.name == kind })
	if i < 0 {
		return nil // told where it stands
	}
	s := schedulers[i]
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		value := args[name]
		if !slices.Contains(s.args, name) {
			takes := "takes none"
			if len(s.args) > 0 {
				takes = "takes " + strings.Join(s.args, ", ")
			}
			wrong = append(wrong, fmt.Sprintf("no %s: %s %s", fault.Quote(name), kind, takes))
			continue
		}
		check, number := schedulerChecks[name]
		if !number {
			if !slices.Contains(schedulerForms, value) {
				wrong = append(wrong, fmt.Sprintf("%s: want one of %s, got %s", name, strings.Join(schedulerForms, ", "), fault.Quote(value)))
			}
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !decimal.MatchString(value) {
			wrong = append(wrong, fmt.Sprintf("%s: want a number, got %s", name, fault.Quote(value)))
		} else if msg := check(v); msg != "" {
			wrong = append(wrong, fmt.Sprintf("%s: %s, got %s", name, msg, value))
		}
	}
	given := 0
	for _, name := range s.need {
		if _, ok := args[name]; ok {
			given++
		}
	}
	if len(s.need) > 0 && given != 1 {
		wrong = append(wrong, fmt.Sprintf("%s needs one of %s", kind, strings.Join(s.need, ", ")))
	}
	return wrong
}

// SchedulerArg returns a number of lr_scheduler_kwargs, or what stands for it where it is not given.
func (t *Train) SchedulerArg(name string, otherwise float64) float64 {
	if v, err := strconv.ParseFloat(t.LRSchedulerKwargs[name], 64); err == nil {
		return v
	}
	return otherwise
}
