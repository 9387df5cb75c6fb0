package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"shira/internal/fault"
)

func atLeast(low float64) func(float64) string {
	return func(v float64) string {
		if v < low {
			return fmt.Sprintf("want at least %g", low)
		}
		return ""
	}
}

func within(low, high float64) func(float64) string {
	return func(v float64) string {
		if v < low || v > high {
			return fmt.Sprintf("want %.f to %.f", low, high)
		}
		return ""
	}
}

func positive(v float64) string {
	if v <= 0 {
		return "want more than 0"
	}
	return ""
}

func share(v float64) string {
	if v <= 0 || v > 1 {
		return "want more than 0 and at most 1"
	}
	return ""
}

func below1(v float64) string {
	if v < 0 || v >= 1 {
		return "want at least 0 and less than 1"
	}
	return ""
}

// Validate checks everything that can be known without the model and the data, and returns one Usage error with all that is
// wrong.
func (t *Train) Validate() error {
	p := problems{}
	for i := range keys {
		k := &keys[i]
		if k.unset != nil && k.unset(t) {
			continue
		}
		if msg := k.wrong(t); msg != "" {
			p.add(Origin{}, k.Name, "%s", msg)
		}
	}
	for _, pair := range exclusive {
		if !t.both(pair) && !lookup(pair[0]).unset(t) && !lookup(pair[1]).unset(t) {
			p.add(Origin{}, pair[0], "give it or %s, not both", pair[1])
		}
	}
	t.relations(ForTraining, &p, p.has, func(string) Origin { return Origin{} })
	return p.err("")
}

// wrong says what the key's value in t must be instead, "" when it is right.
func (k *Key) wrong(t *Train) string {
	switch v := k.field(t).(type) {
	case *string:
		return k.wrongChoice(*v)
	case *float64:
		return k.wrongNumber(*v, formatFloat(*v))
	case *int:
		return k.wrongNumber(float64(*v), fmt.Sprint(*v))
	case **int:
		return k.wrongNumber(float64(**v), fmt.Sprint(**v))
	}
	return ""
}

func (k *Key) wrongChoice(v string) string {
	switch {
	case k.Choices == nil || slices.Contains(k.Choices, v) || v == "" && k.Default == "":
		return ""
	case slices.Contains(k.Planned, v):
		return fmt.Sprintf("%s is not available in this version: want %s", fault.Quote(v), strings.Join(k.Choices, ", "))
	}
	return fmt.Sprintf("want one of %s, got %s", strings.Join(k.Choices, ", "), fault.Quote(v))
}

func (k *Key) wrongNumber(v float64, text string) string {
	if v-v != 0 {
		return fmt.Sprintf("want a finite number, got %s", text)
	}
	if k.check == nil {
		return ""
	}
	if msg := k.check(v); msg != "" {
		return fmt.Sprintf("%s, got %s", msg, text)
	}
	return ""
}

// relations checks what keys mean together, as far as their values are not wrong by themselves. origin returns where a
// key's value comes from.
func (t *Train) relations(purpose Purpose, p *problems, wrong func(key string) bool, origin func(key string) Origin) {
	add := func(key, format string, args ...any) { p.add(origin(key), key, format, args...) }
	for _, required := range []struct {
		key, value string
		needed     bool
	}{
		{"model_name_or_path", t.ModelNameOrPath, true},
		{"train_file", strings.Join(texts(t.TrainData()), ""), (purpose != ForMask || calibrates(t.Mask)) && !wrong("datasets")},
		{"output_dir", t.OutputDir, purpose == ForTraining},
	} {
		switch {
		case required.value != "" || !required.needed || wrong(required.key):
		case purpose == ForMask && required.key == "train_file":
			add(required.key, "is missing: mask %s looks at examples, of --data or the configuration", t.Mask)
		default:
			add(required.key, "is missing")
		}
	}
	t.dataRelations(add, wrong)
	if purpose == ForData {
		return
	}
	if purpose == ForMask {
		t.choosesMask(add, wrong)
	}
	t.methodRelations(add, wrong)
	if !wrong("lr_scheduler_type") && !wrong("lr_scheduler_kwargs") {
		for _, msg := range wrongSchedule(t.LRSchedulerType, t.LRSchedulerKwargs) {
			add("lr_scheduler_kwargs", "%s", msg)
		}
	}
	t.watching(add, wrong)
	t.maskRelations(add, wrong)
	for _, dir := range []struct{ key, value string }{{"output_dir", t.OutputDir}, {"logging_dir", t.LoggingDir}} {
		if first, _, _ := strings.Cut(filepath.ToSlash(dir.value), "/"); first == "~" && !wrong(dir.key) {
			add(dir.key, "%s: ~ is no home directory here: give the whole path", fault.Quote(dir.value))
		}
	}
	if t.OutputDir == "" {
		return
	}
	if t.InitAdapter != "" && samePlace(t.OutputDir, t.InitAdapter) {
		add("output_dir", "is that of init_adapter, which the run would overwrite")
	}
	if t.ModelNameOrPath != "" && samePlace(t.OutputDir, t.ModelNameOrPath) {
		add("output_dir", "is that of model_name_or_path, which the run would overwrite")
	}
}

// watching checks the keys of evaluations and reports.
func (t *Train) watching(add func(key, format string, args ...any), wrong func(key string) bool) {
	between := t.EvalSteps > 0 || t.EvalStrategy == StrategyEpoch
	switch {
	case wrong("eval_strategy") || wrong("eval_steps"):
	case t.EvalStrategy == StrategySteps && t.EvalSteps == 0:
		add("eval_strategy", "steps needs eval_steps")
	case t.EvalSteps > 0 && (t.EvalStrategy == StrategyNo || t.EvalStrategy == StrategyEpoch):
		add("eval_steps", "has no effect with eval_strategy: %s", t.EvalStrategy)
	case t.EvalStrategy == StrategyEpoch && !t.Validates():
		add("eval_strategy", "needs a validation_file")
	}
	for _, best := range []struct {
		key string
		on  bool
	}{{"load_best_model_at_end", t.LoadBestModelAtEnd}, {"early_stopping_patience", t.EarlyStoppingPatience > 0}} {
		switch {
		case !best.on || wrong(best.key):
		case !t.Validates():
			add(best.key, "needs a validation_file")
		case !between:
			add(best.key, "needs evaluations during the run: set eval_steps")
		}
	}
	for _, name := range t.ReportTo {
		if name != "none" && name != TensorBoard {
			add("report_to", "want none or %s, got %s", TensorBoard, fault.Quote(name))
		}
	}
	if t.LoggingDir != "" && !slices.Contains(t.ReportTo, TensorBoard) {
		add("logging_dir", "has no effect without report_to: %s", TensorBoard)
	}
}

// samePlace says whether dir is path, or the directory of the file at path.
func samePlace(dir, path string) bool {
	d, p := resolve(dir), resolve(path)
	if d == p {
		return true
	}
	di, err := os.Stat(d)
	if err != nil {
		return false
	}
	pi, err := os.Stat(p)
	if err != nil {
		return false
	}
	if pi.Mode().IsRegular() {
		if pi, err = os.Stat(filepath.Dir(p)); err != nil {
			return false
		}
	}
	return os.SameFile(di, pi)
}

func resolve(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}
