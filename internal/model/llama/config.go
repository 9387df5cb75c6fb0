package llama

import (
	"math"

	"shira/internal/fault"
	"shira/internal/nn"
)

// Config is a Llama's config.json, with the names and defaults of Hugging Face.
type Config struct {
	VocabSize             int      `json:"vocab_size"`
	HiddenSize            int      `json:"hidden_size"`
	IntermediateSize      int      `json:"intermediate_size"`
	NumHiddenLayers       int      `json:"num_hidden_layers"`
	NumAttentionHeads     int      `json:"num_attention_heads"`
	NumKeyValueHeads      *int     `json:"num_key_value_heads"`
	HeadDim               *int     `json:"head_dim"`
	MaxPositionEmbeddings int      `json:"max_position_embeddings"`
	RMSNormEps            float64  `json:"rms_norm_eps"`
	HiddenAct             string   `json:"hidden_act"`
	TieWordEmbeddings     bool     `json:"tie_word_embeddings"`
	AttentionBias         bool     `json:"attention_bias"`
	MLPBias               bool     `json:"mlp_bias"`
	RopeTheta             *float64 `json:"rope_theta"`
	RopeScaling           *Rope    `json:"rope_scaling"`
	RopeParameters        *Rope    `json:"rope_parameters"`
}

// Rope is `rope_scaling`, or `rope_parameters` in newer files, which holds the base frequency as well.
type Rope struct {
	Type             string   `json:"rope_type"`
	LegacyType       string   `json:"type"`
	Theta            *float64 `json:"rope_theta"`
	Factor           float64  `json:"factor"`
	LowFreqFactor    float64  `json:"low_freq_factor"`
	HighFreqFactor   float64  `json:"high_freq_factor"`
	OriginalMaxInput float64  `json:"original_max_position_embeddings"`
}

// Defaults returns what Hugging Face assumes for absent keys.
func Defaults() *Config {
	return &Config{VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 11008, NumHiddenLayers: 32, NumAttentionHeads: 32,
		MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, HiddenAct: "silu"}
}

// limit bounds every size in a configuration: no real model comes near, and products of two stay far from overflow.
const limit = 1 << 24

// check reports the first value that cannot describe a model.
func (c *Config) check(path string) error {
	bad := func(format string, args ...any) error { return fault.New(fault.Malformed, path, format, args...) }
	for _, v := range []struct {
		name  string
		value int
	}{
		{"vocab_size", c.VocabSize}, {"hidden_size", c.HiddenSize}, {"intermediate_size", c.IntermediateSize},
		{"num_hidden_layers", c.NumHiddenLayers}, {"num_attention_heads", c.NumAttentionHeads},
		{"num_key_value_heads", c.kvHeads()}, {"max_position_embeddings", c.MaxPositionEmbeddings},
	} {
		if v.value <= 0 || v.value > limit {
			return bad("%s must be between 1 and %d: %d", v.name, limit, v.value)
		}
	}
	switch {
	case c.HeadDim == nil && c.HiddenSize%c.NumAttentionHeads != 0:
		return bad("hidden_size %d is not a multiple of num_attention_heads %d", c.HiddenSize, c.NumAttentionHeads)
	case c.NumAttentionHeads%c.kvHeads() != 0:
		return bad("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.NumAttentionHeads, c.kvHeads())
	case c.headSize() <= 0 || c.headSize() > limit || c.headSize()%2 != 0:
		return bad("head_dim must be even and positive: %d", c.headSize())
	case !(c.RMSNormEps > 0 && c.RMSNormEps < 1): // with 0 a token of zeros, as padding is, would become NaN
		return bad("rms_norm_eps must be above 0 and below 1: %v", c.RMSNormEps)
	case c.HiddenAct != "silu":
		return fault.New(fault.Incompatible, path, "hidden_act %s is not supported; this version has: silu", fault.Quote(c.HiddenAct))
	}
	return nil
}

func (c *Config) kvHeads() int {
	if c.NumKeyValueHeads == nil {
		return c.NumAttentionHeads
	}
	return *c.NumKeyValueHeads
}

func (c *Config) headSize() int {
	if c.HeadDim == nil {
		return c.HiddenSize / c.NumAttentionHeads
	}
	return *c.HeadDim
}

// rope returns the rotary frequencies, scaled as Llama 3.1 does where the configuration asks for it.
func (c *Config) rope(path string) (*nn.Rope, error) {
	s := c.RopeParameters
	if s == nil {
		s = c.RopeScaling
	}
	if s == nil {
		s = &Rope{}
	}
	theta := 10000.0
	for _, t := range []*float64{c.RopeTheta, s.Theta} {
		if t != nil {
			theta = *t
		}
	}
	if !(theta > 0) || math.IsInf(theta, 0) {
		return nil, fault.New(fault.Malformed, path, "rope_theta must be positive: %v", theta)
	}
	kind := s.Type
	if kind == "" {
		kind = s.LegacyType
	}
	r := nn.NewRope(c.headSize(), theta)
	if kind != "" && kind != "default" && !(s.Factor >= 1) {
		return nil, fault.New(fault.Malformed, path, "rope factor must be at least 1: %v", s.Factor)
	}
	switch kind {
	case "", "default":
	case "linear":
		for i := range r.Freq {
			r.Freq[i] /= s.Factor
		}
	case "llama3":
		if !(s.LowFreqFactor > 0 && s.HighFreqFactor > s.LowFreqFactor && s.OriginalMaxInput > 0) {
			return nil, fault.New(fault.Malformed, path, "rope_type llama3 needs 0 < low_freq_factor < high_freq_factor and original_max_position_embeddings > 0")
		}
		s.scaleLlama3(r.Freq)
	default:
		return nil, fault.New(fault.Incompatible, path, "rope_type %s is not supported; this version has: default, linear, llama3", fault.Quote(kind))
	}
	return r, nil
}

// scaleLlama3 slows frequencies whose wavelength exceeds the original context by Factor, keeps those well below it, and
// blends between (Llama 3.1 reference code, apply_scaling).
func (s *Rope) scaleLlama3(freq []float64) {
	low, high := s.OriginalMaxInput/s.LowFreqFactor, s.OriginalMaxInput/s.HighFreqFactor
	for i, f := range freq {
		wavelength := 2 * math.Pi / f
		switch {
		case wavelength > low:
			freq[i] = f / s.Factor
		case wavelength > high:
			smooth := (s.OriginalMaxInput/wavelength - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
			freq[i] = (1-smooth)*f/s.Factor + smooth*f
		}
	}
}
