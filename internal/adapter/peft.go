package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"shira/internal/fault"
)

// peftConfig is the part of PEFT's adapter_config.json that SHiRA gives a meaning.
type peftConfig struct {
	Type     string
	R        int
	MaskType string
	Seed     uint64
	Targets  []string // nil when the file has a pattern, or nothing
	TaskType string
	BaseName string
}

// PEFT's only mask of its own is our rand. It takes masks of other names from the file.
const peftRandom = "random"

func peftMask(mask string) string {
	switch mask {
	case "rand":
		return peftRandom
	case "":
		return "custom"
	}
	return mask
}

// decodePEFT reads an adapter_config.json. Keys that concern training only are ignored; one that would change what the
// adapter does is an Incompatible error.
func decodePEFT(path string, data []byte) (peftConfig, error) {
	var c peftConfig
	o, err := parseObject(data)
	if err != nil {
		return c, fault.Wrap(fault.Malformed, path, err, "not valid JSON")
	}
	if !o.has("peft_type") {
		e := fault.New(fault.Incompatible, path, "peft_type is missing")
		if o.has("lora_parameters") || o.has("lora_layers") {
			return c, e.WithHint("this is a LoRA adapter of MLX; supported here: %s", supported())
		}
		return c, e
	}
	o.get("peft_type", &c.Type, &err)
	if err == nil && methodByPEFTType(c.Type) == nil {
		return c, nil // the other keys are that method's; the tensors help to say what is wrong
	}
	o.get("r", &c.R, &err)
	o.get("mask_type", &c.MaskType, &err)
	o.get("random_seed", &c.Seed, &err)
	o.get("task_type", &c.TaskType, &err)
	o.get("base_model_name_or_path", &c.BaseName, &err)
	var kept []string
	o.get("modules_to_save", &kept, &err)
	c.Targets = o.targets(&err)
	switch {
	case err != nil:
		return c, fault.Wrap(fault.Malformed, path, err, "wrong type")
	case c.R < 0:
		return c, fault.New(fault.Malformed, path, "r is %d", c.R)
	case len(kept) > 0:
		return c, fault.New(fault.Incompatible, path, "modules_to_save: %s is trained whole, which is not supported",
			fault.Quote(kept[0]))
	}
	return c, nil
}

// targets reads target_modules, which is a list of names, a pattern or null. It returns nil for the latter two.
func (o object) targets(err *error) []string {
	var value any
	o.get("target_modules", &value, err)
	switch t := value.(type) {
	case nil, string:
		return nil
	case []any:
		names := make([]string, 0, len(t))
		for _, v := range t {
			name, ok := v.(string)
			if !ok && *err == nil {
				*err = errors.New("target_modules: an entry is not a string")
			}
			names = append(names, name)
		}
		return names
	}
	if *err == nil {
		*err = errors.New("target_modules: want a list of strings")
	}
	return nil
}

// config returns what PEFT's file says in our terms.
func (c *peftConfig) config(method string) Config {
	mask := c.MaskType
	if mask == peftRandom {
		mask = "rand"
	}
	return Config{
		Method: method, Mask: mask, R: c.R, TargetModules: c.Targets, Seed: c.Seed, TaskType: c.TaskType,
		BaseName: c.BaseName,
	}
}

// disagreements says in which points adapter_config.json contradicts the configuration inside the safetensors file.
func (c *peftConfig) disagreements(a *Adapter, m *Method, p *problems) {
	if c.Type != m.PEFTType {
		p.add("peft_type is %s, but the safetensors file says method %s", fault.Quote(c.Type), fault.Quote(m.Name))
		return
	}
	if want := peftRank(a); c.R != want {
		p.add("r is %d, but by the safetensors file it is %d", c.R, want)
	}
	if want := peftMask(a.Config.Mask); c.MaskType != want {
		p.add("mask_type is %s, but by the safetensors file it is %s", fault.Quote(c.MaskType), fault.Quote(want))
	}
	if want := a.Config.TargetModules; c.Targets != nil && !sameSet(c.Targets, want) {
		p.add("target_modules are %.200q, but in the safetensors file %.200q", c.Targets, want)
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// encodePEFT returns the adapter_config.json of a, laid out as PEFT does.
func encodePEFT(a *Adapter, m *Method) ([]byte, error) {
	c := &a.Config
	var seed *uint64
	if c.Mask == "rand" {
		seed = &c.Seed
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(struct {
		AutoMapping   *string  `json:"auto_mapping"`
		BaseName      *string  `json:"base_model_name_or_path"`
		FanInFanOut   bool     `json:"fan_in_fan_out"`
		InferenceMode bool     `json:"inference_mode"`
		InitWeights   bool     `json:"init_weights"`
		MaskType      string   `json:"mask_type"`
		ModulesToSave []string `json:"modules_to_save"`
		PEFTType      string   `json:"peft_type"`
		R             int      `json:"r"`
		RandomSeed    *uint64  `json:"random_seed"`
		Revision      *string  `json:"revision"`
		TargetModules []string `json:"target_modules"`
		TaskType      *string  `json:"task_type"`
	}{
		BaseName: orNull(c.BaseName), InferenceMode: true, InitWeights: true, MaskType: peftMask(c.Mask),
		PEFTType: m.PEFTType, R: peftRank(a), RandomSeed: seed, TargetModules: c.TargetModules, TaskType: orNull(c.TaskType),
	})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, a.Path, err, "encode %s", ConfigFile)
	}
	return b.Bytes(), nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// peftRank returns the r for which PEFT expects the adapter's sizes, K = r·(out+in) for every delta. Where there is none,
// since the budget is a density, it returns the nearest for the first delta; PEFT then refuses the adapter for its sizes.
func peftRank(a *Adapter) int {
	if a.Config.R > 0 {
		return a.Config.R
	}
	for _, d := range a.sorted() {
		if out, in := d.Shape(); out != 0 {
			return max(1, (d.Parameters()+(out+in)/2)/(out+in))
		}
	}
	return 1
}
