package adapter

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// Save writes a PEFT directory: adapter_model.safetensors, which also stands alone, and adapter_config.json; other files in dir
// stay. Nothing is written, and no directory made, where [Adapter.SaveFile] would refuse.
//
// Both files are made durable before either is put in place. An old configuration that says something else goes first, so that
// at any moment, whatever happens, there is the old adapter or the new one, by its safetensors file alone if need be; an old one
// of another program, which does not stand alone, is no adapter for that moment. Never is there one's tensors with the other's
// configuration.
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
	if err := fsx.MkdirAll(dir); err != nil {
		return err
	}
	tensors, err := f.prepare(path)
	if err != nil {
		return err
	}
	defer tensors.Abort()
	configPath := filepath.Join(dir, ConfigFile)
	beside, err := fsx.PrepareFile(configPath, func(w io.Writer) error {
		_, err := w.Write(config)
		return err
	})
	if err != nil {
		return err
	}
	defer beside.Abort()
	if old, err := fsx.ReadFile(configPath, maxConfig); err == nil && bytes.Equal(old, config) {
		return tensors.Commit()
	}
	restore, drop, err := fsx.Withdraw(configPath)
	if err != nil {
		return err
	}
	if err := tensors.Commit(); err != nil {
		if !tensors.Placed() {
			err = errors.Join(err, restore())
		}
		return err
	}
	drop()
	return beside.Commit()
}

// SaveFile writes the adapter as one safetensors file that stands alone, durably and as a whole. The same adapter gives the
// same bytes, whatever the order of its deltas. A value that is not finite is a Numerical error, and an existing file then
// stays.
func (a *Adapter) SaveFile(path string) error {
	f, err := a.encode(path)
	if err != nil {
		return err
	}
	file, err := f.prepare(path)
	if err != nil {
		return err
	}
	defer file.Abort()
	return file.Commit()
}

// contents is an adapter's safetensors file before it is written.
type contents struct {
	method  *Method
	entries []checkpoint.Entry
	config  string
}

// prepare makes the file durable under another name.
func (f *contents) prepare(path string) (*fsx.AtomicFile, error) {
	return checkpoint.Prepare(path, f.entries, map[string]string{"format": "pt", metadataKey: f.config})
}

// encode checks all deltas and lays out the file for path.
func (a *Adapter) encode(path string) (*contents, error) {
	m, err := methodByName(path, a.Config.Method)
	if err != nil {
		return nil, err
	}
	if err := a.nameable(path); err != nil {
		return nil, err
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
		if out, _ := d.Shape(); out == 0 && a.Form.Compact {
			return nil, fault.New(fault.Incompatible, path, "not written: the compact form needs the shape of %s", fault.Quote(d.Module())).
				WithHint("the file does not say shapes: give the base that has them")
		}
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

// Size returns how many bytes the tensors take in the file, and finds what saving would refuse.
func (a *Adapter) Size() (int64, error) {
	f, err := a.encode(a.Path)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, e := range f.entries {
		n := int64(e.DType.Size())
		for _, d := range e.Shape {
			n *= int64(d)
		}
		total += n
	}
	return total, nil
}

// nameable refuses an adapter whose file does not name the modules of a base.
func (a *Adapter) nameable(path string) error {
	switch {
	case a.Extras != nil:
		return fault.New(fault.Incompatible, path, "not written: the adapter also holds what changes no weight, such as %s", fault.Quote(a.Extras[0]))
	case a.layout == nil:
		return nil
	case a.layout.numbered:
		return fault.New(fault.Incompatible, path, "not written: the adapter numbers modules instead of naming them")
	case a.layout.flat:
		return fault.New(fault.Incompatible, path, "not written: names such as %s have underscores for dots", fault.Quote(a.Deltas[0].Module())).
			WithHint("give the base, which has the names")
	}
	return nil
}
