package fsx

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps what two names stand for, in one step. The error is errors.ErrUnsupported where the file system cannot.
func exchange(a, b string) error {
	err := unix.RenameatxNp(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_SWAP)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return errors.ErrUnsupported
	}
	return err
}
