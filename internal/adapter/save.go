package adapter

import (
	"io"
	"os"
	"path/filepath"
	"slices"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// Save writes a PEFT directory: adapter_model.safetensors, which also stands alone, and adapter_config.json. Each file is
// replaced durably and as a whole, the safetensors file first; other files in dir stay. Nothing is written, and no
// directory made, where [Adapter.SaveFile] would refuse.
func (a *Adapter) Save(dir string) error {
	path := filepath.Join(dir, TensorsFile)
	f, err := a.encode(path)
	if err != nil {
		return err
	}
	config, err := encodePEFT(a, f.method)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fsx.Wrap(err, dir, "create the directory")
	}
	if err := f.write(path); err != nil {
		return err
	}
	return fsx.WriteFile(filepath.Join(dir, ConfigFile), func(w io.Writer) error {
		_, err := w.Write(config)
		return err
	})
}

// SaveFile writes the adapter as one safetensors file that stands alone, durably and as a whole. The same adapter gives the
// same bytes, whatever the order of its deltas. A value that is not finite is a Numerical error, and an existing file then
// stays.
func (a *Adapter) SaveFile(path string) error {
	f, err := a.encode(path)
	if err != nil {
		return err
	}
	return f.write(path)
}

// contents is an adapter's safetensors file before it is written.
type contents struct {
	method  *Method
	entries []checkpoint.Entry
	config  string
}

func (f *contents) write(path string) error {
	return checkpoint.Write(path, f.entries, map[string]string{"format": "pt", metadataKey: f.config})
}

// encode checks all deltas and lays out the file for path.
func (a *Adapter) encode(path string) (*contents, error) {
	m, err := methodByName(path, a.Config.Method)
	if err != nil {
		return nil, err
	}
	if a.Extras != nil || a.layout != nil && a.layout.numbered {
		return nil, fault.New(fault.Incompatible, path, "not written, since %s does not name modules alone", a.Path)
	}
	if a.Form.Compact && !slices.Contains(m.suffixes, sparseGaps) {
		return nil, fault.New(fault.Incompatible, path, "not written: adapters of method %s have no compact form", m.Name)
	}
	f := &contents{method: m}
	if f.config, err = encodeMetadata(a); err != nil {
		return nil, err
	}
	var indices []checkpoint.Entry // after all values, whose bytes they would shift to odd places
	for _, d := range a.sorted() {
		if err := d.belongs(&a.Config); err != nil {
			return nil, fault.Wrap(fault.Incompatible, path, err, "not written: %s", fault.Quote(d.Module()))
		}
		err := d.validate()
		if err == nil {
			err = a.Form.holds(d)
		}
		if err != nil {
			return nil, fault.Wrap(fault.KindOf(err), path, err, "not written, since %s is broken", fault.Quote(d.Module()))
		}
		for _, e := range d.tensors(a.Form) {
			if e.DType.IsFloat() {
				f.entries = append(f.entries, e)
			} else {
				indices = append(indices, e)
			}
		}
	}
	f.entries = append(f.entries, indices...)
	return f, nil
}
