package checkpoint

import (
	"encoding/binary"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// File is an open safetensors file. It does not change after Open, and may be used from several goroutines; Close must
// come after all uses.
type File struct {
	path      string
	f         *os.File
	mapping   *fsx.Mapping
	dataStart int64 // where the tensors' data starts in the file
	size      int64 // of the file
	header    *header
	shared    bool // conversions to nothing are views where they can be
	closed    bool
}

// Open opens a safetensors file of any name. The header is read and checked; the data is mapped, so the cost does not
// depend on its size. A file that breaks the format is a [fault.Malformed], one that cannot be opened a
// [fault.Environment].
func Open(path string) (*File, error) {
	f, err := fsx.Open(path)
	if err != nil {
		return nil, err
	}
	return newFile(f, path, true)
}

// newFile takes over f, also when it fails. With share it keeps out a switch that would change the file meanwhile.
func newFile(f *os.File, path string, share bool) (*File, error) {
	if share && !fsx.Share(f) {
		f.Close()
		return nil, errSwitched(path)
	}
	file := &File{path: path, f: f}
	if err := file.readHeader(); err != nil {
		f.Close()
		return nil, err
	}
	var err error
	if file.mapping, err = fsx.Map(f); err != nil {
		f.Close()
		return nil, err
	}
	// The file may have been shortened since its size was taken.
	if n := int64(len(file.mapping.Bytes())); n != file.size {
		file.Close()
		return nil, fault.New(fault.Environment, path, "changed from %d to %d bytes while it was opened", file.size, n)
	}
	for i := range file.header.tensors {
		file.header.tensors[i].file = file
	}
	return file, nil
}

// errSwitched is the error of weights that a switch has locked.
func errSwitched(path string) error {
	return fault.New(fault.Locked, path, "another process is switching it to another adapter").WithHint("wait for it to end")
}

// Is says whether f is the open file that info is of, rather than another one at its path.
func (f *File) Is(info fs.FileInfo) bool {
	own, err := f.f.Stat()
	return err == nil && os.SameFile(own, info)
}

// Share makes [Tensor.Float32s] with a nil dst and [Tensor.Int32s] return views of the mapped file, as [Tensor.Data] does,
// where type and place of the data allow it. It must come before other uses of the file.
func (f *File) Share() { f.shared = true }

// readHeader reads the header without the mapping: nothing of it refers to the file's pages afterwards.
func (f *File) readHeader() error {
	info, err := f.f.Stat()
	if err != nil {
		return fsx.Wrap(err, f.path, "read")
	}
	f.size = info.Size()
	start := make([]byte, min(f.size, 32))
	if _, err := io.ReadFull(f.f, start); err != nil {
		return f.readError(err)
	}
	if f.size < 8 {
		return notSafetensors(f.path, start, "is %d bytes long, too short for a safetensors file", f.size)
	}
	n := binary.LittleEndian.Uint64(start)
	if n > maxHeader {
		return notSafetensors(f.path, start, "claims a header of %d bytes; at most %d are allowed", n, maxHeader)
	}
	f.dataStart = 8 + int64(n)
	if f.dataStart > f.size {
		return notSafetensors(f.path, start, "claims a header of %d bytes, but only %d follow", n, f.size-8)
	}
	b := make([]byte, n) // no larger than the file
	if _, err := f.f.ReadAt(b, 8); err != nil {
		return f.readError(err)
	}
	if f.header, err = parseHeader(b, f.size-f.dataStart); err != nil {
		return notSafetensors(f.path, start, "header: %v", err)
	}
	return nil
}

func (f *File) readError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fault.New(fault.Environment, f.path, "became shorter while it was read")
	}
	return fsx.Wrap(err, f.path, "read")
}

// Path returns the path that the file was opened with.
func (f *File) Path() string { return f.path }

// Size returns the length of the file, in bytes.
func (f *File) Size() int64 { return f.size }

// Tensors returns all tensors in the order of their data, which is the order to read them in.
func (f *File) Tensors() []Tensor { return slices.Clone(f.header.tensors) }

// Lookup returns the tensor of that name.
func (f *File) Lookup(name string) (Tensor, bool) {
	i, ok := f.header.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return f.header.tensors[i], true
}

// Metadata returns a copy of the file's own key-value pairs, empty but not nil without any.
func (f *File) Metadata() map[string]string {
	if f.header.metadata == nil {
		return map[string]string{}
	}
	return maps.Clone(f.header.metadata)
}

// Close unmaps the file. Views of its data must not be touched afterwards. A second Close does nothing.
func (f *File) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	err := f.mapping.Close()
	if e := f.f.Close(); err == nil {
		err = e
	}
	return fsx.Wrap(err, f.path, "close")
}

// data returns size bytes at offset of the tensors' data, nil after Close.
func (f *File) data(offset, size int64) []byte {
	if f.closed {
		return nil
	}
	if size == 0 {
		return []byte{}
	}
	begin := f.dataStart + offset
	return f.mapping.Bytes()[begin : begin+size : begin+size]
}
