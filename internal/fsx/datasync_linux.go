package fsx

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes a file's content durable, with what of its metadata is needed to read it.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// writeBehind may fail on odd file systems, with no consequence.
func writeBehind(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
