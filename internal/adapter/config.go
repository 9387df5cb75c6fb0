package adapter

import (
	"fmt"
	"slices"
	"strings"

	"shira/internal/fault"
)

// Config is what an adapter says about itself beyond its tensors.
type Config struct {
	Method        string   // a name of the methods table, e.g. "shira"
	TargetModules []string // as the user gave them; for a file whose targets are a pattern, all its modules
	TaskType      string   // PEFT's, e.g. "CAUSAL_LM"; may be ""
	ModulesToSave []string // modules that were trained whole, by name or the end of it
	Seed          uint64

	// SHiRA
	Mask    string // mask strategy; "" when unknown, as for masks made elsewhere
	Density float64

	// R is SHiRA's budget K = R·(out+in) of each weight, 0 when Density gives it, and the rank of low-rank methods where
	// RankPattern says nothing else.
	R int

	// LoRA, rsLoRA, DoRA and FouRA; see [Config.Rank] and [Config.Scale]
	Alpha        float64 // lora_alpha, where AlphaPattern says nothing else
	RankPattern  Overrides
	AlphaPattern Overrides
	UseRSLoRA    bool    // the scale is alpha/√r, as for method rslora; DoRA has it on demand
	Dropout      float64 // lora_dropout, of training alone
	Layers       []int   // layers_to_transform; nil for all

	// FouRA
	Transform       string // TransformNone …
	Gate            string // GateNone …
	GateTemperature float64

	BaseName        string // name or path of the base model, for people only
	BaseFingerprint string // of the base the adapter was trained on; "" when the file does not say, as PEFT's do not
	DataHash        string // of the training data; may be ""
	ToolVersion     string // of the program that wrote the file; may be ""
}

// wants says that the method is none of the given ones.
func (c *Config) wants(methods ...string) error {
	if slices.Contains(methods, c.Method) {
		return nil
	}
	return fmt.Errorf("the delta is one of method %s, not %s", strings.Join(methods, ", "), fault.Quote(c.Method))
}
