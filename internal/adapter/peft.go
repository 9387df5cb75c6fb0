package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"shira/internal/fault"
)

// peftConfig is what an adapter_config.json says in our terms. Its targets are nil when the file has a pattern, or nothing.
type peftConfig struct {
	Config
	Type   string
	mlx    object  // lora_parameters, where the file is MLX's
	method *Method // nil for a type that is not supported; nothing else is then known
}

// decodePEFT reads an adapter_config.json. Keys that concern training alone are ignored; one that would change what the
// adapter does is an Incompatible error.
func decodePEFT(path string, data []byte) (peftConfig, error) {
	var c peftConfig
	o, err := parseObject(data)
	if err != nil {
		return c, fault.Wrap(fault.Malformed, path, err, "not valid JSON")
	}
	if !o.has("peft_type") {
		if !o.has("lora_parameters") {
			return c, fault.New(fault.Incompatible, path, "peft_type is missing")
		}
		return decodeMLX(path, o)
	}
	o.get("peft_type", &c.Type, &err)
	if err != nil {
		return c, fault.Wrap(fault.Malformed, path, err, "wrong type")
	}
	m := methodByPEFTType(c.Type)
	if m == nil {
		return c, nil // the other keys are that method's; the tensors help to say what is wrong
	}
	c.Method = m.Name
	o.get("task_type", &c.TaskType, &err)
	o.get("base_model_name_or_path", &c.BaseName, &err)
	o.get("modules_to_save", &c.ModulesToSave, &err)
	c.TargetModules = o.targets(&err)
	if err != nil {
		return c, fault.Wrap(fault.Malformed, path, err, "wrong type")
	}
	if err := m.dialect.decode(o, &c.Config); err != nil {
		if e, ok := errors.AsType[*fault.Error](err); ok {
			e.Path = path
		}
		return c, err
	}
	if err := m.dialect.check(&c.Config); err != nil {
		return c, fault.Wrap(fault.Malformed, path, err, "wrong value")
	}
	c.method, err = methodByName(path, c.Method)
	return c, err
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

// disagreements says in which points adapter_config.json contradicts the configuration inside the safetensors file.
func (c *peftConfig) disagreements(a *Adapter, m *Method, p *problems) {
	if c.Type != m.PEFTType {
		p.Add("peft_type is %s, but the safetensors file says method %s", fault.Quote(c.Type), fault.Quote(m.Name))
		return
	}
	m.dialect.differ(&c.Config, a, p)
	if want := a.Config.TargetModules; c.TargetModules != nil && !sameSet(c.TargetModules, want) {
		p.Add("target_modules are %.200q, but in the safetensors file %.200q", c.TargetModules, want)
	}
	if want := a.Config.ModulesToSave; !sameSet(c.ModulesToSave, want) {
		p.Add("modules_to_save are %.200q, but in the safetensors file %.200q", c.ModulesToSave, want)
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// encodePEFT returns the adapter_config.json of a, laid out as PEFT does: its keys sorted.
func encodePEFT(a *Adapter, m *Method) ([]byte, error) {
	c := &a.Config
	keys := map[string]any{
		"auto_mapping": nil, "base_model_name_or_path": orNull(c.BaseName), "fan_in_fan_out": false, "inference_mode": true,
		"modules_to_save": nil, "peft_type": m.PEFTType, "revision": nil, "target_modules": c.TargetModules,
		"task_type": orNull(c.TaskType),
	}
	if c.ModulesToSave != nil {
		keys["modules_to_save"] = c.ModulesToSave
	}
	m.dialect.encode(a, keys)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(keys); err != nil {
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
