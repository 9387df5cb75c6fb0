package fsx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MkdirAll makes a directory, and those above it that are missing, durably.
func MkdirAll(dir string) error {
	var made []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	err := os.MkdirAll(dir, 0o755)
	for _, d := range made {
		if err == nil {
			err = syncDir(filepath.Dir(d))
		}
	}
	return Wrap(err, dir, "create the directory")
}

// Settle makes an open file durable, its content and its name.
func Settle(f *os.File) error {
	err := f.Sync()
	if err == nil {
		err = syncDir(filepath.Dir(f.Name()))
	}
	return Wrap(err, f.Name(), "write")
}

func rename(from, to string) error {
	err := os.Rename(from, to)
	if err == nil {
		err = syncDir(filepath.Dir(to))
	}
	return Wrap(err, to, "write")
}

// Withdraw takes a file out of the way, durably, before another is put in place that it would contradict. restore puts it back;
// drop removes it, and what killed processes withdrew before, which may fail with no consequence. Where there is no file at path,
// restore does nothing.
func Withdraw(path string) (restore func() error, drop func(), err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, func() { dropOld(path) }, nil
	}
	// Not as something in the making: until drop it may be the only one there is.
	aside, err := uniqueName(path, oldMark, func(name string) error {
		if _, err := os.Lstat(name); err == nil {
			return fs.ErrExist // a rename would replace it
		}
		return os.Rename(path, name)
	})
	if err != nil {
		return nil, nil, Wrap(err, path, "replace")
	}
	restore = func() error { return rename(aside, path) }
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, nil, Wrap(errors.Join(err, restore()), path, "replace")
	}
	return restore, func() { dropOld(path) }, nil
}

// dropOld removes what was withdrawn from path.
func dropOld(path string) {
	dir, base := filepath.Split(filepath.Clean(path))
	for _, name := range marked(filepath.Clean(dir), oldMark, func(name string) bool { return name == base }) {
		_ = os.Remove(name)
	}
}
