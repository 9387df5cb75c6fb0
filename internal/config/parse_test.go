package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// minimal has what every configuration needs, in three lines.
const minimal = "model_name_or_path: base\ntrain_file: train.jsonl\noutput_dir: out\n"

func TestParseContract(t *testing.T) {
	const text = `# run.yaml
model_name_or_path: path/to/model          # directory or single safetensors file
train_file: train.jsonl
validation_file: test.jsonl
output_dir: out
method: shira
mask: wm
r: 4                                       # or density: 0.01
target_modules: [q_proj, k_proj, v_proj, up_proj, down_proj]
max_seq_length: 256
per_device_train_batch_size: 8
gradient_accumulation_steps: 1
max_steps: 200                             # or num_train_epochs
learning_rate: 1e-2
lr_scheduler_type: linear
warmup_ratio: 0.0
weight_decay: 0.0
max_grad_norm: 1.0                         # 0 = no clipping
logging_steps: 1
compute_dtype: float32
packing: true
shuffle: true
seed: 42
`
	r, err := Parse("run.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := Train{
		ModelNameOrPath: "path/to/model", TrainFile: "train.jsonl", ValidationFile: "test.jsonl", OutputDir: "out",
		Method: "shira", Mask: "wm", R: 4, TargetModules: []string{"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"},
		MaxSeqLength: 256, BatchSize: 8, GradientAccumulationSteps: 1, MaxSteps: 200, LearningRate: 0.01,
		LRSchedulerType: "linear", MaxGradNorm: 1, LoggingSteps: 1, ComputeDType: "float32", Packing: true, Shuffle: true,
		Seed: 42, AdamBeta1: 0.9, AdamBeta2: 0.999, AdamEpsilon: 1e-8, Optim: "adamw_torch",
		SaveStrategy: "steps", SaveSteps: 500, MetricForBestModel: "eval_loss", ReportTo: []string{"none"},
	}
	checkTrain(t, r.Train, want)
	if len(r.Notices) != 0 {
		t.Errorf("notices: %q", r.Notices)
	}
	if err := r.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
}

// checkTrain compares key by key, so that a failure names the key.
func checkTrain(t *testing.T, got, want Train) {
	t.Helper()
	for _, k := range keys {
		g, w := k.value(&got), k.value(&want)
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s = %v, want %v", k.Name, g, w)
		}
	}
}

