package fsx

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"shira/internal/fault"
)

// osFS is an [FS] in a directory of the system, out of which no name and no symbolic link leads.
type osFS struct {
	dir  string
	root *os.Root
}

// OpenFS returns the directory at dir. Close ends its use.
func OpenFS(dir string) (interface {
	FS
	io.Closer
}, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, Wrap(err, dir, "open")
	}
	return &osFS{dir: dir, root: root}, nil
}

func (d *osFS) Close() error { return d.root.Close() }

func (d *osFS) Path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d *osFS) Open(name string, write bool) (File, error) {
	if info, err := d.root.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fault.New(fault.Incompatible, d.Path(name), "is a symbolic link: what it points to may be shared").
			WithHint("copy the model (cp -rL) and switch the copy")
	}
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	f, err := d.root.OpenFile(name, flags|openNonblock, 0)
	if f, err = regular(f, err, d.Path(name)); err != nil {
		return nil, err
	}
	return &osFile{f, d, name}, nil
}

func (d *osFS) Create(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, Wrap(err, d.Path(name), "create")
	}
	return &osFile{f, d, name}, nil
}

func (d *osFS) Lock(name string) (io.Closer, bool, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, false, Wrap(err, d.Path(name), "lock")
	}
	for wait := time.Millisecond; ; wait *= 2 {
		if granted(tryLock(f)) {
			return f, true, nil
		}
		// Those who only ask, as Locked does, share the lock, and are gone in a moment.
		if !granted(tryShare(f)) || wait > time.Second {
			f.Close()
			return nil, false, nil
		}
		if err := unlock(f); err != nil {
			f.Close()
			return nil, false, Wrap(err, d.Path(name), "lock")
		}
		time.Sleep(wait + rand.N(wait))
	}
}

func (d *osFS) Locked(name string) (bool, error) {
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, Wrap(err, d.Path(name), "lock")
	}
	defer f.Close()
	return !granted(tryShare(f)), nil
}

func (d *osFS) Mkdir(name string) error {
	return Wrap(d.root.Mkdir(name, 0o755), d.Path(name), "create")
}

func (d *osFS) Rename(from, to string) error {
	return Wrap(d.root.Rename(from, to), d.Path(from), "rename to "+path.Base(to))
}

func (d *osFS) Remove(name string) error { return Wrap(d.root.Remove(name), d.Path(name), "remove") }

func (d *osFS) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err == nil {
		err = syncOpenDir(f)
		f.Close()
	}
	return Wrap(err, d.Path(name), "make it durable")
}

func (d *osFS) List(name string) ([]string, error) {
	switch info, err := d.root.Lstat(name); {
	case err != nil:
		return nil, Wrap(err, d.Path(name), "open")
	case !info.IsDir():
		return nil, fault.New(fault.Incompatible, d.Path(name), "is %s, not a directory", kindOf(info.Mode()))
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, Wrap(err, d.Path(name), "open")
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, Wrap(err, d.Path(name), "read")
}

func (d *osFS) Free() (uint64, error) { return FreeSpace(d.dir) }

// osFile is a [File] of the system.
type osFile struct {
	f    *os.File
	dir  *osFS
	name string
}

func (f *osFile) path() string { return f.dir.Path(f.name) }

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, Wrap(err, f.path(), "read")
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, Wrap(err, f.path(), "write")
}

func (f *osFile) Close() error { return Wrap(f.f.Close(), f.path(), "close") }

func (f *osFile) Stat() (Stat, error) {
	info, err := f.f.Stat()
	if err != nil {
		return Stat{}, Wrap(err, f.path(), "read")
	}
	return Stat{Size: info.Size(), Links: links(info), Info: info}, nil
}

func (f *osFile) Exclude() bool {
	return granted(tryLock(f.f)) && isAt(f.f, func() (fs.FileInfo, error) { return f.dir.root.Lstat(f.name) })
}

func (f *osFile) Datasync() error { return Wrap(datasync(f.f), f.path(), "make it durable") }

func (f *osFile) WriteBehind(off, n int64) { writeBehind(f.f, off, n) }
