package adapter

// Open is [Load] for adapters that may be larger than the memory. Values and indices that the file holds as they are needed, in
// float32 and int32, are views of it; others are decoded for as long as nobody releases their delta, and then again. They must
// not be written to, the fields of deltas not be looked at, and nothing of the adapter be used after Close. A file that
// becomes unreadable meanwhile is a panic, for [checkpoint.Guard].
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
	switch d := d.(type) {
	case *Sparse:
		d.lazy.drop()
	case *ShiraDora:
		d.S.lazy.drop()
	case *LowRank:
		d.lazy.drop()
	case *Whole:
		d.lazy.drop()
	case *FouRA:
		d.plain.Store(nil)
	}
	if a.file == nil || a.owner == nil {
		return
	}
	for _, suffix := range a.owner.suffixes {
		if t, ok := a.file.Lookup(keyPrefix + d.Module() + "." + suffix); ok {
			t.Release()
		}
	}
}
