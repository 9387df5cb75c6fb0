package checkpoint

import "fmt"

// DType is the type of a tensor's elements, stored little-endian. The zero value is no type.
type DType uint8

// The types. Those of 8-bit floats and C64 are only carried along: no function here reads their values.
const (
	F64 DType = iota + 1
	F32
	F16  // IEEE 754 half
	BF16 // the upper half of an F32
	I64
	I32
	I16
	I8
	U64
	U32
	U16
	U8
	BOOL // one byte, 0 or 1
	F8E4M3
	F8E5M2
	F8E8M0
	C64 // two F32, real and imaginary
)

var dtypes = [...]struct {
	name  string
	size  int
	float bool
}{
	F64: {"F64", 8, true}, F32: {"F32", 4, true}, F16: {"F16", 2, true}, BF16: {"BF16", 2, true},
	I64: {"I64", 8, false}, I32: {"I32", 4, false}, I16: {"I16", 2, false}, I8: {"I8", 1, false},
	U64: {"U64", 8, false}, U32: {"U32", 4, false}, U16: {"U16", 2, false}, U8: {"U8", 1, false},
	BOOL:   {"BOOL", 1, false},
	F8E4M3: {"F8_E4M3", 1, false}, F8E5M2: {"F8_E5M2", 1, false}, F8E8M0: {"F8_E8M0", 1, false},
	C64: {"C64", 8, false},
}

// ParseDType returns the type of that name, as safetensors writes it ("BF16").
func ParseDType(name string) (DType, bool) {
	for d := F64; d <= C64; d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	return 0, false
}

// String returns the name that safetensors uses.
func (d DType) String() string {
	if !d.valid() {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Size returns the bytes of one element, 0 for an invalid type.
func (d DType) Size() int {
	if !d.valid() {
		return 0
	}
	return dtypes[d].size
}

// IsFloat says whether the values can be read and written as float32: F64, F32, F16 and BF16.
func (d DType) IsFloat() bool { return d.valid() && dtypes[d].float }

func (d DType) valid() bool { return d >= F64 && d <= C64 }
