package adapter

import (
	"encoding/json"
	"fmt"
	"math"

	"shira/internal/fault"
)

// metadataKey is the key of a safetensors file's metadata under which the configuration is repeated, so that the file
// stands alone.
const metadataKey = "shira"

// formatVersion is the newest version of that configuration that this program reads. It rises only when older programs
// could not read a file; fields are added without. Compact files have 2, others 1.
const formatVersion = 2

// metadata is the configuration as JSON.
type metadata struct {
	Version         int               `json:"version"`
	Method          string            `json:"method"`
	Mask            string            `json:"mask,omitempty"`
	R               int               `json:"r,omitempty"`
	Density         float64           `json:"density,omitempty"`
	Alpha           float64           `json:"alpha,omitempty"` // of SHiRA, always 1
	LoRAAlpha       float64           `json:"lora_alpha,omitempty"`
	RankPattern     Overrides         `json:"rank_pattern,omitempty"`
	AlphaPattern    Overrides         `json:"alpha_pattern,omitempty"`
	UseRSLoRA       bool              `json:"use_rslora,omitempty"`
	Dropout         float64           `json:"lora_dropout,omitempty"`
	Layers          []int             `json:"layers_to_transform,omitempty"`
	Transform       string            `json:"transform,omitempty"`
	Gate            string            `json:"gate,omitempty"`
	GateTemperature float64           `json:"gate_temperature,omitempty"`
	TargetModules   []string          `json:"target_modules"`
	ModulesToSave   []string          `json:"modules_to_save,omitempty"`
	Seed            uint64            `json:"seed"`
	TaskType        string            `json:"task_type,omitempty"`
	BaseName        string            `json:"base_model_name_or_path,omitempty"`
	BaseFingerprint string            `json:"base_fingerprint,omitempty"`
	DataHash        string            `json:"data_hash,omitempty"`
	ToolVersion     string            `json:"tool_version,omitempty"`
	Shapes          map[string][2]int `json:"shapes,omitempty"` // module → out, in
}

// encodeMetadata returns the configuration of a, with the shapes that are known.
func encodeMetadata(a *Adapter) (string, error) {
	c := &a.Config
	m := metadata{
		Version: 1, Method: c.Method, Mask: c.Mask, R: c.R, Density: c.Density,
		LoRAAlpha: c.Alpha, RankPattern: c.RankPattern, AlphaPattern: c.AlphaPattern,
		UseRSLoRA: c.UseRSLoRA || c.Method == "rslora", Dropout: c.Dropout, Layers: c.Layers,
		Transform: c.Transform, Gate: c.Gate, GateTemperature: c.GateTemperature,
		TargetModules: c.TargetModules, ModulesToSave: c.ModulesToSave, Seed: c.Seed, TaskType: c.TaskType, BaseName: c.BaseName,
		BaseFingerprint: c.BaseFingerprint, DataHash: c.DataHash, ToolVersion: c.ToolVersion,
		Shapes: map[string][2]int{},
	}
	if c.Method == "shira" {
		m.Alpha = 1
	}
	if a.Form.Compact {
		m.Version = 2
	}
	for _, d := range a.Deltas {
		_, whole := d.(*Whole) // whose tensor has the shape
		if out, in := d.Shape(); out != 0 && !whole {
			m.Shapes[d.Module()] = [2]int{out, in}
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", fault.Wrap(fault.Internal, "", err, "encode the adapter's configuration")
	}
	return string(b), nil
}

// shapes maps modules to the shapes of their weights; it is empty for files that do not say them.
type shapes map[string][2]int

// decodeMetadata reads what encodeMetadata wrote. A broken configuration is a Malformed error about path, one of a later
// format version an Incompatible one.
func decodeMetadata(path, text string) (Config, shapes, error) {
	broken := func(err error) (Config, shapes, error) {
		return Config{}, nil, fault.Wrap(fault.Malformed, path, err, "metadata %q", metadataKey)
	}
	o, err := parseObject([]byte(text))
	if err != nil {
		return broken(err)
	}
	version := 0
	o.get("version", &version, &err)
	if err == nil && version > formatVersion {
		return Config{}, nil, fault.New(fault.Incompatible, path,
			"the adapter has format version %d, but this program reads only up to %d", version, formatVersion).
			WithHint("use a newer shira")
	}
	var m metadata
	m.Alpha = 1
	o.get("method", &m.Method, &err)
	o.get("mask", &m.Mask, &err)
	o.get("r", &m.R, &err)
	o.get("density", &m.Density, &err)
	o.get("alpha", &m.Alpha, &err)
	o.get("lora_alpha", &m.LoRAAlpha, &err)
	o.get("rank_pattern", &m.RankPattern, &err)
	o.get("alpha_pattern", &m.AlphaPattern, &err)
	o.get("use_rslora", &m.UseRSLoRA, &err)
	o.get("lora_dropout", &m.Dropout, &err)
	o.get("layers_to_transform", &m.Layers, &err)
	o.get("transform", &m.Transform, &err)
	o.get("gate", &m.Gate, &err)
	o.get("gate_temperature", &m.GateTemperature, &err)
	o.get("target_modules", &m.TargetModules, &err)
	o.get("modules_to_save", &m.ModulesToSave, &err)
	o.get("seed", &m.Seed, &err)
	o.get("task_type", &m.TaskType, &err)
	o.get("base_model_name_or_path", &m.BaseName, &err)
	o.get("base_fingerprint", &m.BaseFingerprint, &err)
	o.get("data_hash", &m.DataHash, &err)
	o.get("tool_version", &m.ToolVersion, &err)
	var sizes map[string][]int // a [2]int would take arrays of any length
	o.get("shapes", &sizes, &err)
	switch {
	case err != nil:
		return broken(err)
	case version < 1:
		return broken(fmt.Errorf("version is %d", version))
	case m.Method == "":
		return broken(fmt.Errorf("method is missing"))
	case m.Alpha != 1:
		return Config{}, nil, fault.New(fault.Incompatible, path,
			"alpha is %v, but the values of an adapter count as they are", m.Alpha).
			WithHint("give the strength where the adapter is used: ADAPTER@%v", m.Alpha)
	}
	known := shapes{}
	for module, s := range sizes {
		if len(s) != 2 || s[0] < 1 || s[1] < 1 || s[0] > math.MaxInt32 || s[1] > math.MaxInt32 {
			return broken(fmt.Errorf("shape of %s is %v", fault.Quote(module), s))
		}
		known[module] = [2]int{s[0], s[1]}
	}
	return Config{
		Method: m.Method, Mask: m.Mask, R: m.R, Density: m.Density, Alpha: m.LoRAAlpha, RankPattern: m.RankPattern,
		AlphaPattern: m.AlphaPattern, UseRSLoRA: m.UseRSLoRA, Dropout: m.Dropout, Layers: m.Layers,
		Transform: m.Transform, Gate: m.Gate, GateTemperature: m.GateTemperature,
		TargetModules: m.TargetModules, ModulesToSave: m.ModulesToSave, Seed: m.Seed,
		TaskType: m.TaskType, BaseName: m.BaseName, BaseFingerprint: m.BaseFingerprint, DataHash: m.DataHash,
		ToolVersion: m.ToolVersion,
	}, known, nil
}
