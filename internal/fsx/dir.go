package fsx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"shira/internal/fault"
)

// AtomicDir is a directory in the making: files are written under Path, and Commit puts the whole tree in place. Abort may
// be called from any goroutine.
type AtomicDir struct {
	path string
	opts options

	mu      sync.Mutex
	staging string // "" once committed or aborted
	lock    *os.File
}

// CreateDir starts a directory that will become path, whose parent must exist. An existing path must be an empty
// directory, or [Replace] must allow it to be replaced; anything but a directory is never replaced.
func CreateDir(path string, opts ...Option) (*AtomicDir, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	path = filepath.Clean(path)
	d := &AtomicDir{path: path, opts: o}
	if _, err := d.replaceable(); err != nil {
		return nil, err
	}
	sweep(path)
	var err error
	d.staging, err = uniqueName(path, tempMark, func(temp string) error {
		if err := os.Mkdir(temp, 0o755); err != nil {
			return err
		}
		f, err := os.Open(temp)
		if err != nil {
			return errors.Join(err, os.Remove(temp))
		}
		if d.lock = f; !hold(f, temp) {
			f.Close()
			os.Remove(temp)
			return fs.ErrExist
		}
		return nil
	})
	if err != nil {
		return nil, Wrap(err, path, "create a temporary directory beside it")
	}
	return d, nil
}

// Path returns where to write the files meanwhile.
func (d *AtomicDir) Path() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.staging
}

// Commit makes every file and directory of the tree durable and puts it in place. Where the system can exchange two names
// (Linux, macOS), path is at every moment the old directory or the new one; elsewhere it is missing for an instant, and
// the old one then lies beside it. An existing directory
// keeps its permission bits. On an error before that the tree is removed and the old directory stays.
func (d *AtomicDir) Commit() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.staging == "" {
		return fault.Wrap(fault.Internal, d.path, fs.ErrClosed, "the directory is already committed or aborted")
	}
	err := d.keepMode()
	if err == nil {
		err = syncTree(d.staging)
	}
	if !renamesOpen {
		d.lock.Close()
	}
	leftover := ""
	if err == nil {
		leftover, err = d.rename()
	}
	if err != nil {
		d.drop()
		return Wrap(err, d.path, "write")
	}
	d.staging = ""
	d.lock.Close()
	switch err := syncDir(filepath.Dir(d.path)); {
	case err != nil && leftover != "":
		leftover = keepOld(leftover)
		return Wrap(err, d.path, "make it durable (what it replaced is kept as "+leftover+")")
	case err != nil:
		return Wrap(err, d.path, "make it durable")
	case leftover != "":
		return Wrap(os.RemoveAll(leftover), leftover, "remove the directory that was replaced")
	}
	return nil
}

// keepMode gives the tree the permission bits of a directory that it replaces.
func (d *AtomicDir) keepMode() error {
	info, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(d.staging, info.Mode().Perm())
}

// keepOld gives what was replaced a name that no sweep takes, and returns it.
func keepOld(leftover string) string {
	kept := strings.Replace(leftover, tempMark, oldMark, 1)
	if os.Rename(leftover, kept) != nil {
		return leftover
	}
	return kept
}

// rename puts the staging directory in place and returns where the old one went, "" for none.
func (d *AtomicDir) rename() (leftover string, err error) {
	switch exists, err := d.replaceable(); {
	case err != nil:
		return "", err
	case !exists:
		return "", os.Rename(d.staging, d.path)
	}
	switch err := exchange(d.staging, d.path); {
	case err == nil:
		return d.staging, nil
	case !errors.Is(err, errors.ErrUnsupported):
		return "", err
	}
	return renameAside(d.staging, d.path)
}

// renameAside is exchange in two steps: it puts staging at path and returns where what was there went.
func renameAside(staging, path string) (old string, err error) {
	old, err = uniqueName(path, oldMark, func(name string) error {
		if _, err := os.Lstat(name); err == nil {
			return fs.ErrExist // a rename would replace it
		}
		return os.Rename(path, name)
	})
	if err != nil {
		return "", err
	}
	if err := os.Rename(staging, path); err != nil {
		return "", errors.Join(err, os.Rename(old, path))
	}
	return old, nil
}

// replaceable says whether there is something at path, and fails when that must stay.
func (d *AtomicDir) replaceable() (exists bool, err error) {
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(d.path); err == nil {
			return false, errExists(d.path) // a dangling link
		}
		return false, nil
	case err != nil:
		return false, Wrap(err, d.path, "write")
	case !info.IsDir():
		return false, fault.Wrap(fault.Usage, d.path, fs.ErrExist, "is not a directory; will not overwrite it")
	case d.opts.replace:
		return true, nil
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return false, Wrap(err, d.path, "read")
	}
	if len(entries) > 0 {
		return false, errExists(d.path)
	}
	return true, nil
}

// Abort removes what was written and leaves path as it was. After Commit or another Abort it does nothing.
func (d *AtomicDir) Abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.staging != "" {
		d.drop()
	}
}

func (d *AtomicDir) drop() {
	os.RemoveAll(d.staging)
	d.lock.Close()
	d.staging = ""
}

// WriteDir writes a directory with [CreateDir] and Commit. When fill, which is given the place to write to, returns an
// error or panics, nothing is left behind and path stays as it was; the error is returned as it is.
func WriteDir(path string, fill func(dir string) error, opts ...Option) error {
	d, err := CreateDir(path, opts...)
	if err != nil {
		return err
	}
	defer d.Abort()
	if err := fill(d.Path()); err != nil {
		return err
	}
	return d.Commit()
}

// syncTree makes all files below dir durable, then the directories from the leaves up.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = syncTree(path)
		case e.Type().IsRegular():
			err = syncFile(path)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // Windows flushes only what is open for writing
	if errors.Is(err, fs.ErrPermission) {
		f, err = os.Open(path) // a copied read-only file
	}
	if err != nil {
		return err
	}
	err = f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
