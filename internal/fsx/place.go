package fsx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"shira/internal/fault"
)

// MkdirAll makes a directory, and those above it that are missing, durably.
func MkdirAll(dir string) error {
	_, err := MakeDirs(dir)
	return err
}

// MakeDirs is [MkdirAll], and returns the directories that were not there before, the deepest first.
func MakeDirs(dir string) (made []string, err error) {
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	err = os.MkdirAll(dir, 0o755)
	for _, d := range made {
		if err == nil {
			err = syncDir(filepath.Dir(d))
		}
	}
	return made, Wrap(err, dir, "create the directory")
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

// Unpack moves the files of the directory from, which is whole and durable, into the directory to, where they replace those of
// the same names, and removes from. What has the name last there goes first and the new one comes last, each durably, so that
// never is there one's last beside another's files. After an error or a crash it is to be done again, and then goes on.
func Unpack(from, to, last string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return Wrap(err, from, "read")
	}
	var rest []string
	ends := false
	for _, e := range entries {
		path := filepath.Join(to, e.Name())
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			return fault.New(fault.Environment, path, "is a directory, in the place of a file").WithHint("what is to be there lies in %s", from)
		}
		if e.Name() == last {
			ends = true
		} else {
			rest = append(rest, e.Name())
		}
	}
	if ends {
		err = unpack(from, to, rest, last)
	}
	if err == nil {
		err = os.RemoveAll(from)
	}
	if err == nil {
		err = syncDir(to)
	}
	if f, ok := errors.AsType[*fault.Error](Wrap(err, to, "put the files of "+filepath.Base(from)+" here")); ok {
		return f.WithHint("they lie in %s, whole: mend this, and do it again", from)
	}
	return err
}

func unpack(from, to string, rest []string, last string) error {
	if err := os.Remove(filepath.Join(to, last)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDir(to); err != nil {
		return err
	}
	for _, name := range rest {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	if err := syncDir(to); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(from, last), filepath.Join(to, last)); err != nil {
		return err
	}
	return syncDir(to)
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
