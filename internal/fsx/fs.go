package fsx

import (
	"io"
	"io/fs"
)

// FS is a directory as a transaction on its files sees it: every operation that a crash can come between. [OpenFS] is a real
// one; tests have one that loses what was not synced. Names are relative and slash-separated, and stay inside the directory.
//
// Errors are those of this package: faults that name the file.
type FS interface {
	// Open opens an existing regular file for reading, and with write for writing too. A symbolic link is Incompatible: what
	// it points to may be shared.
	Open(name string, write bool) (File, error)

	// Create makes a new file, which must not exist.
	Create(name string) (File, error)

	// Lock opens the file, made where it is missing, and takes an exclusive lock on it that lasts until it is closed. It
	// reports false where another process has it.
	Lock(name string) (lock io.Closer, ok bool, err error)

	// Locked says whether a process has that lock. It changes nothing, and no Lock fails because of it.
	Locked(name string) (bool, error)

	Mkdir(name string) error
	Rename(from, to string) error // replaces what is at to
	Remove(name string) error

	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error

	// List returns the names in a directory, sorted. A directory that does not exist is fs.ErrNotExist.
	List(name string) ([]string, error)

	// Free returns how many bytes can still be written.
	Free() (uint64, error)

	// Path returns how messages call a file.
	Path(name string) string
}

// File is an open file of an [FS]. Its methods may be called from several goroutines.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Stat returns the file's size, and how many names it has.
	Stat() (Stat, error)

	// Exclude takes an exclusive lock on the file, which keeps out the readers of this program. It reports false where one
	// holds it open, or has put another one in its place.
	Exclude() bool

	// Datasync makes the content durable.
	Datasync() error

	// WriteBehind tells the system to begin with writing bytes [off, off+n) to the disk. It is advice.
	WriteBehind(off, n int64)
}

// Stat is what a transaction must know of a file.
type Stat struct {
	Size  int64
	Links uint64      // 1 where the system does not say
	Info  fs.FileInfo // nil of a file that is not the system's
}
