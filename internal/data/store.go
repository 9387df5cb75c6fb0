package data

import (
	"bufio"
	"io"
	"os"
	"unsafe"

	"shira/internal/fsx"
)

// store keeps tokens: in memory up to a limit, beyond it in a temporary file, which is mapped once all are there. Where
// the system allows, the file has no name from the start, so that nothing of it stays whatever happens.
type store struct {
	dir     string // "" is the system's
	limit   int64  // bytes in memory
	mem     []int32
	size    int64 // tokens
	file    *os.File
	out     *bufio.Writer
	mapping *fsx.Mapping
}

func newStore(o *Options) *store {
	s := &store{dir: o.TempDir, limit: int64(o.InMemory)}
	if s.limit == 0 {
		s.limit = DefaultInMemory
	}
	return s
}

// add appends tokens and returns where they start.
func (s *store) add(ids []int32) (int64, error) {
	at := s.size
	s.size += int64(len(ids))
	if s.file == nil && 4*s.size <= s.limit {
		s.mem = append(s.mem, ids...)
		return at, nil
	}
	if s.file == nil {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	_, err := s.out.Write(tokenBytes(ids))
	return at, fsx.Wrap(err, s.file.Name(), "write")
}

// spill moves to a file.
func (s *store) spill() error {
	file, err := os.CreateTemp(s.dir, "shira-tokens-*")
	if err != nil {
		return fsx.Wrap(err, s.dir, "make a temporary file for tokens")
	}
	_ = os.Remove(file.Name()) // where a file in use keeps its name, close removes it
	s.file, s.out = file, bufio.NewWriterSize(file, 1<<20)
	_, err = s.out.Write(tokenBytes(s.mem))
	s.mem = nil
	return fsx.Wrap(err, file.Name(), "write")
}

// seal returns all tokens. Nothing can be added any more.
func (s *store) seal() ([]int32, error) {
	if s.file == nil {
		return s.mem, nil
	}
	if err := s.out.Flush(); err != nil {
		return nil, fsx.Wrap(err, s.file.Name(), "write")
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fsx.Wrap(err, s.file.Name(), "read")
	}
	var err error
	if s.mapping, err = fsx.Map(s.file); err != nil {
		return nil, err
	}
	b := s.mapping.Bytes()
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4), nil // pages start at multiples of 4
}

func (s *store) close() error {
	if s.file == nil {
		return nil
	}
	var err error
	if s.mapping != nil {
		err = s.mapping.Close()
	}
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
	s.file = nil
	return err
}

// tokenBytes is the memory of ids.
func tokenBytes(ids []int32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(ids))), 4*len(ids))
}
