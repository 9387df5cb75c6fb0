package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestSchedulerKwargs(t *testing.T) {
	for text, want := range map[string]string{
		"lr_scheduler_type: cosine_with_restarts\nlr_scheduler_kwargs: {num_cycles: 3}":                     "",
		"lr_scheduler_type: cosine_with_restarts\nlr_scheduler_kwargs:\n  num_cycles: 3":                    "",
		"lr_scheduler_type: wsd\nlr_scheduler_kwargs: {num_decay_steps: 5, decay_type: 1-sqrt}":             "",
		"lr_scheduler_type: linear\nlr_scheduler_kwargs: {num_cycles: 3}":                                   `no "num_cycles": linear takes none`,
		"lr_scheduler_type: polynomial\nlr_scheduler_kwargs: {power: two}":                                  `power: want a number, got "two"`,
		"lr_scheduler_type: polynomial\nlr_scheduler_kwargs: {power: -1}":                                   "power: want more than 0, got -1",
		"lr_scheduler_type: cosine_with_min_lr":                                                             "cosine_with_min_lr needs one of min_lr, min_lr_rate",
		"lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr: 1, min_lr_rate: 0.1}":         "needs one of min_lr, min_lr_rate",
		"lr_scheduler_type: warmup_stable_decay\nlr_scheduler_kwargs: {num_decay_steps: 5, decay_type: up}": `decay_type: want one of linear, cosine, 1-sqrt, got "up"`,
		"lr_scheduler_kwargs: [3]":          "want a mapping of names to values, as {num_cycles: 3}, got a list",
		"lr_scheduler_kwargs: {a: {b: 1}}":  "want a mapping of names to values",
		"lr_scheduler_kwargs: {a: 1, a: 2}": `"a" twice`,
		"seed: {a: 1}":                      "want a whole number from 0 to 2^64-1, got a mapping",
		"target_modules: {a: 1}":            "want a list of names, got a mapping",
	} {
		_, err := Parse("run.yaml", []byte(minimal+"r: 2\n"+text))
		if got := errText(err); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"{num_cycles: 2, min_lr: 1e-6}", "num_cycles=2,min_lr=1e-6", ` num_cycles = 2 , "min_lr": 1e-6`} {
		r, err := Parse("run.yaml", []byte(minimal+"r: 2\nlr_scheduler_type: cosine_with_min_lr\n"), Override{Layer: Flag, Name: "lr_scheduler_kwargs", Value: text})
		if err != nil || !maps.Equal(r.LRSchedulerKwargs, map[string]string{"num_cycles": "2", "min_lr": "1e-6"}) {
			t.Errorf("%s: %v, %v", text, r, err)
		} else if r.SchedulerArg("min_lr", 1) != 1e-6 || r.SchedulerArg("power", 3) != 3 {
			t.Errorf("%s: arguments are not read", text)
		}
	}
}

