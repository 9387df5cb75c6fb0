// Package testmodel writes a tiny Llama with random weights and a character-level tokenizer, for tests.
package testmodel

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"shira/internal/checkpoint"
)

// The model's shape.
const (
	Vocab        = 99 // <s>, </s>, <unk>, the printable ASCII characters and a newline
	Hidden       = 16
	Intermediate = 24
	Layers       = 2
	Heads        = 4
	KVHeads      = 2
	MaxPositions = 64
)

// Write makes the directory dir and writes a model of the given dtype into it. The same seed gives the same bytes.
func Write(dir string, seed uint64, dtype checkpoint.DType) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "vocab_size": Vocab, "hidden_size": Hidden,
		"intermediate_size": Intermediate, "num_hidden_layers": Layers, "num_attention_heads": Heads, "num_key_value_heads": KVHeads,
		"max_position_embeddings": MaxPositions, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": true,
		"bos_token_id": 0, "eos_token_id": 1,
	}
	if err := writeJSON(filepath.Join(dir, "config.json"), config); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "tokenizer.json"), tokenizer()); err != nil {
		return err
	}
	return checkpoint.Write(filepath.Join(dir, "model.safetensors"), weights(seed, dtype), map[string]string{"format": "pt"})
}

func weights(seed uint64, dtype checkpoint.DType) []checkpoint.Entry {
	rng := rand.New(rand.NewPCG(seed, 0))
	var entries []checkpoint.Entry
	add := func(name string, scale, offset float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64()*scale + offset)
		}
		entries = append(entries, checkpoint.Float32Entry(name, dtype, shape, v))
	}
	add("model.embed_tokens.weight", 0.5, 0, Vocab, Hidden)
	for i := range Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		add(p+"input_layernorm.weight", 0.1, 1, Hidden)
		add(p+"self_attn.q_proj.weight", 0.2, 0, Hidden, Hidden)
		add(p+"self_attn.k_proj.weight", 0.2, 0, Hidden*KVHeads/Heads, Hidden)
		add(p+"self_attn.v_proj.weight", 0.2, 0, Hidden*KVHeads/Heads, Hidden)
		add(p+"self_attn.o_proj.weight", 0.2, 0, Hidden, Hidden)
		add(p+"post_attention_layernorm.weight", 0.1, 1, Hidden)
		add(p+"mlp.gate_proj.weight", 0.2, 0, Intermediate, Hidden)
		add(p+"mlp.up_proj.weight", 0.2, 0, Intermediate, Hidden)
		add(p+"mlp.down_proj.weight", 0.2, 0, Hidden, Intermediate)
	}
	add("model.norm.weight", 0.1, 1, Hidden)
	return entries
}

// tokenizer is a BPE tokenizer without merges: one token per character.
func tokenizer() map[string]any {
	special := []string{"<s>", "</s>", "<unk>"}
	vocab := map[string]int{}
	var added []map[string]any
	for i, s := range special {
		vocab[s] = i
		added = append(added, map[string]any{"id": i, "content": s, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
	}
	vocab["\n"] = len(vocab)
	for c := ' '; c <= '~'; c++ {
		vocab[string(c)] = len(vocab)
	}
	bos := map[string]any{"SpecialToken": map[string]any{"id": "<s>", "type_id": 0}}
	return map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "pre_tokenizer": nil, "decoder": nil,
		"post_processor": map[string]any{
			"type":           "TemplateProcessing",
			"single":         []any{bos, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}},
			"pair":           []any{bos, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}},
			"special_tokens": map[string]any{"<s>": map[string]any{"id": "<s>", "ids": []int{0}, "tokens": []string{"<s>"}}},
		},
		"model": map[string]any{
			"type": "BPE", "dropout": nil, "unk_token": "<unk>", "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": []string{},
		},
	}
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