func TestDefaults(t *testing.T) {
	if _, err := defaults(); err != nil {
		t.Fatal(err)
	}
	r, err := Parse("run.yaml", []byte(minimal+"r: 8\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.ModelNameOrPath, want.TrainFile, want.OutputDir, want.R = "base", "train.jsonl", "out", 8
	checkTrain(t, r.Train, want)
	if want.MaxSeqLength != 512 || want.BatchSize != 8 || want.NumTrainEpochs != 3 || want.LearningRate != 5e-4 || want.Seed != 42 {
		t.Errorf("defaults: %+v", want)
	}
}

func TestParseValues(t *testing.T) {
	for name, tt := range map[string]struct {
		text string // after minimal and r: 2
		want func(*Train) bool
	}{
		"1e-5 is a number":        {"learning_rate: 1e-5", func(t *Train) bool { return t.LearningRate == 1e-5 }},
		"1E-5":                    {"learning_rate: 1E-5", func(t *Train) bool { return t.LearningRate == 1e-5 }},
		"1e-2":                    {"learning_rate: 1e-2", func(t *Train) bool { return t.LearningRate == 1e-2 }},
		"2.e-3":                   {"learning_rate: 2.e-3", func(t *Train) bool { return t.LearningRate == 2e-3 }},
		".5":                      {"learning_rate: .5", func(t *Train) bool { return t.LearningRate == .5 }},
		"+1e+0":                   {"learning_rate: +1e+0", func(t *Train) bool { return t.LearningRate == 1 }},
		"a whole number is one":   {"learning_rate: 1", func(t *Train) bool { return t.LearningRate == 1 }},
		"largest seed":            {"seed: 18446744073709551615", func(t *Train) bool { return t.Seed == 1<<64-1 }},
		"Python's True":           {"append_eos: True", func(t *Train) bool { return t.AppendEOS }},
		"null is not given":       {"max_grad_norm: null\nvalidation_file:\nseed: ~", func(t *Train) bool { return t.MaxGradNorm == 1 && t.ValidationFile == "" && t.Seed == 42 }},
		"quoted null is a name":   {`validation_file: "null"`, func(t *Train) bool { return t.ValidationFile == "null" }},
		"a name like a number":    {"validation_file: 42", func(t *Train) bool { return t.ValidationFile == "42" }},
		"a name like a bool":      {"validation_file: no", func(t *Train) bool { return t.ValidationFile == "no" }},
		"names of numbers":        {"target_modules: [0, 1]", func(t *Train) bool { return slices.Equal(t.TargetModules, []string{"0", "1"}) }},
		"block list":              {"target_modules:\n- q_proj\n- k_proj", func(t *Train) bool { return slices.Equal(t.TargetModules, []string{"q_proj", "k_proj"}) }},
		"one target":              {"target_modules: q_proj", func(t *Train) bool { return slices.Equal(t.TargetModules, []string{"q_proj"}) }},
		"anchor and alias":        {"max_steps: &n 7\neval_steps: *n", func(t *Train) bool { return t.MaxSteps == 7 && t.EvalSteps == 7 }},
		"alias of a list":         {"validation_file: &f a\ntarget_modules: [*f, b]", func(t *Train) bool { return slices.Equal(t.TargetModules, []string{"a", "b"}) }},
		"document markers":        {"---\nseed: 1\n...", nil},
		"max_steps -1":            {"max_steps: -1\nnum_train_epochs: 2", func(t *Train) bool { return t.MaxSteps == 0 && t.NumTrainEpochs == 2 }},
		"max_steps beats default": {"max_steps: 5", func(t *Train) bool { return t.MaxSteps == 5 && t.NumTrainEpochs == 0 }},
		"warmup_steps":            {"warmup_steps: 10\nwarmup_ratio: 0.0", func(t *Train) bool { return t.WarmupSteps == 10 }},
		"CRLF":                    {"seed: 7\r\nmask: rand\r", func(t *Train) bool { return t.Seed == 7 && t.Mask == "rand" }},
	} {
		t.Run(name, func(t *testing.T) {
			text := minimal + "r: 2\n" + tt.text
			if strings.HasPrefix(tt.text, "---") {
				text = "---\n" + minimal + "r: 2\nseed: 1\n...\n"
			}
			r, err := Parse("run.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want != nil && !tt.want(&r.Train) {
				t.Errorf("got %+v", r.Train)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	bomb := "a: &a [x, x]\n"
	for c := 'b'; c < 'z'; c++ {
		bomb += string(c) + ": &" + string(c) + " [*" + string(c-1) + ", *" + string(c-1) + "]\n"
	}
	for name, tt := range map[string]struct {
		text string // after minimal, which has lines 1 to 3, unless it starts with "="
		want string // the whole message
		hint string
	}{
		"unknown key":        {"r: 2\nlerning_rate: 1", `run.yaml:5: unknown key "lerning_rate"`, `did you mean "learning_rate"?`},
		"nothing similar":    {"r: 2\nfrobnicate: 1", `run.yaml:5: unknown key "frobnicate"`, ""},
		"case counts":        {"R: 2", `run.yaml:4: unknown key "R"`, `did you mean "r"?`},
		"planned key":        {"r: 2\ndeepspeed: 1", `run.yaml:5: deepspeed is not available in this version`, ""},
		"all at once":        {"sed: 1\nr: x\nmask: best\nmax_step: 2", `run.yaml:4: unknown key "sed"; run.yaml:5: r: want a whole number, got "x"; run.yaml:6: mask: want one of wm, grad, snip, rand, struct, got "best"; run.yaml:7: unknown key "max_step"`, `did you mean "seed" for "sed", "max_steps" for "max_step"?`},
		"key of a peer":      {"r: 2\nmodel_type: LlamaForCausalLM", `run.yaml:5: unknown key "model_type"`, "model_type: remove it: config.json of the model says"},
		"it has another":     {"=model: m\noutput_dir: o\nr: 2\ndataset: alpaca_en", `run.yaml:4: unknown key "dataset"`, "dataset: train_file or datasets, with paths"},
		"keys of peers":      {"r: 2\nsed: 1\nstage: sft\ntrain: true", `run.yaml:5: unknown key "sed"; run.yaml:6: unknown key "stage"; run.yaml:7: unknown key "train"`, "did you mean \"seed\" for \"sed\"? stage: remove it: the form of the examples decides, plain text being what stage pt takes; train: remove it: `shira train` does"},
		"home":               {"=model: m\ntrain_file: t\nr: 2\noutput_dir: ~/out", `run.yaml:4: output_dir: "~/out": ~ is no home directory here: give the whole path`, ""},
		"rounds":             {"=model: m\noutput_dir: o\nfrobnicate: 1\nr: x\nmethod: full\nmask: wm", `run.yaml: train_file: is missing; run.yaml:3: unknown key "frobnicate"; run.yaml:4: r: want a whole number, got "x"; run.yaml:4: r: has no effect with method full; run.yaml:6: mask: has no effect with method full`, ""},
		"wrong, not missing": {"=model_name_or_path: {a: b}\ntrian_file: t\noutput_dir: o\ndensity: [1]", `run.yaml:1: model_name_or_path: want a text, got a mapping; run.yaml:2: unknown key "trian_file"; run.yaml:4: density: want a number, got a list`, `did you mean "train_file"?`},
		"r huge":             {"r: 9223372036854775807", "run.yaml:4: r: want 1 to 1048576, got 9223372036854775807", ""},
		"batch huge":         {"r: 2\nbatch_size: 1048577", "run.yaml:5: per_device_train_batch_size: want 1 to 1048576, got 1048577", ""},
		"duplicate":          {"r: 2\nr: 3", "run.yaml:5: r: is given twice, first in line 4", ""},
		"duplicate alias":    {"r: 2\nbase_model: x", "run.yaml:5: base_model: is given twice, first in line 1 as model_name_or_path", ""},
		"r zero":             {"r: 0", "run.yaml:4: r: want 1 to 1048576, got 0", ""},
		"r negative":         {"r: -4", "run.yaml:4: r: want 1 to 1048576, got -4", ""},
		"r fraction":         {"r: 2.5", `run.yaml:4: r: want a whole number, got "2.5"`, ""},
		"r too large":        {"r: 9223372036854775808", `run.yaml:4: r: the number "9223372036854775808" is out of range`, ""},
		"r hexadecimal":      {"r: 0x10", `run.yaml:4: r: want a whole number, got "0x10"`, ""},
		"r grouped":          {"r: 1_000", `run.yaml:4: r: want a whole number, got "1_000"`, ""},
		"r quoted":           {`r: "4"`, `run.yaml:4: r: want a whole number, got the text "4": remove the quotes`, ""},
		"r tagged":           {`r: !!str 4`, `run.yaml:4: r: want a whole number, got the text "4": remove the quotes`, ""},
		"r list":             {"r: [4]", "run.yaml:4: r: want a whole number, got a list", ""},
		"r mapping":          {"r: {a: 4}", "run.yaml:4: r: want a whole number, got a mapping", ""},
		"no budget":          {"", "run.yaml: r: give r or density: how many entries of each weight to train", ""},
		"two budgets":        {"r: 4\ndensity: 0.1", "run.yaml:4: r: give it or density, not both", ""},
		"steps and epochs":   {"r: 4\nnum_train_epochs: 1\nmax_steps: 2", "run.yaml:6: max_steps: give it or num_train_epochs, not both", ""},
		"two warm-ups":       {"r: 4\nwarmup_ratio: 0.1\nwarmup_steps: 2", "run.yaml:6: warmup_steps: give it or warmup_ratio, not both", ""},
		"density high":       {"density: 1.5", "run.yaml:4: density: want more than 0 and at most 1, got 1.5", ""},
		"density zero":       {"density: 0", "run.yaml:4: density: want more than 0 and at most 1, got 0", ""},
		"rate NaN":           {"r: 2\nlearning_rate: .nan", `run.yaml:5: learning_rate: want a number, got ".nan"`, ""},
		"rate Inf":           {"r: 2\nlearning_rate: inf", `run.yaml:5: learning_rate: want a number, got "inf"`, ""},
		"rate overflow":      {"r: 2\nlearning_rate: 1e999", `run.yaml:5: learning_rate: the number "1e999" is out of range`, ""},
		"rate negative":      {"r: 2\nlearning_rate: -1e-3", "run.yaml:5: learning_rate: want more than 0, got -0.001", ""},
		"rate a word":        {"r: 2\nlearning_rate: fast", `run.yaml:5: learning_rate: want a number, got "fast"`, ""},
		"bool a word":        {"r: 2\npacking: yes", `run.yaml:5: packing: want true or false, got "yes"`, ""},
		"seed negative":      {"r: 2\nseed: -1", `run.yaml:5: seed: want a whole number from 0 to 2^64-1, got "-1"`, ""},
		"beta one":           {"r: 2\nadam_beta2: 1", "run.yaml:5: adam_beta2: want at least 0 and less than 1, got 1", ""},
		"unknown method":     {"method: loha", `run.yaml:4: method: want one of shira, lora, rslora, dora, shira-dora, foura, full, got "loha"`, ""},
		"lora with a mask":   {"method: lora\nmask: wm", "run.yaml:5: mask: has no effect with method lora", ""},
		"shira with alpha":   {"r: 2\nlora_alpha: 2", "run.yaml:5: lora_alpha: has no effect with method shira", ""},
		"dora, but not":      {"method: dora\nuse_dora: false", "run.yaml:5: use_dora: is false, but method is dora", ""},
		"dropout of all":     {"method: lora\nlora_dropout: 1", "run.yaml:5: lora_dropout: want at least 0 and less than 1, got 1", ""},
		"half a rank":        {"method: lora\nrank_pattern: {q_proj: 1.5}", `run.yaml:5: rank_pattern: "q_proj": want a whole number from 1 to 1048576, got 1.5`, ""},
		"broken pattern":     {"method: lora\nalpha_pattern: {'q(': 1}", `run.yaml:5: alpha_pattern: "q(" is no regular expression (of Go's kind): error parsing regexp: missing closing ): ` + "`q(`", ""},
		"broken target":      {"method: lora\ntarget_modules: ['q(']", `run.yaml:5: target_modules: "q(" is no regular expression (of Go's kind): error parsing regexp: missing closing ): ` + "`q(`", ""},
		"all and some":       {"method: lora\ntarget_modules: [all-linear, q_proj]", "run.yaml:5: target_modules: all-linear stands alone", ""},
		"layers":             {"method: lora\nlayers_to_transform: [0, -1]", `run.yaml:5: layers_to_transform: want whole numbers from 0, got "-1"`, ""},
		"no gate":            {"method: foura\ngate: none\ngate_hidden: 3", "run.yaml:6: gate_hidden: has no effect with gate none", ""},
		"sparse direction":   {"method: shira-dora\nr: 2\ndirection: sparse\nlora_alpha: 1", "run.yaml:7: lora_alpha: has no effect with direction sparse", ""},
		"none for direction": {"method: shira-dora\ndirection: sparse", "run.yaml: r: give r or density: how many entries of each weight to train", ""},
		"planned dtype":      {"r: 2\ncompute_dtype: float16", `run.yaml:5: compute_dtype: "float16" is not available in this version: want float32, bfloat16`, ""},
		"full with r":        {"method: full\nr: 2", "run.yaml:5: r: has no effect with method full", ""},
		"full with targets":  {"method: full\ntarget_modules: [a]", "run.yaml:5: target_modules: has no effect with method full", ""},
		"no targets":         {"r: 2\ntarget_modules: []", "run.yaml:5: target_modules: is empty", ""},
		"target twice":       {"r: 2\ntarget_modules: [a, a]", `run.yaml:5: target_modules: has "a" twice`, ""},
		"target empty":       {`r: 2` + "\n" + `target_modules: ["", a]`, "run.yaml:5: target_modules: has an empty name", ""},
		"target null":        {"r: 2\ntarget_modules: [a, ~]", "run.yaml:5: target_modules: has an empty name", ""},
		"targets a mapping":  {"r: 2\ntarget_modules: {a: b}", "run.yaml:5: target_modules: want a list of names, got a mapping", ""},
		"targets nested":     {"r: 2\ntarget_modules: [[a]]", "run.yaml:5: target_modules: want a list of names", ""},
		"length one":         {"r: 2\nmax_seq_length: 1", "run.yaml:5: max_seq_length: want at least 2, got 1", ""},
		"merge key":          {"r: 2\n<<: {seed: 1}", "run.yaml:5: merge keys (<<) are not supported", ""},
		"number as a key":    {"r: 2\n1: 2", `run.yaml:5: unknown key "1"`, ""},
		"list as a key":      {"r: 2\n? [a]\n: 2", "run.yaml:5: want a name before the colon", ""},
		"empty":              {"=", "run.yaml: is empty", "`shira config init` prints a configuration to start from"},
		"only comments":      {"=# nothing\n\n", "run.yaml: is empty", "`shira config init` prints a configuration to start from"},
		"null":               {"=~", "run.yaml: is empty", "`shira config init` prints a configuration to start from"},
		"a list":             {"=- a\n- b", "run.yaml:1: want lines of the form key: value", ""},
		"a text":             {"=hello", "run.yaml:1: want lines of the form key: value", ""},
		"nothing given":      {"=seed: 1", "run.yaml: model_name_or_path: is missing; train_file: is missing; output_dir: is missing; r: give r or density: how many entries of each weight to train", ""},
		"second document":    {"r: 2\n---\nr: 3", "run.yaml:5: a second document: want one", ""},
		"tab":                {"r: 2\n\tseed: 3", "run.yaml:5: is not YAML: a tab indents the line: want spaces", ""},
		"no colon":           {"r: 2\nseed 3\nmask: wm", "run.yaml:5: is not YAML: could not find expected ':'", ""},
		"open bracket":       {"target_modules: [a", "run.yaml:4: is not YAML: did not find expected ',' or ']'", ""},
		"unknown anchor":     {"r: *nope", "run.yaml: is not YAML: unknown anchor 'nope' referenced", ""},
		"alias bomb":         {"r: 2\n" + bomb + "target_modules: *y", "", ""},
		"self reference":     {"r: 2\ntarget_modules: &a [*a]", "", ""},
		"control character":  {"r: 2\x00", "run.yaml: is not YAML: control characters are not allowed", ""},
		"not UTF-8":          {"r: \xff\xfe", "", ""},
		"key with escapes":   {"r: 2\n\"a\\e[31m\": 1", `run.yaml:5: unknown key "a\x1b[31m"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			text, whole := strings.CutPrefix(tt.text, "=")
			if !whole {
				text = minimal + text
			}
			r, err := Parse("run.yaml", []byte(text))
			if err == nil {
				t.Fatalf("no error: %+v", r.Train)
			}
			if k := fault.KindOf(err); k != fault.Usage {
				t.Errorf("kind %d, want Usage", k)
			}
			if tt.want == "" {
				if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 4000 {
					t.Errorf("unfit for a line: %.500s", err)
				}
				return
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			if h := fault.HintOf(err); h != tt.hint {
				t.Errorf("hint %q, want %q", h, tt.hint)
			}
		})
	}
}

func TestOutputIsInput(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"model", "adapter"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	single := filepath.Join(dir, "model", "weights.st")
	if err := os.WriteFile(single, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("model", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct{ model, adapter, out, want string }{
		{"model", "adapter", "out", ""},
		{"model", "", "model", "output_dir: is that of model_name_or_path, which the run would overwrite"},
		{"model", "", "model/", "output_dir: is that of model_name_or_path, which the run would overwrite"},
		{"model", "", "link", "output_dir: is that of model_name_or_path, which the run would overwrite"},
		{"model/weights.st", "", "model", "output_dir: is that of model_name_or_path, which the run would overwrite"},
		{"model", "adapter", "adapter", "output_dir: is that of init_adapter, which the run would overwrite"},
		{"absent", "", "absent", "output_dir: is that of model_name_or_path, which the run would overwrite"},
	} {
		c := Defaults()
		c.ModelNameOrPath, c.TrainFile, c.OutputDir = filepath.Join(dir, tt.model), "t", filepath.Join(dir, tt.out)
		if c.R = 1; tt.adapter != "" {
			c.InitAdapter = filepath.Join(dir, tt.adapter)
		}
		err := c.Validate()
		if got := errText(err); got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAliases(t *testing.T) {
	r, err := Parse("run.yaml", []byte("base_model: m\ntrain_file: t\noutput_dir: o\nr: 2\nsequence_len: 9\nmicro_batch_size: 3\niters: 4\nlora_target_modules: [a]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r.ModelNameOrPath != "m" || r.MaxSeqLength != 9 || r.BatchSize != 3 || r.MaxSteps != 4 || r.TargetModules[0] != "a" {
		t.Errorf("got %+v", r.Train)
	}
	if len(r.Notices) != 5 || r.Notices[0] != "run.yaml:1: base_model is read as model_name_or_path" {
		t.Errorf("notices: %q", r.Notices)
	}
	seen := map[string]string{}
	for _, k := range keys {
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			if other, ok := seen[name]; ok {
				t.Errorf("%s belongs to %s and %s", name, other, k.Name)
			}
			if slices.Contains(planned, name) {
				t.Errorf("%s is available and planned", name)
			}
			seen[name] = k.Name
		}
	}
}

func TestOverrides(t *testing.T) {
	const text = minimal + "r: 2\nseed: 1\nmax_steps: 3\nmask: wm\n"
	env := func(name, v string) Override { return Override{Layer: Environment, Name: name, Value: v} }
	set := func(name, v string) Override { return Override{Layer: Flag, Name: name, Value: v} }
	for name, tt := range map[string]struct {
		overrides []Override
		key       string
		want      any
		origin    string
	}{
		"file":              {nil, "seed", uint64(1), "run.yaml:5"},
		"default":           {nil, "shuffle", true, "default"},
		"not given":         {nil, "density", nil, "default"},
		"environment":       {[]Override{env("SHIRA_SEED", "2")}, "seed", uint64(2), "SHIRA_SEED"},
		"flag":              {[]Override{set("seed", "3")}, "seed", uint64(3), "--set"},
		"flag beats env":    {[]Override{set("seed", "3"), env("SHIRA_SEED", "2")}, "seed", uint64(3), "--set"},
		"last flag":         {[]Override{set("seed", "3"), set("seed", "4")}, "seed", uint64(4), "--set"},
		"flag by alias":     {[]Override{set("iters", "9")}, "max_steps", 9, "--set"},
		"rate":              {[]Override{set("learning_rate", "1e-3")}, "learning_rate", 1e-3, "--set"},
		"other budget wins": {[]Override{set("density", "0.5")}, "r", nil, "default"},
		"steps win":         {nil, "num_train_epochs", nil, "default"},
		"no warm-up":        {nil, "warmup_ratio", 0.0, "default"},
		"epochs win":        {[]Override{set("num_train_epochs", "1.5")}, "max_steps", nil, "default"},
		"empty unsets":      {[]Override{set("max_steps", "")}, "num_train_epochs", 3.0, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Parse("run.yaml", []byte(text), tt.overrides...)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range r.Settings() {
				if s.Key.Name == tt.key && (s.Value != tt.want || s.Origin.String() != tt.origin) {
					t.Errorf("%s = %v from %s, want %v from %s", tt.key, s.Value, s.Origin, tt.want, tt.origin)
				}
			}
		})
	}
	for _, list := range []string{"[a, b]", "a,b", " a , b "} {
		r, err := Parse("run.yaml", []byte(text), set("target_modules", list))
		if err != nil || !slices.Equal(r.TargetModules, []string{"a", "b"}) {
			t.Errorf("%q: %v, %v", list, r, err)
		}
	}
	_, err := Parse("run.yaml", []byte(text), set("sed", "3"), env("SHIRA_R", "x"))
	if want := `SHIRA_R: r: want a whole number, got "x"; --set: unknown key "sed"`; errText(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestInitAdapter(t *testing.T) {
	r, err := Parse("run.yaml", []byte(minimal+"init_adapter: a\n"))
	if err != nil || len(r.Notices) != 0 {
		t.Fatal(err, r)
	}
	r, err = Parse("run.yaml", []byte(minimal+"init_adapter: a\nr: 2\nmask: wm\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "run.yaml:4: trains what init_adapter has; no effect beside it: mask, r"; len(r.Notices) != 1 || r.Notices[0] != want {
		t.Errorf("notices: %q", r.Notices)
	}
	r, err = Parse("run.yaml", []byte(minimal+"init_adapter: a\nmask: snip\ncalibration_samples: 4\n"))
	if want := "run.yaml:4: trains what init_adapter has; no effect beside it: mask, calibration_samples"; err != nil || len(r.Notices) != 1 || r.Notices[0] != want {
		t.Errorf("notices: %v, error %v", r, err)
	}
	r, err = Parse("run.yaml", []byte(minimal+"init_adapter: a\nmethod: foura\ngate_temperature: 0.5\n"))
	if want := "run.yaml:4: trains what init_adapter has; no effect beside it: gate_temperature"; err != nil || len(r.Notices) != 1 || r.Notices[0] != want {
		t.Errorf("notices: %v, error %v", r, err)
	}
}

func TestWarmupBeyondTheEnd(t *testing.T) {
	for text, want := range map[string]string{
		"max_steps: 4\nwarmup_steps: 4": "run.yaml:6: warmup_steps are 4 of max_steps 4: learning_rate is never reached",
		"max_steps: 4\nwarmup_steps: 3": "",
		"warmup_steps: 3":               "",
	} {
		r, err := Parse("run.yaml", []byte(minimal+"r: 2\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Notices, "\n"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestMethodFull(t *testing.T) {
	r, err := Parse("run.yaml", []byte(minimal+"method: full\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r.LearningRate != 5e-5 || r.Mask != "" || r.TargetModules != nil {
		t.Errorf("got %+v", r.Train)
	}
}

func TestValidateInCode(t *testing.T) {
	c := Defaults()
	c.R, c.Density, c.LearningRate, c.Mask = 2, 0.5, -1, "none"
	want := `mask: want one of wm, grad, snip, rand, struct, got "none"; learning_rate: want more than 0, got -1; r: give it or density, not both; ` +
		`model_name_or_path: is missing; train_file: is missing; output_dir: is missing`
	// The default epochs do not count against explicit steps in code either.
	if got := errText(c.Validate()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
