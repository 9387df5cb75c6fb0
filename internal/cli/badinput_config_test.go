package cli

import (
	"os"
	"strings"
	"testing"
)

// TestBadConfig: run.yaml is wrong by itself, or for this model.
func TestBadConfig(t *testing.T) {
	const alone = `config validate run.yaml
config show run.yaml
train --config run.yaml
train --config run.yaml --dry-run
mask --config run.yaml -o new.st`
	const run = "config validate run.yaml\ntrain --config run.yaml\ntrain --config run.yaml --dry-run"
	const withModel = "train --config run.yaml\ntrain --config run.yaml --dry-run"
	with := func(lines string) func(*world) {
		return func(w *world) { w.write("run.yaml", goodConfig+lines+"\n") }
	}
	// instead replaces the line of a key.
	instead := func(key, line string) func(*world) {
		return func(w *world) {
			var b strings.Builder
			for l := range strings.Lines(goodConfig) {
				if strings.HasPrefix(l, key+":") {
					l = line + "\n"
				}
				b.WriteString(l)
			}
			w.write("run.yaml", b.String())
		}
	}
	whole := func(text string) func(*world) { return func(w *world) { w.write("run.yaml", text) } }
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		bomb.WriteString(strings.NewReplacer("N", string(rune('1'+i)), "P", string(rune('0'+i))).
			Replace("aN: &aN [*aP, *aP, *aP, *aP, *aP, *aP, *aP, *aP, *aP, *aP]\n"))
	}

	runBad(t, alone, []bad{
		{"empty file", whole(""), 2, "run.yaml: is empty", ""},
		{"only comments", whole("# nothing\n"), 2, "run.yaml: is empty", ""},
		{"a list", whole("- a\n- b\n"), 2, "run.yaml:1: want lines of the form key: value", ""},
		{"a text", whole("hello\n"), 2, "run.yaml:1: want lines of the form key: value", ""},
		{"not YAML", whole("a: [b\n"), 2, "is not YAML", ""},
		{"tab", with("seed:\n\tx: 1"), 2, "run.yaml:9: is not YAML: a tab", ""},
		{"two documents", with("---\nseed: 1"), 2, "a second document", ""},
		{"binary", whole("\x00\x01\x02"), 2, "run.yaml: is not YAML", ""},
		{"aliases that multiply", whole(bomb.String()), 2, "unknown key", ""},
		{"alias of itself", with("seed: &a [*a]"), 2, "seed", ""},
		{"merge key", with("<<: {seed: 1}"), 2, "merge keys", ""},
		{"huge", func(w *world) { w.must(os.Truncate("run.yaml", 3<<30)) }, 3, "run.yaml: is longer than the 1048576 bytes that are accepted", ""},
		{"a directory", func(w *world) { w.remove("run.yaml"); w.must(os.Mkdir("run.yaml", 0o755)) }, 3, "run.yaml: is a directory", ""},
		{"absent", func(w *world) { w.remove("run.yaml") }, 5, "run.yaml: ", ""},

		{"unknown key", with("frobnicate: 1"), 2, `run.yaml:8: unknown key "frobnicate"`, ""},
		{"misspelled key", with("lerning_rate: 1"), 2, `unknown key "lerning_rate"|did you mean "learning_rate"?`, ""},
		{"key of another case", with("Seed: 1"), 2, `unknown key "Seed"|did you mean "seed"?`, ""},
		{"key twice", with("r: 3"), 2, "run.yaml:8: r: is given twice, first in line 5", ""},
		{"key by two names", with("model: base"), 2, "model: is given twice", ""},
		{"key of a later version", with("load_in_4bit: true"), 2, "load_in_4bit is not available in this version", ""},
		{"r = 0", instead("r", "r: 0"), 2, "r", ""},
		{"r is negative", instead("r", "r: -4"), 2, "run.yaml:5: r: want 1 to", ""},
		{"r is a fraction", instead("r", "r: 1.5"), 2, `r: want a whole number, got "1.5"`, ""},
		{"r is a list", instead("r", "r: [2]"), 2, "r: want a whole number, got a list", ""},
		{"r is beyond 64 bits", instead("r", "r: 99999999999999999999"), 2, "out of range", ""},
		{"density is negative", instead("r", "density: -0.1"), 2, "density: want more than 0 and at most 1, got -0.1", ""},
		{"density above 1", instead("r", "density: 1.01"), 2, "density: want more than 0 and at most 1, got 1.01", ""},
		{"r and density", with("density: 0.1"), 2, "give it or", ""},
		{"neither r nor density", instead("r", ""), 2, "give r or density", ""},
		{"densities for nothing", with("density_pattern: {q_proj: 0.1}"), 2, "density_pattern: goes with density", ""},
		{"density of a text", instead("r", "density: 0.1\ndensity_pattern: {q_proj: much}"), 2, `density_pattern: "q_proj": want a number, got "much"`, ""},
		{"density of too much", instead("r", "density: 0.1\ndensity_pattern: {q_proj: 2}"), 2, `density_pattern: "q_proj": want more than 0 and at most 1, got 2`, ""},
		{"offset beyond the whole", instead("r", "density: 0.5\noffset: 0.6"), 2, "offset: and density are more than the whole", ""},
		{"offset of no whole rank", with("offset: 0.5"), 2, "offset: counts in ranks like r", ""},
		{"unknown mask", instead("mask", "mask: best"), 2, `mask: want one of wm, grad, snip, rand, struct, got "best"`, ""},
		{"axis without struct", with("axis: row"), 2, "axis: has no effect with mask wm", ""},
		{"calibration without a gradient", with("calibration_samples: 4"), 2, "calibration_samples: has no effect with mask wm", ""},
		{"global without a score", instead("mask", "mask: rand\nscope: global"), 2, "scope: global ranks entries by a score", ""},
		{"unknown method", with("method: magic"), 2, `method: want one of|got "magic"`, ""},
		{"learning_rate is NaN", with("learning_rate: .nan"), 2, `learning_rate: want a number, got ".nan"`, ""},
		{"learning_rate is infinite", with("learning_rate: 1e999"), 2, "learning_rate: the number \"1e999\" is out of range", ""},
		{"learning_rate is negative", with("learning_rate: -1e-3"), 2, "learning_rate: want more than 0, got -0.001", ""},
		{"learning_rate in quotes", with(`learning_rate: "1e-3"`), 2, "remove the quotes", ""},
		{"learning_rate is 0", with("learning_rate: 0"), 2, "learning_rate: want more than 0", ""},
		{"seed is negative", with("seed: -1"), 2, "seed: want a whole number from 0 to 2^64-1", ""},
		{"packing is a text", with("packing: yes please"), 2, "packing: want true or false", ""},
		{"batch of 0", with("batch_size: 0"), 2, "per_device_train_batch_size: want 1 to", ""},
		{"batch of too many", with("batch_size: 100000000"), 2, "per_device_train_batch_size: want 1 to", ""},
		{"max_seq_length 1", instead("max_seq_length", "max_seq_length: 1"), 2, "max_seq_length: want at least 2", ""},
		{"steps and epochs", with("num_train_epochs: 1"), 2, "give it or", ""},
		{"betas of 1", with("adam_beta1: 1"), 2, "adam_beta1: want at least 0 and less than 1", ""},
		{"targets twice", with("target_modules: [q_proj, q_proj]"), 2, `target_modules: has "q_proj" twice`, ""},
		{"no targets", with("target_modules: []"), 2, "target_modules: is empty", ""},
		{"all at once", with("sed: 1\nseed: x\npacking: 7"), 2, `unknown key "sed"|seed: want a whole number|packing: want true or false`, ""},
		{"control characters", with(`"a\e[2Jb": 1`), 2, `unknown key "a\x1b[2Jb"`, ""},
		{"no model", instead("model_name_or_path", ""), 2, "model_name_or_path: is missing", ""},
		{"model without a value", instead("model_name_or_path", "model_name_or_path:"), 2, "model_name_or_path: is missing", ""},
	})
	runBad(t, run, []bad{
		{"no training file", instead("train_file", ""), 2, "train_file: is missing", ""},
		{"no output", instead("output_dir", ""), 2, "output_dir: is missing", ""},
		{"output is the model", instead("output_dir", "output_dir: base"), 2, "output_dir: is that of model_name_or_path", ""},
		{"output is the model, by another path", instead("output_dir", "output_dir: ./base/../base/"), 2, "output_dir: is that of model_name_or_path", ""},
		{"output is the model's file's directory", instead("model_name_or_path", "model_name_or_path: base/model.safetensors\noutput_dir: base"), 2, "output_dir", ""},
		{"output is the first adapter", with("init_adapter: out\noutput_dir: out"), 2, "output_dir", ""},
		{"output is an excluded adapter", instead("output_dir", "output_dir: out\nexclude: [out]"), 2, "output_dir: is that of an adapter in exclude", ""},
	})
	runBad(t, withModel, []bad{
		{"longer than the model's positions", instead("max_seq_length", "max_seq_length: 65"), 2, "max_seq_length 65 is more than the 64 positions of the model", ""},
		{"more entries than the weight has", instead("r", "r: 9"), 2, "a mask of 288 entries exceeds the weight's 16×16 = 256", ""},
		{"offset beyond the weight", with("offset: 7"), 2, "a mask of 64 entries after an offset of 224 exceeds the 256", ""},
		{"target that is not there", with("target_modules: [q_proj, qq_proj]"), 2, `target_modules match nothing in the model: "qq_proj"|q_proj, up_proj`, ""},
		{"density of none of the targets", instead("r", "density: 0.1\ndensity_pattern: {o_proj: 0.2}"), 2, `density_pattern matches none of the target weights: "o_proj"`, ""},
		{"an output that exists", instead("output_dir", "output_dir: out"), 2, "the output directory holds a run already|overwrite_output_dir", "train --config run.yaml"},
		{"an output of a run that has ended", instead("output_dir", "output_dir: out\nresume_from_checkpoint: auto"), 2, "the output directory holds a run already|that run has ended", "train --config run.yaml"},
		{"more steps than a life has", instead("max_steps", "max_steps: 1000000000000"), 2, "more than 100000000 steps", ""},
		{"more epochs than a life has", instead("max_steps", "num_train_epochs: 1e300"), 2, "more than 100000000 steps", ""},
		{"factors beyond all memory", instead("mask", "method: lora\nmax_memory: 1e-6"), 2, "factors of this rank take|lower r", ""},
		{"too little memory", with("max_memory: 0.001"), 2, "the run needs about|or set compute_dtype", ""},
		{"too little memory for bfloat16", with("max_memory: 0.001\ncompute_dtype: bfloat16"), 2, "the run needs about|lower max_seq_length", ""},
	})
}

// TestGoodConfig accepts what looks unusual and is right.
func TestGoodConfig(t *testing.T) {
	t.Chdir(makeWorld(t))
	for _, line := range []string{
		"learning_rate: 1e-5", "learning_rate: 1E-05", "learning_rate: .5", "seed: 18446744073709551615", "weight_decay: 0",
		"per_device_train_batch_size: 1000", "{}", "seed:", "packing: False", "density_pattern: {}", "seed: &a 7",
	} {
		text := goodConfig + line + "\n"
		if line == "{}" {
			text = "{model_name_or_path: base, train_file: train.jsonl, output_dir: new, r: 2, max_seq_length: 64, max_steps: 2}"
		}
		if err := os.WriteFile("run.yaml", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := run("train", "--config", "run.yaml", "--dry-run"); code != 0 {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
}
