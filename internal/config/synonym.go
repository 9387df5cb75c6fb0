package config

import (
	"fmt"
	"slices"

	"shira/internal/fault"
)

// synonym is a way to say a value of a key by another key, or by another word.
type synonym struct {
	key, value string // as it is given
	asKey, as  string // as it is read; asKey "" says that it asks for nothing
}

// synonyms are those of Hugging Face, axolotl and LLaMA-Factory whose meaning there is one here.
var synonyms = []synonym{
	{"bf16", "true", "compute_dtype", BFloat16},
	{"bf16", "auto", "compute_dtype", BFloat16},
	{"bf16", "full", "compute_dtype", BFloat16},
	{"bf16", "false", "compute_dtype", Float32},
	{"compute_dtype", "bf16", "compute_dtype", BFloat16},
	{"compute_dtype", "fp32", "compute_dtype", Float32},
	{"fp16", "false", "", ""},
	{"tf32", "false", "", ""},
	{"load_in_8bit", "false", "", ""},
	{"load_in_4bit", "false", "", ""},
	{"greater_is_better", "false", "", ""},
	{"plot_loss", "true", "", ""}, // report.html does
	{"do_train", "true", "", ""},
	{"save_safetensors", "true", "", ""},
	{"save_only_model", "false", "", ""},
	{"logging_strategy", "steps", "", ""},
	{"optim", "adamw", "optim", "adamw_torch"},
	{"optim", "adamw_hf", "optim", "adamw_torch"},
	{"optim", "adamw_torch_fused", "optim", "adamw_torch"},
	{"lr_scheduler_type", "cosine_with_warmup", "lr_scheduler_type", "cosine"},
	{"lr_scheduler_type", "linear_with_warmup", "lr_scheduler_type", "linear"},
	{"lr_scheduler_type", "wsd", "lr_scheduler_type", "warmup_stable_decay"},
	{"target_modules", "all", "target_modules", AllLinear},
	{"lora_target_linear", "true", "target_modules", AllLinear},
	{"lora_target_linear", "false", "", ""},
	{"lora_fan_in_fan_out", "false", "", ""},
	{"metric_for_best_model", "loss", "metric_for_best_model", "eval_loss"},
	{"resume_from_checkpoint", "true", "resume_from_checkpoint", ResumeAuto},
	{"resume_from_checkpoint", "false", "", ""},
	{"auto_resume_from_checkpoints", "true", "resume_from_checkpoint", ResumeAuto},
	{"auto_resume_from_checkpoints", "false", "", ""},
	{"mask_prompt", "true", "train_on_inputs", "false"},
	{"mask_prompt", "false", "train_on_inputs", "true"},
	{"completion_only_loss", "true", "train_on_inputs", "false"},
	{"completion_only_loss", "false", "train_on_inputs", "true"},
	{"assistant_only_loss", "true", "train_on_inputs", "false"},
	{"chat_template", "tokenizer_default", "", ""},
}

// foreign is a key of the peers that is none here: what to do about it, and the key that stands for it, if one does.
type foreign struct{ advice, as string }

// foreigners are those of axolotl, LLaMA-Factory and mlx-lm that their users' configurations have most.
var foreigners = map[string]foreign{
	"model_type":            {"remove it: config.json of the model says", ""},
	"special_tokens":        {"remove it: the files of the tokenizer say", ""},
	"wandb_project":         {"remove it, or report_to: tensorboard, which writes event files", ""},
	"evals_per_epoch":       {"eval_strategy: epoch, or eval_steps", "eval_strategy"},
	"saves_per_epoch":       {"save_strategy: epoch, or save_steps", "save_strategy"},
	"pad_to_sequence_len":   {"remove it: it would change no result", ""},
	"dataset_prepared_path": {"remove it: examples are read anew for each run", ""},
	"flash_attention":       {"remove it: there is nothing to choose", ""},

	"stage":                     {"remove it: the form of the examples decides, plain text being what stage pt takes", ""},
	"dataset":                   {"train_file or datasets, with paths", "train_file"},
	"template":                  {"remove it, or give chat_template: the tokenizer has one", ""},
	"max_samples":               {"remove it, and give a shorter train_file or max_steps", ""},
	"ddp_timeout":               {"remove it: a run is one process", ""},
	"preprocessing_num_workers": {"remove it: threads is for all", ""},

	"train":           {"remove it: `shira train` does", ""},
	"test":            {"remove it: `shira eval` does", ""},
	"data":            {"train_file and validation_file, each a file", "train_file"},
	"num_layers":      {"layers_to_transform, with their numbers", "layers_to_transform"},
	"val_batches":     {"remove it: an evaluation takes all of validation_file", ""},
	"lora_parameters": {"r, lora_alpha (scale times r) and lora_dropout, each a key of its own", "r"},
}

// translate returns the name and value that are meant by those given. What asks for nothing has no name. It adds a notice
// where something else is read than was written.
func (r *resolver) translate(name string, value scalar, at Origin) (string, scalar) {
	canonical := name
	if k := lookup(name); k != nil {
		canonical = k.Name
	}
	if value.isList || value.named != nil {
		return name, value
	}
	s, ok := meantBy(canonical, value.text)
	switch {
	case !ok:
		return name, value
	case s.asKey == "":
		return "", value
	case s.asKey != canonical:
		r.notices = append(r.notices, fmt.Sprintf("%s: %s: %s is read as %s: %s", at, name, value.text, s.asKey, s.as))
		name = s.asKey
	default:
		r.notices = append(r.notices, fmt.Sprintf("%s: %s %s is read as %s", at, name, fault.Quote(value.text), s.as))
	}
	return name, scalar{text: s.as}
}

// meantBy returns the synonym that a value of a key is.
func meantBy(key, value string) (synonym, bool) {
	i := slices.IndexFunc(synonyms, func(s synonym) bool { return s.key == key && s.value == value })
	if i < 0 {
		return synonym{}, false
	}
	return synonyms[i], true
}

// Choose returns the value that text stands for among the choices of a key, where a flag called name gives it and no
// configuration is read. The notice says what was read instead of what was written, "" where that is the same.
func Choose(key, name, text string) (value, notice string, err error) {
	if s, ok := meantBy(key, text); ok && s.asKey == key {
		text, notice = s.as, fmt.Sprintf("%s: %s is read as %s", name, fault.Quote(text), s.as)
	}
	if msg := lookup(key).wrongChoice(text); msg != "" {
		return "", "", fault.New(fault.Usage, "", "%s: %s", name, msg)
	}
	return text, notice, nil
}
