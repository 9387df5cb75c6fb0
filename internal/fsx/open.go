package fsx

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"shira/internal/fault"
)

// Open opens a regular file for reading, following symbolic links. It returns at once for a FIFO or a device, which are
// faults of kind [fault.Malformed], as is a directory; a missing or unreadable file is a [fault.Environment].
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNonblock, 0)
	return regular(f, err, path)
}

// OpenIn is [Open] for a name inside root. A symbolic link that leads out of root is a fault of kind [fault.Malformed].
func OpenIn(root *os.Root, name, path string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if e, ok := errors.AsType[*fs.PathError](err); ok && !isSystem(e.Err) {
		if info, err := root.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, ErrLink(path)
		}
		return nil, fault.Wrap(fault.Malformed, path, e.Err, "cannot open").
			WithHint("a model's files, and the symbolic links among them, must stay inside its directory")
	}
	return regular(f, err, path)
}

// ErrLink is the error of a symbolic link that leads out of a model's directory. A directory from elsewhere must not make
// this program read other files, and whose links these are cannot be told.
func ErrLink(path string) error {
	return fault.New(fault.Malformed, path, "is a symbolic link out of the model's directory, which is not followed").
		WithHint("replace it by a copy or a hard link of the file, or give the directory that it points into")
}

// isSystem tells the operating system's errors from those that os.Root raises by itself.
func isSystem(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// regular finishes an open: it closes and refuses whatever is no regular file.
func regular(f *os.File, err error, path string) (*os.File, error) {
	if err != nil {
		return nil, Wrap(err, path, "open")
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		return f, nil
	}
	f.Close()
	if err != nil {
		return nil, Wrap(err, path, "open")
	}
	return nil, fault.New(fault.Malformed, path, "is %s, not a regular file", kindOf(info.Mode()))
}

func kindOf(m fs.FileMode) string {
	switch m.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return "a device"
}

// ReadAll reads f, the open file at path, which must not hold more than limit bytes; a longer file is a
// [fault.Malformed].
func ReadAll(f *os.File, path string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, Wrap(err, path, "read")
	}
	if int64(len(b)) > limit {
		return nil, fault.New(fault.Malformed, path, "is longer than the %d bytes that are accepted", limit)
	}
	return b, nil
}

// ReadFile returns the content of a regular file of at most limit bytes. Errors are those of [Open] and [ReadAll].
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, path, limit)
}
