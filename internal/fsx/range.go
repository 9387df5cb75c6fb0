package fsx

import (
	"io"
	"os"
)

// Resize makes the file that long, before parts of it are written by WriteAt and CopyRange. They are not to be mixed with
// Write.
func (a *AtomicFile) Resize(size int64) error {
	f, err := a.handle()
	if err != nil {
		return err
	}
	return Wrap(f.Truncate(size), a.path, "write")
}

// WriteAt writes p at off, unbuffered, and has the system begin to bring it to the disk, so that Commit has less to wait
// for. It may be called from several goroutines.
func (a *AtomicFile) WriteAt(p []byte, off int64) (int, error) {
	f, err := a.handle()
	if err != nil {
		return 0, err
	}
	n, err := f.WriteAt(p, off)
	if err == nil {
		startWriteback(f, off, int64(n))
	}
	return n, Wrap(err, a.path, "write")
}

// CopyRange copies n bytes of src at from to off, by sharing blocks or within the system where it can do that. It may be
// called from several goroutines. A src that ends too early is io.ErrUnexpectedEOF.
func (a *AtomicFile) CopyRange(off int64, src *os.File, from, n int64) error {
	f, err := a.handle()
	if err != nil {
		return err
	}
	done, err := copyRange(f, off, src, from, n)
	if err == nil && done < n { // not possible between these files, or a part only
		var rest int64
		rest, err = io.Copy(io.NewOffsetWriter(f, off+done), io.NewSectionReader(src, from+done, n-done))
		done += rest
	}
	if err == nil && done < n {
		return io.ErrUnexpectedEOF
	}
	if err == nil {
		startWriteback(f, off, n)
	}
	return Wrap(err, a.path, "write")
}

// handle returns the open file.
func (a *AtomicFile) handle() (*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil || a.sealed {
		return nil, a.finished()
	}
	return a.f, nil
}
