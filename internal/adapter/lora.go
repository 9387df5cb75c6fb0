package adapter

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// The tensors of a low-rank delta, as PEFT stores them.
const (
	lowRankA         = "lora_A.weight"         // (r, in)
	lowRankB         = "lora_B.weight"         // (out, r)
	lowRankMagnitude = "lora_magnitude_vector" // (out), of DoRA
)

// PEFT's defaults for keys that adapter_config.json lacks.
const (
	defaultLoRARank  = 8
	defaultLoRAAlpha = 8
)

// readLowRank reads the delta of one module, values of any float type.
func readLowRank(module string, parts map[string]checkpoint.Tensor, c *Config, known shapes, p *problems) Delta {
	name := fault.Quote(module)
	l := &LowRank{Name: module}
	r, alpha, err := c.Rank(module)
	if err != nil {
		p.addErr(name, err)
		return nil
	}
	a, b := parts[lowRankA], parts[lowRankB]
	if !lowRankPair(module, a, b, false, p) {
		return nil
	}
	l.R, l.In, l.Out = a.Shape[0], a.Shape[1], b.Shape[0]
	magnitude, directed := parts[lowRankMagnitude]
	size, isKnown := known[module]
	switch {
	case l.R != r:
		p.Add("%s: the rank of its tensors is %d, but by the configuration it is %d", name, l.R, r)
	case isKnown && size != [2]int{l.Out, l.In}:
		p.Add("%s: its tensors are for a weight of shape (%d, %d), but by the configuration it is (%d, %d)",
			name, l.Out, l.In, size[0], size[1])
	case directed != (c.Method == "dora"):
		p.Add("%s: has no %s, which DoRA needs", name, lowRankMagnitude)
	case directed && !slices.Equal(magnitude.Shape, []int{l.Out}):
		p.Add("%s: the shape of %s is %v, want (%d)", name, lowRankMagnitude, magnitude.Shape, l.Out)
	default:
		l.Alpha, l.Scale = alpha, c.Scale(r, alpha)
		if l.fill(a, b, magnitude, false, p) {
			return l
		}
	}
	return nil
}

// lowRankPair checks the factors A (r, in) and B (out, r) of a module, or (in, r) and (r, out); the zero tensor stands for
// one that is missing.
func lowRankPair(module string, a, b checkpoint.Tensor, transposed bool, p *problems) bool {
	name, want := fault.Quote(module), "(r, in) and (out, r)"
	rankA, rankB := 0, 1
	if transposed {
		rankA, rankB, want = 1, 0, "(in, r) and (r, out)"
	}
	switch {
	case a.Name == "" && b.Name == "":
		p.Add("%s: has neither A nor B", name)
	case a.Name == "":
		p.Add("%s: has B but no A", name)
	case b.Name == "":
		p.Add("%s: has A but no B", name)
	case len(a.Shape) == 4 || len(b.Shape) == 4:
		p.Add("%s: is a convolution, A and B having shapes %v and %v: only linear layers are supported", name, a.Shape, b.Shape)
	case len(a.Shape) != 2 || len(b.Shape) != 2 || a.Shape[rankA] != b.Shape[rankB]:
		p.Add("%s: the shapes of A and B are %v and %v, want %s", name, a.Shape, b.Shape, want)
	case a.Len() == 0 || b.Len() == 0:
		p.Add("%s: the shapes of A and B are %v and %v: a dimension is 0", name, a.Shape, b.Shape)
	default:
		return true
	}
	return false
}

