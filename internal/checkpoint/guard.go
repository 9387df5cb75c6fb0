package checkpoint

import (
	"runtime/debug"

	"shira/internal/fault"
)

// Guard runs f, which touches views of mapped files: those of path, or what is named so. When one was shortened under its
// mapping, that is an Environment error. A panic with what [Unreadable] returns is the error that it was given.
func Guard(path string, f func() error) error { return guard(path, f) }

type unreadable struct{ error }

// Unreadable is for panics where a file that was read before cannot be read again, in code that cannot return an error.
func Unreadable(err error) any { return unreadable{err} }

// guard runs read, which touches the mapping of the file at path. When the file was shortened under the mapping, the
// memory fault becomes an error instead of the end of the process, and so does a panic with what [Unreadable] returns.
func guard(path string, read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // the runtime's error for a memory fault
			err = fault.New(fault.Environment, path, "became shorter while it was read")
		case unreadable:
			err = r.error
		default:
			panic(r)
		}
	}()
	return read()
}
