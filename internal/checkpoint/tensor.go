package checkpoint

import (
	"fmt"
	"io"
	"slices"
	"unsafe"

	"shira/internal/fault"
)

// Tensor is one tensor of an open file. It is a small value that may be copied; it and what it returns are valid until
// its file is closed. Its methods may be called from several goroutines.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // outermost dimension first; empty for a scalar; not to be changed

	offset int64 // of the data, from the start of the file's data
	size   int64 // of the data, in bytes
	file   *File
}

// Len returns the number of elements, 1 for a scalar.
func (t Tensor) Len() int {
	if t.size == 0 {
		return 0
	}
	return int(t.size / int64(t.DType.Size()))
}

// Size returns the number of bytes.
func (t Tensor) Size() int64 { return t.size }

// Path returns the file that holds the tensor.
func (t Tensor) Path() string { return t.file.path }

// Offset returns where the tensor's data starts in its file, in bytes.
func (t Tensor) Offset() int64 { return t.file.dataStart + t.offset }

// Data returns the elements in row-major order, little-endian, as a view of the mapped file: not to be written to, and
// invalid after Close. It is nil when the file is already closed. Touching it while another process shortens the file is
// a memory fault; the methods that convert report that as an error.
func (t Tensor) Data() []byte { return t.file.data(t.offset, t.size) }

// ReadAt fills p with the data from byte off on, which must not end before p does. It reads the file rather than its
// mapping, so that walking over a large model does not fill the memory.
func (t Tensor) ReadAt(p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > t.size {
		return fault.New(fault.Internal, t.Path(), "tensor %s: bytes %d to %d of %d are read", fault.Quote(t.Name), off, off+int64(len(p)), t.size)
	}
	n, err := t.file.f.ReadAt(p, t.Offset()+off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return t.file.readError(err)
}

// Float32s converts an F64, F32, F16 or BF16 tensor. It returns its Len() values in row-major order, in dst's memory where
// cap(dst) suffices. F16 and BF16 convert exactly, F64 to the nearest float32, ties to even. Another type is a
// [fault.Incompatible].
func (t Tensor) Float32s(dst []float32) ([]float32, error) {
	if v, ok := t.Float32View(); ok && t.file.shared && dst == nil {
		return v, nil
	}
	if !t.DType.IsFloat() {
		return nil, fault.New(fault.Incompatible, t.Path(), "tensor %s is %s; a float type is needed", fault.Quote(t.Name), t.DType)
	}
	data, err := t.open()
	if err != nil {
		return nil, err
	}
	dst = slices.Grow(dst[:0], t.Len())[:t.Len()]
	err = guard(t.Path(), func() error { return DecodeFloat32(dst, t.DType, data) })
	return dst, err
}

// Shared says whether the tensor's file was opened to be used as it is, by [File.Share].
func (t Tensor) Shared() bool { return t.file.shared }

// Viewed says whether [Tensor.Float32s] or [Tensor.Int32s] of a shared file can return a view.
func (t Tensor) Viewed() bool {
	_, floats := t.Float32View()
	_, ints := viewAs[int32](t, I32)
	return floats || ints
}

// Float32View returns the values of an F32 tensor without a copy, as a view of the mapped file like [Tensor.Data]. It
// reports false for another type, for data that is not aligned, and after Close.
func (t Tensor) Float32View() ([]float32, bool) { return viewAs[float32](t, F32) }

// BFloat16View is Float32View for the bits of a BF16 tensor.
func (t Tensor) BFloat16View() ([]uint16, bool) { return viewAs[uint16](t, BF16) }

// Int32s returns the values of an I32 tensor, a view after [File.Share] where they are aligned. Another type is a
// [fault.Incompatible].
func (t Tensor) Int32s() ([]int32, error) {
	if t.DType != I32 {
		return nil, fault.New(fault.Incompatible, t.Path(), "tensor %s is %s; I32 is needed", fault.Quote(t.Name), t.DType)
	}
	data, err := t.open()
	if err != nil {
		return nil, err
	}
	if v, ok := viewAs[int32](t, I32); ok && t.file.shared {
		return v, nil
	}
	dst := make([]int32, t.Len())
	return dst, guard(t.Path(), func() error { copy(dst, view[int32](data)); return nil })
}

func viewAs[T uint16 | int32 | float32](t Tensor, dtype DType) ([]T, bool) {
	var x T
	data := t.Data()
	switch {
	case t.DType != dtype || data == nil:
		return nil, false
	case len(data) == 0:
		return []T{}, true
	case uintptr(unsafe.Pointer(unsafe.SliceData(data)))%unsafe.Alignof(x) != 0:
		return nil, false
	}
	return view[T](data), true
}

// Ints converts a tensor of an integer type or BOOL. It returns its Len() values in row-major order, in dst's memory where
// cap(dst) suffices. Another type, or a U64 value beyond 2^63−1, is a [fault.Incompatible].
func (t Tensor) Ints(dst []int64) ([]int64, error) {
	data, err := t.open()
	if err != nil {
		return nil, err
	}
	n := t.Len()
	dst = slices.Grow(dst[:0], n)[:n]
	err = guard(t.Path(), func() error {
		if err := decodeInts(dst, t.DType, data); err != nil {
			return fault.New(fault.Incompatible, t.Path(), "tensor %s %v", fault.Quote(t.Name), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return dst, nil
}

// WillNeed tells the system that the data is about to be read.
func (t Tensor) WillNeed() { t.file.mapping.WillNeed(int(t.Offset()), int(t.size)) }

// Release drops the tensor's pages from this process's memory. The data stays readable and is read again when touched.
func (t Tensor) Release() { t.file.mapping.Release(int(t.Offset()), int(t.size)) }

// String describes the tensor for messages: its quoted name, type and shape.
func (t Tensor) String() string {
	return fmt.Sprintf("%s %s %v", fault.Quote(t.Name), t.DType, t.Shape)
}

// open returns the data, or an error when the file is closed.
func (t Tensor) open() ([]byte, error) {
	data := t.Data()
	if data == nil {
		return nil, fault.New(fault.Internal, t.Path(), "tensor %s is read after the file was closed", fault.Quote(t.Name))
	}
	return data, nil
}
