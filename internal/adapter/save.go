package adapter

import (
	"io"
	"os"
	"path/filepath"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// Save writes a PEFT directory: adapter_model.safetensors, which also stands alone, and adapter_config.json. Each file is
// replaced durably and as a whole, the safetensors file first; other files in dir stay.
func (a *Adapter) Save(dir string) error {
	m, err := methodByName(dir, a.Config.Method)
	if err != nil {
		return err
	}
	config, err := encodePEFT(a, m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fsx.Wrap(err, dir, "create the directory")
	}
	if err := a.SaveFile(filepath.Join(dir, TensorsFile)); err != nil {
		return err
	}
	return fsx.WriteFile(filepath.Join(dir, ConfigFile), func(w io.Writer) error {
		_, err := w.Write(config)
		return err
	})
}

// SaveFile writes the adapter as one safetensors file that stands alone, durably and as a whole. The same adapter gives the
// same bytes, whatever the order of its deltas. A value that is not finite
// is a Numerical error, and an existing file then stays.
func (a *Adapter) SaveFile(path string) error {
	m, err := methodByName(path, a.Config.Method)
	if err != nil {
		return err
	}
	config, err := encodeMetadata(a)
	if err != nil {
		return err
	}
	var entries []checkpoint.Entry
	for _, d := range a.sorted() {
		if err := d.validate(); err != nil {
			return fault.Wrap(fault.KindOf(err), path, err, "not written, since %s is broken", fault.Quote(d.Module()))
		}
		entries = append(entries, m.tensors(d)...)
	}
	return checkpoint.Write(path, entries, map[string]string{"format": "pt", metadataKey: config})
}
