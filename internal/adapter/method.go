package adapter

import (
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Method is one way to adapt a weight, with its form in files.
type Method struct {
	Name     string   // as configuration files spell it
	PEFTType string   // peft_type of adapter_config.json; methods that share one also share dialect
	suffixes []string // what follows the module in the names of its tensors

	// read returns the delta of one module from its tensors by suffix, of which at least one is there. It reports what is
	// wrong and then returns nil.
	read func(module string, parts map[string]checkpoint.Tensor, c *Config, s shapes, p *problems) Delta

	dialect dialect
}

// dialect is how a PEFT type spells a configuration in adapter_config.json, beyond the keys that all types have.
type dialect struct {
	// decode reads the type's keys to c, whose method it sets where several share the type. What would change what the
	// adapter does and is not supported is a fault.
	decode func(o object, c *Config) error

	// check finds numbers that no adapter has, whether they come from adapter_config.json or from a safetensors file.
	check func(c *Config) error

	// encode adds the type's keys for a.
	encode func(a *Adapter, keys map[string]any)

	// differ says in which points adapter_config.json, read as file, contradicts a, which the safetensors file says.
	differ func(file *Config, a *Adapter, p *problems)
}

var (
	shiraDialect = dialect{decodeSHiRA, checkSHiRA, encodeSHiRA, differSHiRA}
	loraDialect  = dialect{decodeLoRA, checkLoRA, encodeLoRA, differLoRA}
	fouraDialect = dialect{decodeFouRA, checkFouRA, encodeFouRA, differFouRA}

	loraSuffixes = []string{lowRankA, lowRankB}
	doraSuffixes = []string{lowRankA, lowRankB, lowRankMagnitude}
)

var methods = []Method{
	{"shira", "SHIRA", []string{sparseIndices, sparseGaps, sparseValues}, readSparse, shiraDialect},
	{"lora", "LORA", loraSuffixes, readLowRank, loraDialect},
	{"rslora", "LORA", loraSuffixes, readLowRank, loraDialect},
	{"dora", "LORA", doraSuffixes, readLowRank, loraDialect},
	{"shira-dora", "SHIRA_DORA", []string{sparseIndices, sparseGaps, sparseValues, sparseMagnitude}, readShiraDora, shiraDialect},
	{"foura", "FOURA", fouraSuffixes, readFouRA, fouraDialect},
}

// methodByName returns the method of a configuration, or an Incompatible error about path that lists those there are.
func methodByName(path, name string) (*Method, error) {
	for i := range methods {
		if methods[i].Name == name {
			return &methods[i], nil
		}
	}
	return nil, fault.New(fault.Incompatible, path, "method %s is not supported: want %s", fault.Quote(name), supported())
}

// methodByPEFTType returns the first method of a peft_type, nil when there is none.
func methodByPEFTType(name string) *Method {
	for i := range methods {
		if methods[i].PEFTType == name {
			return &methods[i]
		}
	}
	return nil
}

// supported lists the methods for messages.
func supported() string {
	names := make([]string, len(methods))
	for i := range methods {
		names[i] = methods[i].Name
	}
	return strings.Join(names, ", ")
}

// keyPrefix stands before the module in the names of all tensors, as PEFT writes them.
const keyPrefix = "base_model.model."

// splitKey splits a tensor's name into module and suffix. It reports false for a name that is none of m's.
func (m *Method) splitKey(name string) (module, suffix string, ok bool) {
	name, ok = strings.CutPrefix(name, keyPrefix)
	if !ok {
		return "", "", false
	}
	for _, suffix := range m.suffixes {
		if module, ok := strings.CutSuffix(name, "."+suffix); ok && module != "" {
			return module, suffix, true
		}
	}
	return "", "", false
}

// compact reports whether tensors are packed.
func (m *Method) compact(tensors []checkpoint.Tensor) bool {
	return slices.ContainsFunc(tensors, func(t checkpoint.Tensor) bool {
		_, suffix, _ := m.splitKey(t.Name)
		return suffix == sparseGaps
	})
}

// owns reports whether any of the tensors is one of m's.
func (m *Method) owns(tensors []checkpoint.Tensor) bool {
	return slices.ContainsFunc(tensors, func(t checkpoint.Tensor) bool {
		_, _, ok := m.splitKey(t.Name)
		return ok
	})
}
