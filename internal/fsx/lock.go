package fsx

import (
	"os"

	"shira/internal/fault"
)

// OpenLocked opens path for reading and writing, made where it does not exist, and locks it until it is closed. A file that
// another process has locked is a Locked error.
func OpenLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, Wrap(err, path, "write")
	}
	ok, err := tryLock(f)
	if err == nil && !ok {
		f.Close()
		return nil, fault.New(fault.Locked, path, "another process is writing here")
	}
	// A file system without locks is no reason not to work.
	return f, nil
}

// Share takes a shared lock on an open file, which keeps out a process that wants to change it, and ends with the file's
// closing. It reports false where one is at it.
func Share(f *os.File) bool {
	ok, err := tryShare(f)
	return ok || err != nil // a file system without locks is no reason not to work
}