// fill reads the values and checks them; the zero tensor stands for no magnitude.
func (l *LowRank) fill(a, b, magnitude checkpoint.Tensor, transposed bool, p *problems) bool {
	decode := func() (*factors, error) {
		var f factors
		var err error
		if f.a, err = a.Float32s(nil); err == nil {
			f.b, err = b.Float32s(nil)
		}
		if err == nil && transposed {
			f.a, f.b = transpose(f.a, l.R), transpose(f.b, l.Out)
		}
		return &f, err
	}
	f, err := decode()
	if err == nil && magnitude.Name != "" {
		l.Magnitude, err = magnitude.Float32s(nil)
	}
	if err == nil {
		l.A, l.B = f.a, f.b
		err = l.validate()
	}
	if err != nil {
		p.addErr(fault.Quote(l.Name), err)
		return false
	}
	if isLazy(!transposed, a, b) {
		l.A, l.B, l.lazy = nil, nil, &lazy[factors]{decode: decode, tensors: []checkpoint.Tensor{a, b}}
	}
	return true
}

// transpose returns the matrix whose columns are the rows of m, which have the given length.
func transpose(m []float32, columns int) []float32 {
	out, rows := make([]float32, len(m)), len(m)/columns
	for i, v := range m {
		out[i%columns*rows+i/columns] = v
	}
	return out
}

// tensors returns the factors and the magnitude.
func (l *LowRank) tensors(f Form) []checkpoint.Entry {
	name := keyPrefix + l.Name + "."
	a, b := l.Factors()
	entries := []checkpoint.Entry{
		f.float(name+lowRankA, []int{l.R, l.In}, a),
		f.float(name+lowRankB, []int{l.Out, l.R}, b),
	}
	if l.Magnitude != nil {
		entries = append(entries, f.float(name+lowRankMagnitude, []int{l.Out}, l.Magnitude))
	}
	return entries
}

// refusedLoRA are keys of adapter_config.json with which PEFT's LoRA layers compute something else.
var refusedLoRA = []struct{ key, why string }{
	{"alora_invocation_tokens", "an activated LoRA changes the model only after these tokens"},
	{"arrow_config", "Arrow chooses between adapters by the input"},
	{"fan_in_fan_out", "weights stored as (in, out) are not supported"},
	{"kasa_config", "KaSA changes the base's weights"},
	{"layer_replication", "it changes the base's layers"},
	{"lora_bias", "biases of lora_B are not supported"},
	{"lora_ga_config", "LoRA-GA changes the base's weights: convert the adapter to a plain LoRA with PEFT"},
	{"monteclora_config", "MonteCLoRA adds more than B·A"},
	{"target_parameters", "adapted parameters that are no layers are not supported"},
	{"trainable_token_indices", "trained tokens are not supported"},
	{"use_bdlora", "block-diagonal factors are not supported"},
	{"use_qalora", "QALoRA pools its input"},
}

// baseChangingInits are values of init_lora_weights with which PEFT changes the base's weights.
var baseChangingInits = []string{"corda", "loftq", "lora_ga", "olora", "pissa"}

func decodeLoRA(o object, c *Config) error {
	var err error
	var dora, rs bool
	c.R, c.Alpha = defaultLoRARank, defaultLoRAAlpha
	o.get("r", &c.R, &err)
	o.get("lora_alpha", &c.Alpha, &err)
	o.get("lora_dropout", &c.Dropout, &err)
	o.get("rank_pattern", &c.RankPattern, &err)
	o.get("alpha_pattern", &c.AlphaPattern, &err)
	o.get("use_dora", &dora, &err)
	o.get("use_rslora", &rs, &err)
	c.Layers = o.layers(&err)
	var init any
	o.get("init_lora_weights", &init, &err)
	if err != nil {
		return fault.Wrap(fault.Malformed, "", err, "wrong type")
	}
	c.Method = "lora"
	if rs {
		c.Method, c.UseRSLoRA = "rslora", true
	}
	if dora {
		c.Method = "dora"
	}
	var p problems
	for _, r := range refusedLoRA {
		if o.set(r.key) {
			p.Add("%s: %s", r.key, r.why)
		}
	}
	if name, ok := init.(string); ok && slices.ContainsFunc(baseChangingInits, func(s string) bool { return hasFold(name, s) }) {
		p.Add("init_lora_weights is %s: the adapter fits a base that PEFT has changed", fault.Quote(name))
		p.Suggest("convert it to a plain LoRA with PEFT: save_pretrained(…, path_initial_model_for_weight_conversion=…)")
	}
	if err := p.err("", "not supported"); err != nil {
		return err
	}
	return nil
}

