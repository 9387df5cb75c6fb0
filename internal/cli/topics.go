package cli

import (
	"fmt"
	"strings"

	"shira/internal/config"
)

// topic is a help text that belongs to no command.
type topic struct {
	name, short string
	text        func() string
}

// topics is the table of help topics.
var topics = []topic{
	{"exit-codes", "what the exit codes mean", exitCodesTopic},
	{"environment", "the environment variables", environmentTopic},
	{"formats", "the files that are read and written", func() string { return formatsText }},
}

func exitCodesTopic() string {
	return "Exit codes are a contract: a number keeps its meaning in all versions.\n\n" + exitStatus() + `
Errors are one line on the standard error, "shira: <file>: <what is wrong>", and where
it helps a second one, "hint: …". With --json the last line is an object:

  {"error":{"code":3,"kind":"malformed","message":"…","hint":"…"}}

Files are written whole or not at all: after an error they are as they were. Only the
metrics of a run grow while it lasts, as metrics.jsonl.part. ` + "`shira switch`" + ` changes weights in
place: when it could not end (5), the next one or --recover brings back what was there.
`
}

func environmentTopic() string {
	var b strings.Builder
	b.WriteString("Values are taken from flags first, then from the environment, from the configuration\nfile, and from the defaults last.\n\n")
	t := newTable("<VARIABLE", "<MEANING")
	for _, v := range variables {
		t.add(v.name, v.doc)
	}
	t.write(&b)
	b.WriteString("\nEach key of a training configuration has a variable, for `shira train`,\n`mask`, `data --config` and `config show`:\n\n")
	keys := newTable("<VARIABLE", "<KEY")
	for _, k := range config.Keys() {
		keys.add(k.Env(), k.Name)
	}
	keys.write(&b)
	var shared []string
	for _, flag := range scoringFromEnv {
		shared = append(shared, variableOf(flag))
	}
	fmt.Fprintf(&b, "\nOf these, `shira eval` and `freeze-gate` take %s.\n", strings.Join(shared, ", "))
	return b.String()
}

