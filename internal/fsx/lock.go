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