// layers reads layers_to_transform, a number or a list.
func (o object) layers(err *error) []int {
	var list []int
	one := -1
	if trial := error(nil); o.has("layers_to_transform") {
		if o.get("layers_to_transform", &one, &trial); trial == nil {
			return []int{one}
		}
	}
	o.get("layers_to_transform", &list, err)
	return list
}

func checkLoRA(c *Config) error {
	switch {
	case c.R < 1:
		return fmt.Errorf("r is %d: want a number above 0", c.R)
	case math.Abs(c.Alpha) > math.MaxFloat32:
		return fmt.Errorf("lora_alpha is %v: want a float32", c.Alpha)
	case len(c.RankPattern) > maxOverrides || len(c.AlphaPattern) > maxOverrides:
		return fmt.Errorf("there are %d patterns of ranks and %d of alphas: want at most %d", len(c.RankPattern), len(c.AlphaPattern), maxOverrides)
	case c.Dropout < 0 || c.Dropout > 1:
		return fmt.Errorf("lora_dropout is %v: want 0 … 1", c.Dropout)
	}
	return nil
}

func encodeLoRA(a *Adapter, keys map[string]any) {
	c := &a.Config
	layers := any(nil)
	if c.Layers != nil {
		layers = c.Layers
	}
	keys["r"], keys["lora_alpha"], keys["lora_dropout"] = c.R, c.Alpha, c.Dropout
	keys["rank_pattern"], keys["alpha_pattern"] = c.RankPattern, c.AlphaPattern
	keys["use_dora"], keys["use_rslora"] = c.Method == "dora", c.UseRSLoRA || c.Method == "rslora"
	keys["layers_to_transform"], keys["layers_pattern"] = layers, nil
	keys["bias"], keys["init_lora_weights"] = "none", true
}

func differLoRA(file *Config, a *Adapter, p *problems) {
	c := &a.Config
	if file.Method != c.Method || file.UseRSLoRA != c.UseRSLoRA {
		p.Add("use_dora and use_rslora make it %s, but by the safetensors file it is %s", file.kind(), c.kind())
	}
	if file.R != c.R {
		p.Add("r is %d, but by the safetensors file it is %d", file.R, c.R)
	}
	if file.Alpha != c.Alpha {
		p.Add("lora_alpha is %v, but by the safetensors file it is %v", file.Alpha, c.Alpha)
	}
	if !slices.Equal(file.RankPattern, c.RankPattern) {
		p.Add("rank_pattern is another than in the safetensors file")
	}
	if !slices.Equal(file.AlphaPattern, c.AlphaPattern) {
		p.Add("alpha_pattern is another than in the safetensors file")
	}
}

// kind names the kind of LoRA for messages.
func (c *Config) kind() string {
	if c.Method == "dora" && c.UseRSLoRA {
		return "dora with rslora's scale"
	}
	return c.Method
}

// belongs checks that rank and scale are what the configuration says of the module.
func (l *LowRank) belongs(c *Config) error {
	if err := c.wants("lora", "rslora", "dora"); err != nil {
		return err
	}
	r, alpha, err := c.Rank(l.Name)
	switch {
	case err != nil:
		return err
	case (l.Magnitude != nil) != (c.Method == "dora"):
		return errors.New("DoRA alone has a magnitude, and always")
	case r != l.R || alpha != l.Alpha || c.Scale(r, alpha) != l.Scale:
		return fmt.Errorf("rank %d, alpha %v and scale %v are not those of the configuration: %d, %v and %v",
			l.R, l.Alpha, l.Scale, r, alpha, c.Scale(r, alpha))
	}
	return nil
}

// hasFold reports whether s begins with prefix, whatever the case of their letters.
func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