func TestSynonyms(t *testing.T) {
	for text, want := range map[string]struct {
		notice string
		value  func(*Train) bool
	}{
		"bf16: true":          {"run.yaml:5: bf16: true is read as compute_dtype: bfloat16", (*Train).Half},
		"bf16: false":         {"run.yaml:5: bf16: false is read as compute_dtype: float32", func(t *Train) bool { return !t.Half() }},
		"compute_dtype: bf16": {`run.yaml:5: compute_dtype "bf16" is read as bfloat16`, (*Train).Half},
		"compute_dtype: fp32": {`run.yaml:5: compute_dtype "fp32" is read as float32`, func(t *Train) bool { return !t.Half() }},
		"fp16: false":         {"", func(t *Train) bool { return !t.Half() }},
		"optim: adamw_hf": {`run.yaml:5: optim "adamw_hf" is read as adamw_torch`,
			func(t *Train) bool { return t.Optim == "adamw_torch" }},
		"resume_from_checkpoint: true": {`run.yaml:5: resume_from_checkpoint "true" is read as auto`,
			func(t *Train) bool { return t.ResumeFromCheckpoint == ResumeAuto }},
		"resume_from_checkpoint: false": {"", func(t *Train) bool { return t.ResumeFromCheckpoint == "" }},
	} {
		r, err := Parse("run.yaml", []byte(minimal+"r: 2\n"+text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := strings.Join(r.Notices, "\n"); got != want.notice || !want.value(&r.Train) {
			t.Errorf("%s: notices %q, want %q; %+v", text, got, want.notice, r.Train)
		}
	}
	for text, want := range map[string]string{
		"fp16: true":                                       "fp16 is not available in this version",
		"optim: adamw_8bit":                                `optim: "adamw_8bit" is not available in this version: want adamw_torch`,
		"bf16: true\ncompute_dtype: float32":               "compute_dtype: is given twice, first in line 5 as bf16",
		"load_in_4bit: true":                               "load_in_4bit is not available in this version",
		"loraplus_lr_ratio: 16":                            "loraplus_lr_ratio: has no effect with method shira",
		"report_to: [wandb]":                               `report_to: want none or tensorboard, got "wandb"`,
		"logging_dir: logs":                                "logging_dir: has no effect without report_to: tensorboard",
		"eval_strategy: steps":                             "eval_strategy: steps needs eval_steps",
		"eval_strategy: no\neval_steps: 5":                 "eval_steps: has no effect with eval_strategy: no",
		"eval_strategy: epoch":                             "eval_strategy: needs a validation_file",
		"load_best_model_at_end: true":                     "load_best_model_at_end: needs a validation_file",
		"early_stopping_patience: 3":                       "early_stopping_patience: needs a validation_file",
		"load_best_model_at_end: true\nvalidation_file: v": "load_best_model_at_end: needs evaluations during the run: set eval_steps",
		"greater_is_better: true":                          "greater_is_better is not available",
	} {
		if _, err := Parse("run.yaml", []byte(minimal+"r: 2\n"+text)); !strings.Contains(errText(err), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for name, f := range foreigners {
		if lookup(name) != nil || f.as != "" && lookup(f.as) == nil {
			t.Errorf("%s: %+v: the first is a key, or the other is none", name, f)
		}
		if strings.Contains(f.advice, ";") { // which stands between two
			t.Errorf("%s: %s", name, f.advice)
		}
	}
	for _, s := range synonyms {
		if s.asKey != "" && lookup(s.asKey) == nil {
			t.Errorf("%+v is read as a key that does not exist", s)
		}
	}
}

func TestChanged(t *testing.T) {
	a := Defaults()
	a.R, a.Seed, a.ValidationFile, a.Datasets = 2, 7, "v.jsonl", []Dataset{{Path: "a.json", Weight: 2}, {Path: "b.json"}}
	record := a.Record()
	b := a
	// What is computed the same may change.
	b.OutputDir, b.SaveSteps, b.LoggingSteps, b.Threads, b.EvalSteps, b.MaxSteps = "elsewhere", 3, 9, 1, 4, 1
	b.ValidationFile, b.Datasets = "moved/v.jsonl", []Dataset{{Path: "moved/a.json", Weight: 2}, {Path: "moved/b.json"}}
	if got := b.Changed(record); len(got) != 0 {
		t.Errorf("changed: %q", got)
	}
	b.Datasets[0].Weight = 3
	b.R, b.Seed, b.WeightDecay, b.TargetModules = 0, 8, 0.1, []string{"q_proj"}
	want := []string{`datasets was ["{weight: 2}","{}"], is ["{weight: 3}","{}"]`, "r was 2, is not given", `target_modules was ["q_proj","k_proj","v_proj","up_proj","down_proj"], is ["q_proj"]`, "weight_decay was 0, is 0.1", "seed was 7, is 8"}
	if got := b.Changed(record); !slices.Equal(got, want) {
		t.Errorf("changed: %q, want %q", got, want)
	}
	delete(record, "weight_decay") // a checkpoint of a version that did not have the key
	if got := a.Changed(record); len(got) != 0 {
		t.Errorf("changed: %q", got)
	}
}

func TestText(t *testing.T) {
	for want, v := range map[string]any{
		"-": nil, "[a, b]": []string{"a", "b"}, "{a: x, b: 2}": map[string]string{"b": "2", "a": "x"}, "{q_proj: 0.5}": map[string]float64{"q_proj": 0.5}, "1e-05": 1e-5, "true": true,
	} {
		if got := Text(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
