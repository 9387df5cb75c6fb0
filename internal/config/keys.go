package config

import (
	"slices"
	"strings"
)

// Key is one key of the configuration.
type Key struct {
	Name    string
	Section string   // heading under which people find it
	Doc     string   // what it means, one sentence a line
	Default string   // as it would stand in the file; "" = none
	Example string   // for `config init`, where there is no default; "" = write it commented out
	Choices []string // all values, nil = any
	Planned []string // values that are known but not available in this version
	Aliases []string // names of the same thing in axolotl, mlx-lm and LLaMA-Factory

	// Free says that the value may change when a run goes on from a checkpoint: it decides nothing of what is computed, or
	// what it decides is compared otherwise (files by their content, schedules by the rates of the steps taken).
	Free bool

	field func(*Train) any         // pointer to the value; its type is the key's
	check func(v float64) string   // what a number must be, "" when v is; nil = anything
	unset func(*Train) (none bool) // whether the value stands for "not given"; nil = never
}

// Env returns the environment variable that stands for the key.
func (k *Key) Env() string { return EnvPrefix + "_" + strings.ToUpper(k.Name) }

// EnvPrefix starts the names of all environment variables of the program.
const EnvPrefix = "SHIRA"

// Sections in the order of `config init`.
const (
	sectionModel    = "Model"
	sectionData     = "Data"
	sectionMethod   = "Method"
	sectionTraining = "Training"
	sectionOutput   = "Output"
)

// maxCount bounds numbers that others are multiplied with: no real one comes near, and products stay far from overflow.
const maxCount = 1 << 20

