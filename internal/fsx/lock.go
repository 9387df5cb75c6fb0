package fsx

import (
	"io/fs"
	"os"

	"shira/internal/fault"
)

// OpenLocked opens path for reading and writing, made where it does not exist, and locks it until it is closed. A file that
// another process has locked is a Locked error.
func OpenLocked(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, Wrap(err, path, "write")
		}
		if !granted(tryLock(f)) {
			f.Close()
			return nil, fault.New(fault.Locked, path, "another process is writing here")
		}
		if isAt(f, func() (fs.FileInfo, error) { return os.Stat(path) }) {
			return f, nil
		}
		f.Close() // who had it locked has renamed it meanwhile, and all are free to lock the next one
	}
}

// granted says whether a lock leaves its file to this process. A file system without locks is no reason not to work.
func granted(ok bool, err error) bool { return ok || err != nil }

// isAt says whether an open file is still the one that stat finds by its name.
func isAt(f *os.File, stat func() (fs.FileInfo, error)) bool {
	there, err := stat()
	if err != nil {
		return false
	}
	info, err := f.Stat()
	return err == nil && os.SameFile(info, there)
}

// RenameLocked closes a file of [OpenLocked], which is durable, and gives it another name in its directory, durably. Where the
// system can rename what is open nobody can lock it under its old name.
func RenameLocked(f *os.File, to string) error {
	if renamesOpen {
		defer f.Close()
	} else if err := f.Close(); err != nil {
		return Wrap(err, f.Name(), "write")
	}
	return rename(f.Name(), to)
}

// Share takes a shared lock on an open file, which keeps out a process that wants to change it, and ends with the file's
// closing. It reports false where one is at it.
func Share(f *os.File) bool { return granted(tryShare(f)) }

// Hold is [Share] for a file that is about to be replaced, until release. What cannot be opened nobody can change either, and
// where the system replaces nothing that is open it is not held.
func Hold(path string) (release func(), ok bool) {
	f, err := Open(path)
	if err != nil {
		return func() {}, true
	}
	ok = Share(f)
	if !ok || !renamesOpen {
		f.Close()
		return func() {}, ok
	}
	return func() { f.Close() }, true
}
