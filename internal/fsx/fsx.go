// Package fsx reads and writes files durably: whole-file and whole-directory writes that leave the old content or the new,
// never a mixture; opens that cannot hang; read-only memory maps; and the free space of a disk.
//
// Durability rests on three assumptions: a local file system, an fsync that tells the truth, and other processes that do
// not write to the same files meanwhile.
//
// Errors of the operating system are faults of kind [fault.Environment] that name the file and keep the cause, so that
// errors.Is(err, fs.ErrNotExist) works on them.
package fsx

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"shira/internal/fault"
)

// Wrap turns an error of the operating system about path into a fault: "<path>: cannot <action>: <cause>". A fault passes
// through unchanged, and so does an error of any other origin. Wrap(nil, …) is nil.
func Wrap(err error, path, action string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	cause, ok := systemCause(err)
	if !ok {
		return err
	}
	f := fault.Wrap(fault.Environment, path, cause, "cannot %s", action)
	switch {
	case errors.Is(cause, syscall.ENOSPC):
		return f.WithHint("the disk is full: free some space, or write to another disk")
	case errors.Is(cause, syscall.EROFS):
		return f.WithHint("the file system is mounted read-only: write somewhere else")
	}
	return f
}

// systemCause strips the wrappers of package os, whose text repeats the path. It reports false for an error that did not
// come from the operating system.
func systemCause(err error) (error, bool) {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e, true
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err, true
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err, true
	}
	for _, e := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrClosed} {
		if errors.Is(err, e) {
			return e, true
		}
	}
	return nil, false
}