// keys is the table of all keys, in the order of `config init`.
var keys = []Key{
	{Name: "model_name_or_path", Free: true, Section: sectionModel, Example: "path/to/model", Aliases: []string{"base_model", "model"},
		Doc:   "The base: a Hugging Face directory, or one safetensors file with config.json and tokenizer.json beside it.\nRelative paths, here and below, start at the working directory.",
		field: func(t *Train) any { return &t.ModelNameOrPath }},
	{Name: "init_adapter", Free: true, Section: sectionModel,
		Doc:   "An adapter of the same method to go on training, instead of a new one: its entries or factors, and their values.",
		field: func(t *Train) any { return &t.InitAdapter }},

	{Name: "train_file", Free: true, Section: sectionData, Example: "train.jsonl", Aliases: []string{"train_data"},
		Doc:   "Examples: JSONL, a JSON array, CSV, TSV, Parquet or plain text; texts, prompts with completions, instructions,\nconversations or tokens. docs/data.md shows each form.",
		field: func(t *Train) any { return &t.TrainFile }},
	{Name: "datasets", Section: sectionData,
		Doc:   "Several files instead, or one with odd names: [{path: a.json, type: alpaca, weight: 2, field_output: answer}].\nWeights are proportions of a mixture; without any, an epoch has every example of every file once.",
		field: func(t *Train) any { return &t.Datasets }},
	{Name: "validation_file", Free: true, Section: sectionData, Example: "valid.jsonl", Aliases: []string{"eval_file"},
		Doc:   "Held-out examples of the same kinds, evaluated before and after training and every eval_steps.",
		field: func(t *Train) any { return &t.ValidationFile }},
	{Name: "validation_datasets", Section: sectionData, Aliases: []string{"test_datasets", "eval_datasets"},
		Doc:   "Several files instead, as in datasets, without weights.",
		field: func(t *Train) any { return &t.ValidationDatasets }},
	{Name: "val_set_size", Section: sectionData, Default: "0", Aliases: []string{"val_size"},
		Doc:   "Examples of the training data to hold out instead, chosen by the seed: a share below 1, or how many.",
		field: func(t *Train) any { return &t.ValSetSize }, check: atLeast(0), unset: func(t *Train) bool { return t.ValSetSize == 0 }},
	{Name: "chat_template", Section: sectionData,
		Doc:   "How conversations become text: a file of Jinja, or chatml. Default: the chat template of the model.",
		field: func(t *Train) any { return &t.ChatTemplate }},
	{Name: "train_on_inputs", Section: sectionData, Default: "false", Aliases: []string{"train_on_prompt"},
		Doc:   "Prompts count too. Otherwise, where there is a prompt, only what follows it does: completions, outputs, and all the\nassistant's turns of a conversation.",
		field: func(t *Train) any { return &t.TrainOnInputs }},
	{Name: "max_seq_length", Section: sectionData, Default: "512", Aliases: []string{"sequence_len", "cutoff_len", "max_length"},
		Doc:   "Longer examples are cut to this many tokens. At most the model's number of positions.",
		field: func(t *Train) any { return &t.MaxSeqLength }, check: atLeast(2)},
	{Name: "packing", Section: sectionData, Default: "true", Aliases: []string{"sample_packing"},
		Doc:   "Several short examples share a row of max_seq_length tokens. They do not see each other.",
		field: func(t *Train) any { return &t.Packing }},
	{Name: "shuffle", Section: sectionData, Default: "true",
		Doc:   "A new order of the examples each epoch; false keeps that of the file.",
		field: func(t *Train) any { return &t.Shuffle }},
	{Name: "append_eos", Section: sectionData, Default: "false",
		Doc:   "End-of-sequence token after each text of the training file. A completion there always gets one. Validation, like\n`shira eval`, counts none.",
		field: func(t *Train) any { return &t.AppendEOS }},

	{Name: "method", Section: sectionMethod, Default: "shira", Choices: MethodNames(),
		Aliases: []string{"finetuning_type", "fine_tune_type", "adapter"},
		Doc: "What to train: a few entries of each target weight (shira), two thin factors beside it (lora; rslora with the scale\n" +
			"alpha/√r; dora with row norms as well; foura in a frequency domain with a gate), the entries of a mask as DoRA would\n" +
			"(shira-dora), or every parameter (full, which writes a model).",
		field: func(t *Train) any { return &t.Method }},
	{Name: "mask", Section: sectionMethod, Default: "wm", Choices: []string{"wm", "grad", "snip", "rand", "struct"},
		Doc:   "Which entries train: those of largest magnitude (wm), of largest gradient (grad) or of largest product of both (snip),\nany by the seed (rand), or the diagonal and whole rows (struct). The gradient is the mean over calibration examples.",
		field: func(t *Train) any { return &t.Mask }},
	{Name: "r", Section: sectionMethod, Example: "32", Aliases: []string{"lora_r", "lora_rank"},
		Doc: "With factors, their rank; default: 8. For method shira how many entries train: r·(out+in) of each target weight, the\n" +
			"size of a LoRA adapter of rank r; or give density.",
		field: func(t *Train) any { return &t.R }, check: within(1, maxCount), unset: func(t *Train) bool { return t.R == 0 }},
	{Name: "density", Section: sectionMethod,
		Doc:   "How many entries train, as a share of each target weight: 0.01 is 1%. Or give r.",
		field: func(t *Train) any { return &t.Density }, check: share, unset: func(t *Train) bool { return t.Density == 0 }},
	{Name: "density_pattern", Section: sectionMethod,
		Doc:   "Other densities of some of the weights, named as in target_modules: {q_proj: 0.02}. The longest name counts.",
		field: func(t *Train) any { return &t.DensityPattern }},
	{Name: "target_modules", Section: sectionMethod, Default: "[q_proj, k_proj, v_proj, up_proj, down_proj]",
		Aliases: []string{"lora_target_modules", "lora_target"},
		Doc:     "The weights to adapt: full names of linear layers, or how they end, or regular expressions for full names; all-linear\nis every linear layer of the blocks.",
		field:   func(t *Train) any { return &t.TargetModules }},
	{Name: "modules_to_save", Section: sectionMethod, Aliases: []string{"lora_modules_to_save", "additional_target"},
		Doc:   "Matrices that are trained whole beside the adapter and saved in it, as lm_head: by full names, or how they end.",
		field: func(t *Train) any { return &t.ModulesToSave }},
	{Name: "layers_to_transform", Section: sectionMethod, Aliases: []string{"lora_layers_to_transform", "peft_layers_to_transform"},
		Doc:   "The layers whose weights are adapted, by number from 0. Default: all.",
		field: func(t *Train) any { return &t.LayersToTransform }},
	{Name: "lora_alpha", Section: sectionMethod,
		Doc:   "What the factors' product counts: alpha/r, or alpha/√r with rslora. Default: 2·r.",
		field: func(t *Train) any { return &t.LoraAlpha }, check: positive, unset: func(t *Train) bool { return t.LoraAlpha == 0 }},
	{Name: "lora_dropout", Section: sectionMethod,
		Doc:   "Share of the inputs that the factors do not see in a training step. Default: 0.",
		field: func(t *Train) any { return &t.LoraDropout }, check: below1, unset: func(t *Train) bool { return t.LoraDropout == 0 }},
	{Name: "rank_pattern", Section: sectionMethod,
		Doc:   "Other ranks for some weights, as {down_proj: 16}: regular expressions for the end of names, of which the first in\nalphabetical order counts.",
		field: func(t *Train) any { return &t.RankPattern }},
	{Name: "alpha_pattern", Section: sectionMethod,
		Doc:   "Other values of lora_alpha, likewise.",
		field: func(t *Train) any { return &t.AlphaPattern }},
	{Name: "use_rslora", Section: sectionMethod, Aliases: []string{"peft_use_rslora"},
		Doc:   "Whether the scale is alpha/√r; with method lora it is then rslora.",
		field: func(t *Train) any { return &t.UseRSLoRA }},
	{Name: "use_dora", Section: sectionMethod, Aliases: []string{"peft_use_dora"},
		Doc:   "With method lora: dora.",
		field: func(t *Train) any { return &t.UseDoRA }},
	{Name: "direction", Section: sectionMethod, Choices: []string{DirectionLowRank, DirectionSparse},
		Doc: "How shira-dora changes the direction of rows: by factors of rank r, of whose effect the mask's entries are kept, and\n" +
			"saved as a plain SHiRA adapter; or by the entries themselves, saved with the trained row norms. Default: low_rank.",
		field: func(t *Train) any { return &t.Direction }},
	{Name: "transform", Section: sectionMethod, Choices: []string{TransformDCT, TransformDFT, TransformNone},
		Doc:   "The frequency domain of foura's factors, along the features of each token: cosine or Fourier, or none, which makes it\nLoRA with a gate. Default: dct.",
		field: func(t *Train) any { return &t.Transform }},
	{Name: "gate", Section: sectionMethod, Choices: []string{GateSoft, GateHard, GateFrozen, GateNone},
		Doc: "How foura weighs the components of each token: by a learned gate between 0 and 1 (soft), or of 0 and 1 (hard), or not\n" +
			"(none). A gate cannot be fused, but for a frozen one: it trains as a soft one, and in the end is fixed to its mean\nover calibration examples. Default: soft.",
		field: func(t *Train) any { return &t.Gate }},
	{Name: "gate_hidden", Section: sectionMethod,
		Doc:   "Width of the gate's hidden layer; 0 = no such layer. Default: r.",
		field: func(t *Train) any { return &t.GateHidden }, check: within(0, maxCount), unset: func(t *Train) bool { return t.GateHidden == nil }},
	{Name: "gate_temperature", Section: sectionMethod,
		Doc:   "Of the gate: the smaller, the steeper. Default: 0.1.",
		field: func(t *Train) any { return &t.GateTemperature }, check: positive, unset: func(t *Train) bool { return t.GateTemperature == 0 }},
	{Name: "scope", Section: sectionMethod, Choices: []string{ScopeTensor, ScopeGlobal},
		Doc:   "Where wm, grad and snip rank entries: in each target weight by itself, or global: in all of them together, which then\nshare the sum of the budgets as their scores have it. Default: tensor.",
		field: func(t *Train) any { return &t.Scope }},
	{Name: "axis", Section: sectionMethod, Choices: []string{"row", "col", "both"},
		Doc:   "Whether mask struct takes rows, columns or both. Default: row.",
		field: func(t *Train) any { return &t.Axis }},
	{Name: "offset", Section: sectionMethod, Default: "0",
		Doc:   "What the mask leaves to others, in the unit of the budget: with density: 0.01, offset: 0.01 takes the next 1% instead\nof the first, and with r: 4, offset: 4 the next r·(out+in). Masks by the same order then share nothing.",
		field: func(t *Train) any { return &t.Offset }, check: atLeast(0)},
	{Name: "exclude", Free: true, Section: sectionMethod,
		Doc:   "Adapters, or saved masks, whose entries are left alone.",
		field: func(t *Train) any { return &t.Exclude }},
	{Name: "calibration_samples", Section: sectionMethod,
		Doc:   "Examples for the gradient of grad and snip, and for a frozen gate, evenly spread over the training file. Default: 32.",
		field: func(t *Train) any { return &t.CalibrationSamples }, check: within(1, maxCount), unset: func(t *Train) bool { return t.CalibrationSamples == 0 }},

	{Name: "per_device_train_batch_size", Section: sectionTraining, Default: "8",
		Aliases: []string{"micro_batch_size", "batch_size", "train_batch_size"},
		Doc:     "Rows in a micro-batch; where the training file has fewer, all of them.",
		field:   func(t *Train) any { return &t.BatchSize }, check: within(1, maxCount)},
	{Name: "gradient_accumulation_steps", Section: sectionTraining, Default: "1", Aliases: []string{"grad_accumulation_steps"},
		Doc:   "Micro-batches in an optimizer step. Every counted token of a step weighs the same.",
		field: func(t *Train) any { return &t.GradientAccumulationSteps }, check: within(1, maxCount)},
	{Name: "num_train_epochs", Free: true, Section: sectionTraining, Default: "3", Aliases: []string{"num_epochs", "epochs"},
		Doc:   "Passes over the training file. Or give max_steps.",
		field: func(t *Train) any { return &t.NumTrainEpochs }, check: positive, unset: func(t *Train) bool { return t.NumTrainEpochs == 0 }},
	{Name: "max_steps", Free: true, Section: sectionTraining, Aliases: []string{"iters"},
		Doc:   "Optimizer steps, instead of num_train_epochs; 0 or -1 stands for not given.",
		field: func(t *Train) any { return &t.MaxSteps }, check: atLeast(-1), unset: func(t *Train) bool { return t.MaxSteps <= 0 }},
	{Name: "learning_rate", Free: true, Section: sectionTraining, Aliases: []string{"lr"},
		Doc:   "Peak of AdamW's learning rate. Default: 5e-4 for shira and shira-dora, 2e-4 for lora, rslora, dora and foura,\n5e-5 for full.",
		field: func(t *Train) any { return &t.LearningRate }, check: positive},
	{Name: "lr_scheduler_type", Free: true, Section: sectionTraining, Default: "linear", Choices: schedulerNames(),
		Aliases: []string{"lr_scheduler"},
		Doc:     "How the rate goes on after the warm-up, by the names and formulas of Hugging Face.",
		field:   func(t *Train) any { return &t.LRSchedulerType }},
	{Name: "lr_scheduler_kwargs", Free: true, Section: sectionTraining,
		Doc:   "What some schedules take besides, as {num_cycles: 3}: see docs/training.md.",
		field: func(t *Train) any { return &t.LRSchedulerKwargs }},
	{Name: "warmup_ratio", Free: true, Section: sectionTraining, Default: "0",
		Doc:   "Share of the steps over which the rate rises from 0. Or give warmup_steps.",
		field: func(t *Train) any { return &t.WarmupRatio }, check: within(0, 1), unset: func(t *Train) bool { return t.WarmupRatio == 0 }},
	{Name: "warmup_steps", Free: true, Section: sectionTraining,
		Doc:   "Steps over which the rate rises from 0, instead of warmup_ratio.",
		field: func(t *Train) any { return &t.WarmupSteps }, check: atLeast(0), unset: func(t *Train) bool { return t.WarmupSteps == 0 }},
	{Name: "optim", Section: sectionTraining, Default: "adamw_torch", Aliases: []string{"optimizer"}, Choices: []string{"adamw_torch"},
		Planned: []string{"adafactor", "sgd", "lion", "adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit"},
		Doc:     "The optimizer: AdamW as PyTorch computes it.",
		field:   func(t *Train) any { return &t.Optim }},
	{Name: "weight_decay", Section: sectionTraining, Default: "0",
		Doc:   "AdamW's decoupled decay, of trained entries and matrices only and not of norms, magnitudes and biases.",
		field: func(t *Train) any { return &t.WeightDecay }, check: atLeast(0)},
	{Name: "adam_beta1", Section: sectionTraining, Default: "0.9",
		Doc:   "Decay of the first moment.",
		field: func(t *Train) any { return &t.AdamBeta1 }, check: below1},
	{Name: "adam_beta2", Section: sectionTraining, Default: "0.999",
		Doc:   "Decay of the second moment.",
		field: func(t *Train) any { return &t.AdamBeta2 }, check: below1},
	{Name: "adam_epsilon", Section: sectionTraining, Default: "1e-8",
		Doc:   "Added to the root of the second moment.",
		field: func(t *Train) any { return &t.AdamEpsilon }, check: positive},
	{Name: "loraplus_lr_ratio", Section: sectionTraining,
		Doc:   "LoRA+ (Hayou et al. 2024): B of a low-rank adapter learns at this many times the learning rate of A.",
		field: func(t *Train) any { return &t.LoraPlusLRRatio }, check: positive, unset: func(t *Train) bool { return t.LoraPlusLRRatio == 0 }},
	{Name: "neftune_noise_alpha", Section: sectionTraining, Aliases: []string{"noisy_embedding_alpha", "neft_alpha"},
		Doc:   "NEFTune (Jain et al. 2023): uniform noise of at most alpha/√(tokens·features) on the embeddings of a training row.",
		field: func(t *Train) any { return &t.NeftuneNoiseAlpha }, check: positive, unset: func(t *Train) bool { return t.NeftuneNoiseAlpha == 0 }},
	{Name: "max_grad_norm", Section: sectionTraining, Default: "1", Aliases: []string{"gradient_clipping"},
		Doc:   "Gradients of a larger norm are scaled down to it; 0 = never.",
		field: func(t *Train) any { return &t.MaxGradNorm }, check: atLeast(0)},
	{Name: "compute_dtype", Section: sectionTraining, Default: Float32, Choices: []string{Float32, BFloat16}, Planned: []string{"float16"},
		Doc:   "Type of the factors of matrix products, and of the weights in memory. Sums, trained values and optimizer\nstate are float32 always. bfloat16 is about twice as fast where the processor has AVX512_BF16.",
		field: func(t *Train) any { return &t.ComputeDType }},
	{Name: "gradient_checkpointing", Free: true, Section: sectionTraining, Default: "false", Aliases: []string{"grad_checkpoint"},
		Doc:   "Keep only each layer's input and compute the layer again in the backward pass: less memory, a third more time,\nthe same result.",
		field: func(t *Train) any { return &t.GradientCheckpointing }},
	{Name: "max_memory", Free: true, Section: sectionTraining, Default: "0",
		Doc:   "GiB that the run may take by the estimate of --dry-run; 0 = any. Beyond that it turns gradient_checkpointing on,\nand does not start if that is not enough.",
		field: func(t *Train) any { return &t.MaxMemory }, check: atLeast(0)},
	{Name: "seed", Section: sectionTraining, Default: "42",
		Doc:   "Of the random mask and the order of the examples. One seed, one result, whatever the number of threads.",
		field: func(t *Train) any { return &t.Seed }},
	{Name: "threads", Free: true, Section: sectionTraining, Default: "0",
		Doc:   "Threads to compute with; 0 = all cores.",
		field: func(t *Train) any { return &t.Threads }, check: within(0, 4096)},

	{Name: "output_dir", Free: true, Section: sectionOutput, Example: "out", Aliases: []string{"adapter_path"},
		Doc:   "Where the adapter, or the model, the checkpoints, metrics.jsonl and report.html go.",
		field: func(t *Train) any { return &t.OutputDir }},
	{Name: "overwrite_output_dir", Free: true, Section: sectionOutput, Default: "false",
		Doc:   "Whether the results of an earlier run there may be replaced.",
		field: func(t *Train) any { return &t.OverwriteOutputDir }},
	{Name: "logging_steps", Free: true, Section: sectionOutput, Default: "1", Aliases: []string{"steps_per_report"},
		Doc:   "A line of metrics.jsonl every so many steps.",
		field: func(t *Train) any { return &t.LoggingSteps }, check: atLeast(1)},
	{Name: "eval_strategy", Free: true, Section: sectionOutput, Choices: []string{StrategyNo, StrategySteps, StrategyEpoch},
		Aliases: []string{"evaluation_strategy"},
		Doc:     "When to evaluate between the first step and the last: every eval_steps, after every epoch, or no.\nDefault: steps where eval_steps is given, else no.",
		field:   func(t *Train) any { return &t.EvalStrategy }},
	{Name: "eval_steps", Free: true, Section: sectionOutput, Default: "0", Aliases: []string{"steps_per_eval"},
		Doc:   "Evaluate every so many steps; 0 = only before the first and after the last.",
		field: func(t *Train) any { return &t.EvalSteps }, check: atLeast(0)},
	{Name: "save_strategy", Free: true, Section: sectionOutput, Default: StrategySteps, Choices: []string{StrategyNo, StrategySteps, StrategyEpoch},
		Doc:   "When to write a checkpoint to go on from: every save_steps, after every epoch, or no.\nA run that is interrupted writes one in any case.",
		field: func(t *Train) any { return &t.SaveStrategy }},
	{Name: "save_steps", Free: true, Section: sectionOutput, Default: "500", Aliases: []string{"save_every"},
		Doc:   "Steps between two checkpoints.",
		field: func(t *Train) any { return &t.SaveSteps }, check: atLeast(1)},
	{Name: "save_total_limit", Free: true, Section: sectionOutput, Default: "0",
		Doc:   "How many checkpoints to keep, the newest ones and the best; 0 = all.",
		field: func(t *Train) any { return &t.SaveTotalLimit }, check: atLeast(0)},
	{Name: "resume_from_checkpoint", Free: true, Section: sectionOutput,
		Doc:   "A checkpoint to go on from; auto (or true) is the newest one in output_dir that is whole, and the start where there\nis none. Also --resume.",
		field: func(t *Train) any { return &t.ResumeFromCheckpoint }},
	{Name: "load_best_model_at_end", Section: sectionOutput, Default: "false",
		Doc:   "Whether the result is the state with the lowest eval_loss of all evaluations, which gets a checkpoint, or the last one.",
		field: func(t *Train) any { return &t.LoadBestModelAtEnd }},
	{Name: "metric_for_best_model", Free: true, Section: sectionOutput, Default: "eval_loss", Choices: []string{"eval_loss"},
		Doc:   "What decides which state is the best: the mean loss on the validation file.",
		field: func(t *Train) any { return &t.MetricForBestModel }},
	{Name: "early_stopping_patience", Free: true, Section: sectionOutput, Aliases: []string{"early_stopping_steps"},
		Doc:   "Stop after so many evaluations in a row that are not better than the best before.",
		field: func(t *Train) any { return &t.EarlyStoppingPatience }, check: atLeast(1), unset: func(t *Train) bool { return t.EarlyStoppingPatience == 0 }},
	{Name: "early_stopping_threshold", Free: true, Section: sectionOutput, Default: "0",
		Doc:   "By how much the loss must fall to count as better there.",
		field: func(t *Train) any { return &t.EarlyStoppingThreshold }, check: atLeast(0)},
	{Name: "report_to", Free: true, Section: sectionOutput, Default: "[none]",
		Doc:   "tensorboard writes event files besides metrics.jsonl and report.html.",
		field: func(t *Train) any { return &t.ReportTo }},
	{Name: "logging_dir", Free: true, Section: sectionOutput,
		Doc:   "Where the event files go. Default: runs in output_dir.",
		field: func(t *Train) any { return &t.LoggingDir }},
}

// planned are keys of later versions and of the peers whose meaning this version does not have. To ignore them would
// change what the user asked for.
var planned = []string{
	"fp16", "tf32", "load_in_4bit", "load_in_8bit",
	"per_device_eval_batch_size", "deepspeed", "greater_is_better", "loraplus_lr_embedding", "plot_loss", "save_only_model",
	"save_safetensors", "logging_strategy", "do_train",
}

// exclusive lists pairs of keys of which only one counts.
var exclusive = [][2]string{{"r", "density"}, {"max_steps", "num_train_epochs"}, {"warmup_steps", "warmup_ratio"}}

// Keys returns the table of all keys, in the order of `config init`.
func Keys() []Key { return slices.Clone(keys) }

// lookup returns the key of that name or alias.
func lookup(name string) *Key {
	for i := range keys {
		if keys[i].Name == name || slices.Contains(keys[i].Aliases, name) {
			return &keys[i]
		}
	}
	return nil
}

// allNames returns every name that is accepted.
func allNames() []string {
	var names []string
	for _, k := range keys {
		names = append(append(names, k.Name), k.Aliases...)
	}
	return names
}
