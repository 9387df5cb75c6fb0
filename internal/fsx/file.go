package fsx

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"shira/internal/fault"
)

// Option changes how a file or directory is put in place.
type Option func(*options)

type options struct {
	replace bool
}

// Replace says whether an existing file or directory may be replaced. The default is true for files and false for
// directories. What may not be replaced is a [fault.Usage] that wraps fs.ErrExist.
func Replace(yes bool) Option { return func(o *options) { o.replace = yes } }

// writeBuffer is large enough that a checkpoint is written at the speed of the disk.
const writeBuffer = 1 << 20

// AtomicFile is a file in the making. It is written beside its destination and put in place by Commit, which leaves either
// the old content or all of the new one, whatever happens meanwhile. Abort may be called from any goroutine.
type AtomicFile struct {
	path string
	opts options

	mu     sync.Mutex
	f      *os.File // nil once committed or aborted
	w      *bufio.Writer
	sealed bool
	placed bool
	done   error // what Write and Commit return when f is nil
}

// Create starts a file that will replace path; meanwhile it is named path.tmp-<random>, which is what a killed process leaves
// behind, until the next file for path is started. An existing file keeps its permission bits; a new one gets 0644 less the
// umask. A symbolic link at path is itself replaced, so that the file it points to, which others may share, stays as it
// is. The directory must exist, and path must not be a directory or a device.
func Create(path string, opts ...Option) (*AtomicFile, error) {
	o := options{replace: true}
	for _, opt := range opts {
		opt(&o)
	}
	old, err := os.Stat(path)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return nil, fault.New(fault.Environment, path, "is %s, not a regular file", kindOf(old.Mode()))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, Wrap(err, path, "write")
	}
	if !o.replace {
		if _, err := os.Lstat(path); err == nil {
			return nil, errExists(path)
		}
	}
	sweep(path)
	var f *os.File
	_, err = uniqueName(path, tempMark, func(temp string) error {
		f, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil && !hold(f, temp) {
			f.Close()
			os.Remove(temp)
			return fs.ErrExist
		}
		return err
	})
	if err != nil {
		return nil, Wrap(err, path, "create a temporary file beside it")
	}
	a := &AtomicFile{path: path, opts: o, f: f, w: bufio.NewWriterSize(f, writeBuffer)}
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			a.Abort()
			return nil, Wrap(err, path, "keep its permissions")
		}
	}
	return a, nil
}

// Write appends p, buffered.
func (a *AtomicFile) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil || a.sealed {
		return 0, a.finished()
	}
	n, err := a.w.Write(p)
	return n, Wrap(err, a.path, "write")
}

// finished is the error of writing after the end.
func (a *AtomicFile) finished() error {
	if a.done != nil {
		return a.done
	}
	return fault.Wrap(fault.Internal, a.path, fs.ErrClosed, "cannot write after the end")
}

// Seal makes the content durable, so that Commit has only to put the file in place. Nothing can be written afterwards. An fsync
// that failed is never tried again, since the kernel may have dropped the data: the file is then aborted.
func (a *AtomicFile) Seal() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil {
		return a.finished()
	}
	if err := a.seal(); err != nil {
		a.drop(a.finished())
		return Wrap(err, a.path, "write")
	}
	return nil
}

func (a *AtomicFile) seal() error {
	if a.sealed {
		return nil
	}
	a.sealed = true
	err := a.w.Flush()
	if err == nil {
		err = a.f.Sync()
	}
	return err
}

// Commit makes the file durable, where [AtomicFile.Seal] has not, and puts it in place: flush, fsync, rename, fsync of the
// directory. On an error before the rename the temporary file is removed and the old file stays.
func (a *AtomicFile) Commit() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil {
		return a.finished()
	}
	temp := a.f.Name()
	err := a.seal()
	if !renamesOpen {
		a.f.Close() // of what is durable
	}
	if err == nil {
		err = a.rename(temp)
	}
	a.f.Close()
	a.f = nil
	if err != nil {
		os.Remove(temp)
		return Wrap(err, a.path, "write")
	}
	a.placed = true
	return Wrap(syncDir(filepath.Dir(a.path)), a.path, "make it durable")
}

// Placed says whether the file is in place, which it may be although Commit could not make that durable.
func (a *AtomicFile) Placed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.placed
}

// rename puts temp in place.
func (a *AtomicFile) rename(temp string) error {
	if a.opts.replace {
		return os.Rename(temp, a.path)
	}
	// A hard link is the portable rename that never replaces. Some file systems have none; there a check must do.
	switch err := os.Link(temp, a.path); {
	case err == nil:
		return os.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return errExists(a.path)
	}
	if _, err := os.Lstat(a.path); err == nil {
		return errExists(a.path)
	}
	return os.Rename(temp, a.path)
}

// Abort drops the file and leaves the old one as it was. After Commit or another Abort it does nothing, so it can be
// deferred.
func (a *AtomicFile) Abort() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f != nil {
		a.drop(fault.New(fault.Interrupted, a.path, "writing was aborted"))
	}
}

func (a *AtomicFile) drop(done error) {
	a.f.Close()
	os.Remove(a.f.Name())
	a.f, a.done = nil, done
}

// WriteFile writes a file with [Create] and Commit. When write returns an error or panics, nothing is left behind and the
// old file stays; the error is returned as it is.
func WriteFile(path string, write func(w io.Writer) error, opts ...Option) error {
	a, err := PrepareFile(path, write, opts...)
	if err != nil {
		return err
	}
	defer a.Abort()
	return a.Commit()
}

// PrepareFile is [WriteFile] up to putting the file in place: what it returns is sealed, and must be committed or aborted.
func PrepareFile(path string, write func(w io.Writer) error, opts ...Option) (*AtomicFile, error) {
	a, err := Create(path, opts...)
	if err != nil {
		return nil, err
	}
	ok := false
	defer func() {
		if !ok { // write may have panicked
			a.Abort()
		}
	}()
	if err := write(a); err != nil {
		return nil, err
	}
	if err := a.Seal(); err != nil {
		return nil, err
	}
	ok = true
	return a, nil
}

func errExists(path string) error {
	return fault.Wrap(fault.Usage, path, fs.ErrExist, "will not overwrite it")
}
