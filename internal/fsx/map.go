package fsx

import (
	"math"
	"os"
)

// Mapping is the content of a file, mapped read-only: pages are read when touched. When another process shortens the file
// meanwhile, touching the lost pages raises a memory fault, which runtime/debug.SetPanicOnFault turns into a panic.
type Mapping struct {
	data []byte
}

// Map maps all of f, which may be closed afterwards. It costs nothing in proportion to the file's size.
func Map(f *os.File) (*Mapping, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, Wrap(err, f.Name(), "map")
	}
	size := info.Size()
	switch {
	case size == 0: // mapping nothing is an error everywhere
		return &Mapping{}, nil
	case size > math.MaxInt:
		return nil, Wrap(errTooLarge, f.Name(), "map")
	}
	data, err := mapFile(f, int(size))
	if err != nil {
		return nil, Wrap(err, f.Name(), "map")
	}
	return &Mapping{data: data}, nil
}

// Bytes returns the whole content, valid until Close and not to be written to.
func (m *Mapping) Bytes() []byte { return m.data }

// WillNeed tells the system that bytes [off, off+n) are about to be read. It is advice: it has no effect but on speed.
func (m *Mapping) WillNeed(off, n int) {
	if b := m.pages(off, n, true); len(b) > 0 {
		adviseWillNeed(b)
	}
}

// Release drops the pages that lie wholly in bytes [off, off+n) from this process's memory. They stay readable, and are
// read again from the file when touched.
func (m *Mapping) Release(off, n int) {
	if b := m.pages(off, n, false); len(b) > 0 {
		adviseDontNeed(b)
	}
}

// pages returns the pages of bytes [off, off+n), with those partly in it or without.
func (m *Mapping) pages(off, n int, partly bool) []byte {
	if off < 0 || n <= 0 || off >= len(m.data) {
		return nil
	}
	end := off + min(n, len(m.data)-off)
	size := os.Getpagesize()
	if partly {
		return m.data[off/size*size : end]
	}
	off = (off + size - 1) / size * size
	if end < len(m.data) { // the last page of the file ends with the file
		end = end / size * size
	}
	if off >= end {
		return nil
	}
	return m.data[off:end]
}

// Close unmaps the file. Any slice of Bytes is invalid afterwards: touching it is a memory fault.
func (m *Mapping) Close() error {
	if len(m.data) == 0 {
		return nil
	}
	data := m.data
	m.data = nil
	return unmap(data)
}
