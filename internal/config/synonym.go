package config

import (
	"fmt"

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

// translate returns the name and value that are meant by those given. What asks for nothing has no name. It adds a notice
// where something else is read than was written.
func (r *resolver) translate(name string, value scalar, at Origin) (string, scalar) {
	canonical := name
	if k := lookup(name); k != nil {
		canonical = k.Name
	}
	for _, s := range synonyms {
		if s.key != canonical || s.value != value.text || value.isList || value.named != nil {
			continue
		}
		if s.asKey == "" {
			return "", value
		}
		if s.asKey != canonical {
			r.notices = append(r.notices, fmt.Sprintf("%s: %s: %s is read as %s: %s", at, name, value.text, s.asKey, s.as))
			name = s.asKey
		} else {
			r.notices = append(r.notices, fmt.Sprintf("%s: %s %s is read as %s", at, name, fault.Quote(value.text), s.as))
		}
		return name, scalar{text: s.as}
	}
	return name, value
}
