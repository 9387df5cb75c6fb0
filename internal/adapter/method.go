package adapter

import (
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Method is one way to adapt a weight, with its form in files.
type Method struct {
	Name     string   // as configuration files spell it
	PEFTType string   // peft_type of adapter_config.json
	suffixes []string // what follows the module in the names of its tensors

	// read returns the delta of one module from its tensors by suffix, of which at least one is there. It reports what is
	// wrong and then returns nil.
	read func(module string, parts map[string]checkpoint.Tensor, s shapes, p *problems) Delta

	// tensors returns the delta's tensors as they go into the file.
	tensors func(d Delta) []checkpoint.Entry
}

var methods = []Method{
	{Name: "shira", PEFTType: "SHIRA", suffixes: []string{sparseIndices, sparseValues}, read: readSparse, tensors: sparseTensors},
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

// methodByPEFTType returns the method of a peft_type, nil when there is none.
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
