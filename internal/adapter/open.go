package adapter

// Open is [Load] for adapters that may be larger than the memory: values and indices that the file holds as they are needed,
// in float32 and int32, are views of it. They must not be written to, and nothing of the adapter must be used after Close.
func Open(path string) (*Adapter, error) { return load(path, true) }

// Close closes the file of an adapter that was opened. For any other it does nothing.
func (a *Adapter) Close() error {
	if a.file == nil {
		return nil
	}
	f := a.file
	a.file = nil
	return f.Close()
}

// Release drops what was read of the file of an opened adapter for d from this process's memory. It can be read again.
func (a *Adapter) Release(d Delta) {
	if a.file == nil || a.owner == nil {
		return
	}
	for _, suffix := range a.owner.suffixes {
		if t, ok := a.file.Lookup(keyPrefix + d.Module() + "." + suffix); ok {
			t.Release()
		}
	}
}
