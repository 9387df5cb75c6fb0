package main

import (
	"math/rand/v2"
	"strconv"

	"shira/internal/checkpoint"
)

// The shape of the demo base: small enough to be committed in bf16 and to be trained on two cores in minutes.
const (
	vocabSize    = 1280
	hidden       = 160
	intermediate = 448
	layers       = 5
	heads        = 5
	headDim      = hidden / heads
	maxPositions = 512
	initStd      = 0.02
)

// config is config.json of a LlamaForCausalLM.
type config struct {
	Architectures     []string `json:"architectures"`
	ModelType         string   `json:"model_type"`
	VocabSize         int      `json:"vocab_size"`
	HiddenSize        int      `json:"hidden_size"`
	IntermediateSize  int      `json:"intermediate_size"`
	Layers            int      `json:"num_hidden_layers"`
	Heads             int      `json:"num_attention_heads"`
	KVHeads           int      `json:"num_key_value_heads"`
	HeadDim           int      `json:"head_dim"`
	HiddenAct         string   `json:"hidden_act"`
	MaxPositions      int      `json:"max_position_embeddings"`
	InitializerRange  float64  `json:"initializer_range"`
	RMSNormEps        float64  `json:"rms_norm_eps"`
	RopeTheta         float64  `json:"rope_theta"`
	AttentionBias     bool     `json:"attention_bias"`
	MLPBias           bool     `json:"mlp_bias"`
	TieWordEmbeddings bool     `json:"tie_word_embeddings"`
	BOS               int      `json:"bos_token_id"`
	EOS               int      `json:"eos_token_id"`
	DType             string   `json:"torch_dtype"`
}

func demoConfig() config {
	return config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: vocabSize, HiddenSize: hidden,
		IntermediateSize: intermediate, Layers: layers, Heads: heads, KVHeads: heads, HeadDim: headDim, HiddenAct: "silu",
		MaxPositions: maxPositions, InitializerRange: initStd, RMSNormEps: 1e-5, RopeTheta: 10000, TieWordEmbeddings: true,
		BOS: bosID, EOS: eosID, DType: "bfloat16",
	}
}

// shaped is a tensor of the model.
type shaped struct {
	name  string
	shape []int // (out, in); a norm has one dimension
}

// modelTensors lists the tensors of the base in the order of the forward pass. The head is tied to the embedding.
func modelTensors() []shaped {
	ts := []shaped{{"model.embed_tokens.weight", []int{vocabSize, hidden}}}
	for i := range layers {
		for _, t := range []shaped{
			{"input_layernorm", []int{hidden}},
			{"self_attn.q_proj", []int{heads * headDim, hidden}},
			{"self_attn.k_proj", []int{heads * headDim, hidden}},
			{"self_attn.v_proj", []int{heads * headDim, hidden}},
			{"self_attn.o_proj", []int{hidden, heads * headDim}},
			{"post_attention_layernorm", []int{hidden}},
			{"mlp.gate_proj", []int{intermediate, hidden}},
			{"mlp.up_proj", []int{intermediate, hidden}},
			{"mlp.down_proj", []int{hidden, intermediate}},
		} {
			ts = append(ts, shaped{"model.layers." + strconv.Itoa(i) + "." + t.name + ".weight", t.shape})
		}
	}
	return append(ts, shaped{"model.norm.weight", []int{hidden}})
}

// elements returns the number of values.
func (t shaped) elements() int {
	n := 1
	for _, dim := range t.shape {
		n *= dim
	}
	return n
}

// initialWeights draws the weights: matrices normal with a deviation of 0.02, norms one.
func initialWeights(seed uint64) []checkpoint.Entry {
	r := newRand(seed, streamWeights)
	var entries []checkpoint.Entry
	for _, t := range modelTensors() {
		entries = append(entries, checkpoint.Float32Entry(t.name, checkpoint.BF16, t.shape, t.draw(r)))
	}
	return entries
}

func (t shaped) draw(r *rand.Rand) []float32 {
	values := make([]float32, t.elements())
	for i := range values {
		if len(t.shape) == 1 {
			values[i] = 1
		} else {
			values[i] = float32(initStd * r.NormFloat64())
		}
	}
	return values
}
