package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// cloneUnit is what the file systems that share blocks share them by, or a multiple of it.
const cloneUnit = 4096

// Rewriter writes a new form of a file: the same tensors in the same order, with other metadata and other data. Parts may
// be written in any order and from several goroutines; all must be before Commit.
type Rewriter struct {
	src  *File
	out  *fsx.AtomicFile
	path string
	data int64 // where the tensors' data starts
}

// Rewrite starts to write a new form of f to path. Its data starts at the same place of a block as that of f, so that what
// stays the same can share blocks with f where the file system knows how. Errors and options are those of [Write].
func (f *File) Rewrite(path string, metadata map[string]string, opts ...fsx.Option) (*Rewriter, error) {
	head, size, err := f.headerWith(path, metadata)
	if err != nil {
		return nil, err
	}
	if pad := (f.dataStart - int64(len(head))) & (cloneUnit - 1); pad%8 == 0 {
		size += pad
		head = padHeader(head, pad)
	}
	if err := checkSpace(path, size); err != nil {
		return nil, err
	}
	out, err := fsx.Create(path, opts...)
	if err != nil {
		return nil, err
	}
	r := &Rewriter{src: f, out: out, path: path, data: int64(len(head))}
	if err = out.Resize(size); err == nil {
		_, err = out.WriteAt(head, 0)
	}
	if err != nil {
		out.Abort()
		return nil, err
	}
	return r, nil
}

// headerWith returns the header of a file of the same tensors with other metadata, and the size of that file.
func (f *File) headerWith(path string, metadata map[string]string) ([]byte, int64, error) {
	entries := make([]Entry, len(f.header.tensors))
	for i, t := range f.header.tensors {
		entries[i] = Entry{Name: t.Name, DType: t.DType, Shape: t.Shape}
	}
	return encodeHeader(path, entries, metadata)
}

// padHeader makes a header n bytes longer.
func padHeader(head []byte, n int64) []byte {
	head = append(head, bytes.Repeat([]byte{' '}, int(n))...)
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	return head
}

// SetMetadata changes the metadata to other ones that take no more place than those that were given to Rewrite.
func (r *Rewriter) SetMetadata(metadata map[string]string) error {
	head, _, err := r.src.headerWith(r.path, metadata)
	if err != nil {
		return err
	}
	if int64(len(head)) > r.data {
		return fault.New(fault.Internal, r.path, "the header of %d bytes is longer than the %d that are kept for it", len(head), r.data)
	}
	_, err = r.out.WriteAt(padHeader(head, r.data-int64(len(head))), 0)
	return err
}

// Copy copies bytes [off, off+n) of all tensors' data.
func (r *Rewriter) Copy(off, n int64) error {
	err := r.out.CopyRange(r.data+off, r.src.f, r.src.dataStart+off, n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return r.src.readError(err)
	}
	return err
}

// WriteAt writes p as the new data of t from byte off on.
func (r *Rewriter) WriteAt(t Tensor, p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > t.size {
		return fault.New(fault.Internal, r.path, "tensor %s: bytes %d to %d of %d are written", fault.Quote(t.Name), off, off+int64(len(p)), t.size)
	}
	_, err := r.out.WriteAt(p, r.data+t.offset+off)
	return err
}

// Commit makes the file durable and puts it in place.
func (r *Rewriter) Commit() error { return r.out.Commit() }

// Abort drops the file. After Commit it does nothing.
func (r *Rewriter) Abort() { r.out.Abort() }
