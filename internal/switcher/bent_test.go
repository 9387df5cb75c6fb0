package switcher

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"shira/internal/fsx"
)

// bent is a file system on which some step of the protocol is not done, or in another order.
type bent struct {
	fsx.FS
	do   func(b *bent, op, name string, next func() error) error
	last string            // the last operation on names
	also map[string]string // other names under which files are opened
}

func (b *bent) names(op, name string, next func() error) error {
	err := b.do(b, op, name, next)
	b.last = op + " " + name
	return err
}

func (b *bent) Rename(from, to string) error {
	return b.names("rename", to, func() error { return b.FS.Rename(from, to) })
}

func (b *bent) Remove(name string) error {
	return b.names("remove", name, func() error { return b.FS.Remove(name) })
}

func (b *bent) SyncDir(name string) error {
	return b.names("syncdir", name, func() error { return b.FS.SyncDir(name) })
}

func (b *bent) Open(name string, write bool) (fsx.File, error) {
	if other, ok := b.also[name]; ok {
		name = other
	}
	f, err := b.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return &bentFile{f, b, name}, nil
}

func (b *bent) Create(name string) (fsx.File, error) {
	f, err := b.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &bentFile{f, b, name}, nil
}

type bentFile struct {
	fsx.File
	fs   *bent
	name string
}

func (f *bentFile) Datasync() error {
	return f.fs.do(f.fs, "datasync", f.name, f.File.Datasync)
}

// lazyFile leaves bytes alone that look as they should.
type lazyFile struct{ bentFile }

func (f *lazyFile) WriteAt(p []byte, off int64) (int, error) {
	now := make([]byte, len(p))
	if _, err := f.ReadAt(now, off); err == nil && bytes.Equal(now, p) {
		return len(p), nil
	}
	return f.File.WriteAt(p, off)
}

type lazyFS struct{ bent }

func (b *lazyFS) Open(name string, write bool) (fsx.File, error) {
	f, err := b.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return &lazyFile{bentFile{f, &b.bent, name}}, nil
}

func weights(name string) bool { return !strings.HasPrefix(name, ".shira") }

// without leaves out the operations that match says.
func without(match func(op, name, last string) bool) func(fsx.FS) fsx.FS {
	return func(f fsx.FS) fsx.FS {
		return &bent{FS: f, do: func(b *bent, op, name string, next func() error) error {
			if match(op, name, b.last) {
				return nil
			}
			return next()
		}}
	}
}

// weightsLate puts off the syncing of weights until the directory was synced.
func weightsLate(f fsx.FS) fsx.FS {
	var late []func() error
	return &bent{FS: f, do: func(_ *bent, op, name string, next func() error) error {
		if op == "datasync" && weights(name) {
			late = append(late, next)
			return nil
		}
		err := next()
		if op == "syncdir" {
			for _, sync := range late {
				err = errors.Join(err, sync())
			}
			late = nil
		}
		return err
	}}
}

// hotLate makes the journal hot only when the weights are written.
func hotLate(f fsx.FS) fsx.FS {
	var late func() error
	return &bent{FS: f, also: map[string]string{}, do: func(b *bent, op, name string, next func() error) error {
		switch {
		case op == "rename" && strings.HasSuffix(name, ".hot"):
			late = next
			b.also[name] = strings.TrimSuffix(name, ".hot") + ".tmp"
			return nil
		case op == "datasync" && weights(name) && late != nil:
			rename := late
			late = nil
			clear(b.also)
			return errors.Join(rename(), next())
		}
		return next()
	}}
}

// recordEarly removes the record of the old state before the commit.
func recordEarly(f fsx.FS) fsx.FS { return dropRecord(f, "applied-") }

// recordFirst removes it as soon as the journal is hot, which needs it where a block is whole.
func recordFirst(f fsx.FS) fsx.FS { return dropRecord(f, ".hot") }

func dropRecord(f fsx.FS, before string) fsx.FS {
	return &bent{FS: f, do: func(b *bent, op, name string, next func() error) error {
		if op == "rename" && strings.Contains(name, before) {
			for n := range 10 {
				if old := fmt.Sprintf(".shira/applied-%d", n); old != name {
					_ = b.FS.Remove(old)
				}
			}
		}
		return next()
	}}
}

// again tries a sync again that failed.
func again(f fsx.FS) fsx.FS {
	return &bent{FS: f, do: func(_ *bent, op, _ string, next func() error) error {
		err := next()
		if op == "datasync" && errors.Is(err, syscall.EIO) {
			err = next()
		}
		return err
	}}
}

func lazy(f fsx.FS) fsx.FS {
	return &lazyFS{bent{FS: f, do: func(_ *bent, _, _ string, next func() error) error { return next() }}}
}

// mutant is a way to get the protocol wrong.
type mutant struct {
	name            string
	switching, mend func(fsx.FS) fsx.FS // nil: as it should be
}

// mutants each lack a step, or have two in another order.
var mutants = []mutant{
	{name: "the journal is not synced", switching: without(func(op, name, _ string) bool {
		return op == "datasync" && strings.HasSuffix(name, ".tmp")
	})},
	{name: "the directory is not synced when the journal is hot", switching: without(func(op, _, last string) bool {
		return op == "syncdir" && strings.HasSuffix(last, ".hot")
	})},
	{name: "the new directory is not synced", switching: without(func(op, name, _ string) bool {
		return op == "syncdir" && name == "."
	})},
	{name: "the journal is hot after the weights are written", switching: hotLate},
	{name: "the weights are not synced", switching: without(func(op, name, _ string) bool {
		return op == "datasync" && weights(name)
	})},
	{name: "the commit comes before the weights are synced", switching: weightsLate},
	{name: "a sync that failed is tried again", switching: again, mend: again},
	{name: "the directory is not synced after the commit", switching: without(func(op, _, last string) bool {
		return op == "syncdir" && strings.HasPrefix(last, "rename .shira/applied-")
	})},
	{name: "the old record goes before the commit", switching: recordEarly},
	{name: "the old record goes before the weights are written", switching: recordFirst},
	{name: "a journal in the making is left", mend: without(func(op, name, _ string) bool {
		return op == "remove" && strings.HasSuffix(name, ".tmp")
	})},
	{name: "the mark of the base is not synced", switching: without(func(op, name, _ string) bool {
		return op == "datasync" && strings.HasSuffix(name, "/base")
	})},
	{name: "the last record goes before others are gone for good", switching: without(func(op, _, last string) bool {
		return op == "syncdir" && strings.HasPrefix(last, "remove .shira/applied-")
	})},
	{name: "a recovery does not sync the weights", mend: without(func(op, name, _ string) bool {
		return op == "datasync" && weights(name)
	})},
	{name: "a recovery syncs the weights after the journal is gone", mend: weightsLate},
	{name: "a recovery does not sync the directory", mend: without(func(op, _, last string) bool {
		return op == "syncdir" && strings.HasSuffix(last, ".hot")
	})},
	{name: "a recovery leaves bytes that look right", mend: lazy},
	{name: "a recovery does not make durable what it found", mend: without(func(op, _, last string) bool {
		return op == "syncdir" && last == "syncdir ."
	})},
}