const formatsText = `MODELS
  A safetensors file of any name with config.json and tokenizer.json beside it, or a
  Hugging Face directory with model.safetensors or with model.safetensors.index.json and
  its shards. Types F64, F32, F16 and BF16 can be trained, scored and fused; a fused model
  keeps the type of each tensor. Pickle files (.bin, .pt) are refused: they can run code.
  The weights of a directory may be symbolic links within it, or within the repository of a
  Hugging Face cache. Links to other places are refused: a directory from elsewhere must not
  reach your files.

ADAPTERS
  A PEFT directory with adapter_model.safetensors and adapter_config.json, as PEFT writes
  and reads it, or the safetensors file alone, whose metadata (key "shira") repeats the
  configuration. For each module, after "base_model.model.<module>.":
    shira_weight            (K)        SHiRA: the change of K entries of the weight
    shira_indices           (2, K)     their rows and columns, row-major
    shira_magnitude_vector  (out)      SHiRA-DoRA also: the norms of the new weight's rows
    lora_A.weight           (r, in)    LoRA, rsLoRA, DoRA: the change is scale·B·A, with the
    lora_B.weight           (out, r)   scale lora_alpha/r, or lora_alpha/√r by use_rslora
    lora_magnitude_vector   (out)      DoRA also: the norms of the new weight's rows
    foura_A.weight          (r, in)    FouRA: as LoRA, in a frequency domain by transform; complex
    foura_B.weight          (out, r)   for dft: (r, in/2+1, 2) and (out/2+1, r, 2)
    foura_gate.…            its gate: a torch Sequential(Linear, GELU, Linear) and a threshold (r),
                            or frozen a mean (r)
    weight                  (out, in)  the new weight of one of modules_to_save
  rank_pattern and alpha_pattern count. What PEFT computes otherwise than as a change of
  linear layers' weights is refused: biases, convolutions, initialisations that change the
  base (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA), QALoRA, activated LoRA and the like.
  Strengths are linear, W + strength·change, for DoRA too: half of it lies halfway between
  the base and the adapted weight. (PEFT scales the B·A within DoRA's norm instead.)

  A mask, as ` + "`shira mask`" + ` saves one, is a SHiRA adapter whose values are all zero.
  PEFT loads SHiRA adapters whose weights have r·(out+in) entries each, as with a budget r;
  those with a density, SHiRA-DoRA and FouRA are for shira alone.
  The metadata holds a fingerprint of the base: an adapter is not applied to another base
  unless --force says so. One without a fingerprint, as PEFT's, is checked by shapes.

  LoRA and DoRA adapters of other programs are read wherever an adapter is:
    mlx-lm     a directory with adapters.safetensors and adapter_config.json
    diffusers  pytorch_lora_weights.safetensors, of any version
    kohya      sd-scripts' and LyCORIS's LoRA and DoRA; names that have underscores for
               dots are looked up in the base
  The first LoRAs of diffusion models, which number modules, can only be inspected.

  ` + "`shira convert`" + ` writes any of these for PEFT, and SHiRA in a compact form: the same file
  with, instead of shira_indices,
    shira_gaps  (n) bytes  for each entry, row-major, how many entries of the weight lie
                           between it and the one before: one byte below 255; else the byte
                           255 and the number less 255 as a varint (LEB128)

SWITCHED MODELS
  ` + "`shira switch`" + ` keeps journals in .shira in the model's directory, or in NAME.shira beside a
  single file. applied-N says which adapters the weights have, and what the base had in
  their place: without it there is no way back. docs/switch.md has the format.

EXAMPLES TO TRAIN ON AND SCORE
  JSONL or a JSON array (told by the first character), CSV (.csv), TSV (.tsv), Parquet (told
  by its first bytes) or plain text (.txt); all but Parquet also within gzip (.gz). The rows
  of a file are of one kind, which their fields tell or --type says:
    text               {"text": "…"}: every token counts
    prompt_completion  {"prompt": "…", "completion": "…"}: the completion counts
    alpaca             {"instruction": "…", "input": "…", "output": "…"}: the output counts
    chat               {"messages": [{"role": "…", "content": "…"}]}: the assistant's turns
    sharegpt           {"conversations": [{"from": "…", "value": "…"}]}: likewise
    tokens             {"input_ids": […], "labels": […]}: a label of -100 does not count
  A plain text is cut at <|endoftext|> if it has that, otherwise into lines. Text is encoded
  with the special tokens of the tokenizer, as its tokenizer.json says; conversations as the
  model's chat template writes them. ` + "`shira data`" + ` shows which tokens count.

CONFIGURATIONS
  YAML; ` + "`shira config init`" + ` prints one with every key explained.
  A fusion has one too, for ` + "`shira fuse --config`; `--save-config`" + ` writes it:
    base: path/to/model
    method: ties                      as all parameters, like the flag
    density: 0.5
    adapters:
      - path: a
        weight: 0.7
      - path: b
        weight:                       for parts of the model: the first filter that the
          - {filter: self_attn, value: 0.3}     weight's name contains, or matches with *
          - {value: 1}

METRICS
  metrics.jsonl, until the run has ended well metrics.jsonl.part: for each logged
  step an object with step, loss, learning_rate, grad_norm, epoch, tokens and
  tokens_per_second; for each evaluation one with step, eval_loss, epoch and
  eval_tokens. Losses are means over counted tokens, in nats.

  report.html shows the same in pictures and opens without a network. trainer_state.json
  has it as the Trainer of Hugging Face writes it, README.md is a model card for the Hub,
  and report_to: tensorboard writes event files to <output_dir>/runs.

CHECKPOINTS
  checkpoint-<step> in the output directory: the adapter or model as it would be
  written after that step, the metrics so far, and in training_state.safetensors the
  trained values with AdamW's moments (<parameter>:value, :exp_avg, :exp_avg_sq) and,
  under the metadata key "state", the place in the data, the configuration, and the
  hashes of what must not change. A checkpoint appears whole, by a rename; SHA256SUMS
  (as sha256sum -c reads it) tells later damage.
`
