package checkpoint

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"shira/internal/fault"
)

// DecodeFloat32 converts the elements of src, of a float type, to dst; len(src) must be len(dst)·dtype.Size(). F16 and
// BF16 convert exactly, NaN payloads included; F64 goes to the nearest float32, ties to even.
func DecodeFloat32(dst []float32, dtype DType, src []byte) error {
	if err := checkLengths(len(dst), dtype, len(src)); err != nil {
		return err
	}
	switch dtype {
	case F64:
		for i, v := range view[float64](src) {
			dst[i] = float32(v)
		}
	case F32:
		copy(dst, view[float32](src))
	case F16:
		table := halfTable()
		for i, h := range view[uint16](src) {
			dst[i] = table[h]
		}
	case BF16:
		for i, h := range view[uint16](src) {
			dst[i] = math.Float32frombits(uint32(h) << 16)
		}
	}
	return nil
}

// Halves returns stored 16-bit numbers as a view of b.
func Halves(b []byte) []uint16 { return view[uint16](b) }

// Floats returns stored F32 numbers as a view of b.
func Floats(b []byte) []float32 { return view[float32](b) }

// view returns stored numbers as the machine's own. They need not be aligned: a header of odd length shifts all data of a
// file, and the processors that this runs on load from any address.
func view[T uint16 | int32 | uint32 | uint64 | float32 | float64](b []byte) []T {
	var x T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(x)))
}

func checkLengths(n int, dtype DType, bytes int) error {
	if !dtype.IsFloat() {
		return fault.New(fault.Internal, "", "%s is not converted to or from float32", dtype)
	}
	if bytes != n*dtype.Size() {
		return fault.New(fault.Internal, "", "%d values of %s do not take %d bytes", n, dtype, bytes)
	}
	return nil
}

// halfToFloat32 converts an IEEE 754 half: its exponent and fraction, moved into place, read as a number 2^112 too small,
// subnormal or not; one multiplication mends that. Infinity and NaN need the exponent's remaining bits.
func halfToFloat32(h uint16) float32 {
	u := uint32(h&0x7fff) << 13
	u = math.Float32bits(math.Float32frombits(u) * 0x1p112)
	if h&0x7c00 == 0x7c00 {
		u |= 0x7f800000
	}
	return math.Float32frombits(u | uint32(h&0x8000)<<16)
}

// halfTable returns the float32 of every half. A look-up takes a third of the time of the arithmetic.
var halfTable = sync.OnceValue(func() *[1 << 16]float32 {
	var table [1 << 16]float32
	for h := range table {
		table[h] = halfToFloat32(uint16(h))
	}
	return &table
})

// decodeInts converts the elements of src, of an integer type or BOOL, to dst; len(src) is len(dst)·dtype.Size().
func decodeInts(dst []int64, dtype DType, src []byte) error {
	switch dtype {
	case I64:
		for i, v := range view[uint64](src) {
			dst[i] = int64(v)
		}
	case U64:
		for i, u := range view[uint64](src) {
			if u > math.MaxInt64 {
				return fmt.Errorf("has %[2]d as element %[1]d, beyond 2^63", i, u)
			}
			dst[i] = int64(u)
		}
	case I32:
		for i, v := range view[uint32](src) {
			dst[i] = int64(int32(v))
		}
	case U32:
		for i, v := range view[uint32](src) {
			dst[i] = int64(v)
		}
	case I16:
		for i, v := range view[uint16](src) {
			dst[i] = int64(int16(v))
		}
	case U16:
		for i, v := range view[uint16](src) {
			dst[i] = int64(v)
		}
	case I8:
		for i, v := range src {
			dst[i] = int64(int8(v))
		}
	case U8, BOOL:
		for i, v := range src {
			dst[i] = int64(v)
		}
	default:
		return fmt.Errorf("is %s; an integer type is needed", dtype)
	}
	return nil
}
