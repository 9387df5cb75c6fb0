package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fsx"
)

// size is the shape of a model, with the names of config.json.
type size struct {
	name         string
	VocabSize    int  `json:"vocab_size"`
	Hidden       int  `json:"hidden_size"`
	Intermediate int  `json:"intermediate_size"`
	Layers       int  `json:"num_hidden_layers"`
	Heads        int  `json:"num_attention_heads"`
	KVHeads      int  `json:"num_key_value_heads"`
	MaxPositions int  `json:"max_position_embeddings"`
	Tied         bool `json:"tie_word_embeddings"`
}

// sizes are the shapes of stories260K, stories15M and stories110M of llama2.c, and of TinyLlama.
var sizes = []size{
	{"260k", 512, 64, 172, 5, 8, 4, 512, true},
	{"15m", 32000, 288, 768, 6, 6, 6, 1024, true},
	{"110m", 32000, 768, 2048, 12, 12, 12, 1024, true},
	{"1.1b", 32000, 2048, 5632, 22, 32, 4, 2048, false},
}

var dtypes = map[string]checkpoint.DType{"float32": checkpoint.F32, "bfloat16": checkpoint.BF16}

func sizeNamed(name string) (size, bool) {
	for _, s := range sizes {
		if s.name == name {
			return s, true
		}
	}
	return size{}, false
}

func sizeNames() string {
	var names []string
	for _, s := range sizes {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// config is config.json of a LlamaForCausalLM.
type config struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	size
	HiddenAct        string  `json:"hidden_act"`
	InitializerRange float64 `json:"initializer_range"`
	RMSNormEps       float64 `json:"rms_norm_eps"`
	RopeTheta        float64 `json:"rope_theta"`
	BOS              int     `json:"bos_token_id"`
	EOS              int     `json:"eos_token_id"`
	DType            string  `json:"torch_dtype"`
}

// writeModel makes the folder dir with config.json and the weights, which come last: a folder that has them is complete.
func writeModel(dir string, s size, dtype checkpoint.DType) error {
	c := config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", size: s, HiddenAct: "silu", InitializerRange: initStd,
		RMSNormEps: 1e-5, RopeTheta: 10000, BOS: 1, EOS: 2,
	}
	for name, d := range dtypes {
		if d == dtype {
			c.DType = name
		}
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fsx.Wrap(err, dir, "cannot make the folder")
	}
	path := filepath.Join(dir, checkpoint.ConfigFile)
	if err := os.WriteFile(path, append(b, '\n'), 0o666); err != nil {
		return fsx.Wrap(err, path, "cannot write")
	}
	var entries []checkpoint.Entry
	for i, t := range s.tensors() {
		entries = append(entries, t.entry(uint64(i), dtype))
	}
	// PyTorch's loaders want to be told the format.
	return checkpoint.Write(filepath.Join(dir, checkpoint.ModelFile), entries, map[string]string{"format": "pt"})
}

// tensor is a tensor of the model.
type tensor struct {
	name  string
	shape []int // (out, in); a norm's gain has one dimension
}

// tensors lists the tensors in the order of the forward pass.
func (s size) tensors() []tensor {
	kv := s.Hidden / s.Heads * s.KVHeads
	ts := []tensor{{"model.embed_tokens.weight", []int{s.VocabSize, s.Hidden}}}
	for i := range s.Layers {
		for _, t := range []tensor{
			{"input_layernorm", []int{s.Hidden}},
			{"self_attn.q_proj", []int{s.Hidden, s.Hidden}},
			{"self_attn.k_proj", []int{kv, s.Hidden}},
			{"self_attn.v_proj", []int{kv, s.Hidden}},
			{"self_attn.o_proj", []int{s.Hidden, s.Hidden}},
			{"post_attention_layernorm", []int{s.Hidden}},
			{"mlp.gate_proj", []int{s.Intermediate, s.Hidden}},
			{"mlp.up_proj", []int{s.Intermediate, s.Hidden}},
			{"mlp.down_proj", []int{s.Hidden, s.Intermediate}},
		} {
			ts = append(ts, tensor{"model.layers." + strconv.Itoa(i) + "." + t.name + ".weight", t.shape})
		}
	}
	ts = append(ts, tensor{"model.norm.weight", []int{s.Hidden}})
	if !s.Tied {
		ts = append(ts, tensor{"lm_head.weight", []int{s.VocabSize, s.Hidden}})
	}
	return ts
}

func (t tensor) elements() int {
	n := 1
	for _, dim := range t.shape {
		n *= dim
	}
	return n
}

// parameters counts the values of the file.
func (s size) parameters() int {
	n := 0
	for _, t := range s.tensors() {
		n += t.elements()
	}
	return n
}
