// Package train runs the training loop: it plans a run, trains on a gorgonia graph, evaluates on the way and writes the
// adapter or, for full fine-tuning, the model.
package train

import (
	"shira/internal/eval"
	"shira/internal/nn"
)

// Observer is told what happens during a run. Calls come from one goroutine, in order.
type Observer interface {
	Start(*Plan)      // once, before the first step
	Resume(step int)  // after Start, where the run goes on after a step of an earlier one
	Step(StepInfo)    // after every optimizer step
	Eval(EvalInfo)    // after every evaluation on the validation file
	Saved(dir string) // after every checkpoint
	Notice(s string)  // something the user should know, one line
}

// StepInfo describes one optimizer step.
type StepInfo struct {
	Step, Steps     int     // this step, from 1, of how many
	Loss            float64 // mean over the step's counted tokens, in nats
	LearningRate    float64
	GradNorm        float64 // before clipping
	Epoch           float64 // passes over the training data so far
	Tokens          int64   // tokens processed so far
	TokensPerSecond float64 // of this step
}

// EvalInfo is one evaluation on the validation file; Step 0 is before training.
type EvalInfo struct {
	Step   int
	Epoch  float64
	Loss   float64 // mean over counted tokens, in nats
	Tokens int64   // counted tokens
}

// Result is what a finished run reports.
type Result struct {
	OutputDir           string   `json:"output_dir"`
	Steps               int      `json:"steps"`
	ResumedFrom         int      `json:"resumed_from,omitempty"` // the step that the run went on after
	BestStep            int      `json:"best_step,omitempty"`    // of the lowest validation loss; with load_best_model_at_end the result
	StoppedEarly        bool     `json:"stopped_early,omitempty"`
	TrainLoss           float64  `json:"train_loss"` // of the last step
	EvalLoss            *float64 `json:"eval_loss"`  // of the result; null without a validation file
	EvalLossBefore      *float64 `json:"eval_loss_before"`
	TrainableParameters int64    `json:"trainable_parameters"`
	// OpenRanks is how far foura's gates are open, on the mean over the calibration examples.
	OpenRanks       []eval.Opening `json:"open_ranks,omitempty"`
	TokensPerSecond float64        `json:"tokens_per_second"` // mean over the steps
	PeakRSSBytes    int64          `json:"peak_rss_bytes"`
	Cut             bool           `json:"-"`       // rows of the validation file, or without one of the training file, were cut
	Profile         *Profile       `json:"profile"` // where it was asked for, and there was a second step
}

// Profile says where a run's time went.
type Profile struct {
	Seconds   float64           `json:"seconds"` // of all steps but the first, which makes room for what follows
	Operators []nn.OperatorTime `json:"operators"`
	Flops     float64           `json:"flops"`      // sum over the operators
	PeakFlops float64           `json:"peak_flops"` // a second: measured for large matrix products of the type in use
	Threads   int               `json:"threads"`
	// Utilisation is Flops / Seconds / PeakFlops.
	Utilisation float64 `json:"utilisation"`
}

// Plan is what a run would do, as `train --dry-run` prints it.
type Plan struct {
	Model          string       `json:"model"`
	Method         string       `json:"method"`
	Mask           string       `json:"mask,omitempty"`
	Parameters     int64        `json:"parameters"` // of the whole model, tied weights once
	Targets        []PlanTarget `json:"targets"`
	Trained        int64        `json:"trained_parameters"`
	ShareOfTargets float64      `json:"share_of_targets"` // trained / entries of the matched weights
	ShareOfModel   float64      `json:"share_of_model"`   // trained / parameters of the model
	AdapterBytes   int64        `json:"adapter_bytes"`    // of what the run writes
	Checkpointing  bool         `json:"gradient_checkpointing"`
	Memory         []PlanMemory `json:"memory"`       // estimate of the peak, by component
	MemoryTotal    int64        `json:"memory_bytes"` // and of all
	Examples       int          `json:"examples"`
	Truncated      int          `json:"truncated"`       // examples cut at max_seq_length
	NoLabels       int          `json:"no_labels"`       // examples dropped for having nothing to predict
	Files          []PlanFile   `json:"files"`           // of the training data, and then of the validation data
	StepsPerEpoch  int          `json:"steps_per_epoch"` // of the first
	Steps          int          `json:"steps"`
	TokensPerStep  int          `json:"tokens_per_step"` // at most
	Notices        []string     `json:"-"`               // what the user should know, one line each
	Refusal        error        `json:"-"`               // of a run that would not fit in memory, or nil
}

// PlanTarget is one entry of target_modules and what it matched.
type PlanTarget struct {
	Pattern string `json:"pattern"`
	Matched int    `json:"matched"` // weights
	Out     int    `json:"out"`     // shape of the first match
	In      int    `json:"in"`
	Weights int64  `json:"weights"` // entries over all matches
	Trained int64  `json:"trained"`
	Ranks   []int  `json:"ranks,omitempty"` // of factors, ascending
}

// PlanMemory is one component of the memory estimate.
type PlanMemory struct {
	Component string `json:"component"`
	Bytes     int64  `json:"bytes"`
}
