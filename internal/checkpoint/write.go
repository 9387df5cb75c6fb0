package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"unicode/utf8"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// Entry is a tensor to be written. Its data, in row-major order and little-endian, is Bytes, or what Write writes, which
// must be exactly as much as DType and Shape say.
type Entry struct {
	Name  string
	DType DType
	Shape []int
	Bytes []byte                  // used where Write is nil
	Write func(w io.Writer) error // called once, when the tensor's turn comes
}

// Float32Entry is an entry of values that are converted to a float type as they are written, as by [EncodeFloat32].
func Float32Entry(name string, dtype DType, shape []int, values []float32) Entry {
	return Entry{Name: name, DType: dtype, Shape: shape, Write: func(w io.Writer) error {
		const step = 1 << 16
		buf := make([]byte, min(len(values), step)*dtype.Size())
		for part := range slices.Chunk(values, step) {
			b := buf[:len(part)*dtype.Size()]
			if err := EncodeFloat32(b, dtype, part); err != nil {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Entry returns the tensor as an entry that copies its bytes.
func (t Tensor) Entry() Entry {
	return Entry{Name: t.Name, DType: t.DType, Shape: t.Shape, Write: t.copyTo}
}

// copyTo reads the file rather than its mapping, so that a copy of a large model does not fill the memory.
func (t Tensor) copyTo(w io.Writer) error {
	section := io.NewSectionReader(t.file.f, t.Offset(), t.size)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, section, make([]byte, min(t.size, 1<<20)+1))
	if err == nil && n < t.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return t.file.readError(err)
	}
	return nil
}

// Write writes a safetensors file durably: the data of the entries in the order given, the metadata's keys sorted. The
// same input gives the same bytes. The data starts at a multiple of 8. PyTorch's loaders ask for metadata "format": "pt".
//
// Entries that are invalid, or whose data has another size than declared, are a [fault.Internal]; a disk without room for
// the file is a [fault.Environment], found before anything is written. Options are those of [fsx.Create].
func Write(path string, tensors []Entry, metadata map[string]string, opts ...fsx.Option) error {
	f, err := Prepare(path, tensors, metadata, opts...)
	if err != nil {
		return err
	}
	defer f.Abort()
	return f.Commit()
}

// Prepare is [Write] up to putting the file in place, which is left to the caller, who must commit or abort it.
func Prepare(path string, tensors []Entry, metadata map[string]string, opts ...fsx.Option) (*fsx.AtomicFile, error) {
	head, size, err := encodeHeader(path, tensors, metadata)
	if err != nil {
		return nil, err
	}
	if err := checkSpace(path, size); err != nil {
		return nil, err
	}
	return fsx.PrepareFile(path, func(w io.Writer) error {
		if _, err := w.Write(head); err != nil {
			return err
		}
		for _, t := range tensors {
			if err := t.writeTo(w, path); err != nil {
				return err
			}
		}
		return nil
	}, opts...)
}

// checkSpace fails when the disk has no room for size more bytes. Where that cannot be asked, the writing will tell.
func checkSpace(path string, size int64) error {
	if free, err := fsx.FreeSpace(filepath.Dir(path)); err == nil && free < uint64(size) {
		return fault.New(fault.Environment, path, "needs %d bytes, but the disk has only %d free", size, free)
	}
	return nil
}

// writeTo writes the data and checks its size. Errors of e.Write are returned as they are.
func (e Entry) writeTo(w io.Writer, path string) error {
	size, _ := byteSize(e.DType, e.Shape)
	exact := &exactWriter{w: w, left: size}
	var err error
	if e.Write != nil {
		err = e.Write(exact)
	} else {
		_, err = exact.Write(e.Bytes)
	}
	if err == nil && exact.left > 0 || exact.left < 0 {
		return fault.New(fault.Internal, path, "tensor %s: its data is not the %d bytes of its type and shape", fault.Quote(e.Name), size)
	}
	return err
}

// exactWriter passes on up to left bytes. Writing more fails, and makes left negative.
type exactWriter struct {
	w    io.Writer
	left int64
}

func (e *exactWriter) Write(p []byte) (int, error) {
	if e.left -= int64(len(p)); e.left < 0 {
		return 0, io.ErrShortWrite
	}
	return e.w.Write(p)
}

// encodeHeader returns the bytes of a file before its data, and the size of the whole file.
func encodeHeader(path string, tensors []Entry, metadata map[string]string) ([]byte, int64, error) {
	if err := checkEntries(path, tensors, metadata); err != nil {
		return nil, 0, err
	}
	b := make([]byte, 8, 1024)
	b = append(b, '{')
	if len(metadata) > 0 {
		b = append(appendJSON(b, metadataKey), ":{"...)
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSON(b, key), ':')
			b = appendJSON(b, metadata[key])
		}
		b = append(b, '}')
	}
	var end int64
	for _, t := range tensors {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		size, _ := byteSize(t.DType, t.Shape)
		b = append(appendJSON(b, t.Name), `:{"dtype":"`...)
		b = append(append(b, t.DType.String()...), `","shape":[`...)
		for i, dim := range t.Shape {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(dim), 10)
		}
		b = strconv.AppendInt(append(b, `],"data_offsets":[`...), end, 10)
		if end += size; end < 0 {
			return nil, 0, fault.New(fault.Internal, path, "the tensors exceed 2^63 bytes")
		}
		b = append(strconv.AppendInt(append(b, ','), end, 10), "]}"...)
	}
	b = append(b, '}')
	b = append(b, bytes.Repeat([]byte{' '}, -len(b)&7)...)
	n := len(b) - 8
	if n > maxHeader {
		return nil, 0, fault.New(fault.Internal, path, "needs a header of %d bytes; at most %d are allowed", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(n))
	return b, int64(len(b)) + end, nil
}

// checkEntries finds what [Open] would refuse.
func checkEntries(path string, tensors []Entry, metadata map[string]string) error {
	var bad fault.Problems
	seen := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		name := fault.Quote(t.Name)
		_, ok := byteSize(t.DType, t.Shape)
		switch {
		case !utf8.ValidString(t.Name) || checkName(t.Name) != nil || t.Name == metadataKey:
			bad.Add("tensor %s: invalid name", name)
		case seen[t.Name]:
			bad.Add("tensor %s twice", name)
		case !t.DType.valid():
			bad.Add("tensor %s: no type", name)
		case !ok || len(t.Shape) > maxRank:
			bad.Add("tensor %s: invalid shape %v", name, t.Shape)
		}
		seen[t.Name] = true
	}
	for key, value := range metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			bad.Add("metadata %s: not UTF-8", fault.Quote(key))
		}
	}
	return bad.Err(fault.Internal, path, "")
}

// appendJSON appends s, valid UTF-8, as a JSON string, without the escapes that are only for HTML.
func appendJSON(b []byte, s string) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})...)
}
