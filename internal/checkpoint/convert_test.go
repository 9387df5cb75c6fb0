package checkpoint

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"shira/internal/fault"
)

// halfValue is the value of a half by the definition of IEEE 754; NaN aside.
func halfValue(h uint16) float64 {
	sign := 1 - 2*float64(h>>15)
	exp, frac := int(h>>10&31), float64(h&1023)
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+frac, exp-25)
}

// roundTo rounds v to a float of that many fraction bits and least normal exponent, ties to even; beyond limit it is
// infinite.
func roundTo(v float64, fraction, minExp int, limit float64) float64 {
	_, e := math.Frexp(v) // v = m·2^e, 1/2 <= m < 1
	unit := math.Ldexp(1, max(e-1, minExp)-fraction)
	r := math.RoundToEven(v/unit) * unit
	if math.Abs(r) > limit {
		return math.Copysign(math.Inf(1), v)
	}
	return math.Copysign(r, v)
}

func same(a, b float64) bool {
	return a == b && math.Signbit(a) == math.Signbit(b) || math.IsNaN(a) && math.IsNaN(b)
}

func decodeOne(t *testing.T, dtype DType, bits uint16) float32 {
	t.Helper()
	var dst [1]float32
	if err := DecodeFloat32(dst[:], dtype, binary.LittleEndian.AppendUint16(nil, bits)); err != nil {
		t.Fatal(err)
	}
	return dst[0]
}

func encodeOne(t *testing.T, dtype DType, v float32) uint16 {
	t.Helper()
	var dst [2]byte
	if err := EncodeFloat32(dst[:], dtype, []float32{v}); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint16(dst[:])
}

// All halves and bfloat16s decode exactly and encode to themselves.
func TestSixteenBitsExhaustive(t *testing.T) {
	for i := range 1 << 16 {
		bits := uint16(i)
		h := decodeOne(t, F16, bits)
		if bits&0x7fff > 0x7c00 {
			if want := uint32(bits&0x8000)<<16 | 0x7f800000 | uint32(bits&0x3ff)<<13; math.Float32bits(h) != want {
				t.Fatalf("F16 NaN %#x has bits %#x, want %#x", bits, math.Float32bits(h), want)
			}
			if got := encodeOne(t, F16, h); got != bits|0x200 {
				t.Fatalf("F16 NaN %#x became %#x", bits, got)
			}
		} else {
			if want := halfValue(bits); !same(float64(h), want) {
				t.Fatalf("F16 %#x is %g, want %g", bits, h, want)
			}
			if got := encodeOne(t, F16, h); got != bits {
				t.Fatalf("F16 %#x became %#x", bits, got)
			}
		}
		b := decodeOne(t, BF16, bits)
		if math.Float32bits(b) != uint32(bits)<<16 {
			t.Fatalf("BF16 %#x has bits %#x", bits, math.Float32bits(b))
		}
		want := bits
		if bits&0x7fff > 0x7f80 {
			want |= 0x40
		}
		if got := encodeOne(t, BF16, b); got != want {
			t.Fatalf("BF16 %#x became %#x, want %#x", bits, got, want)
		}
	}
}

// Encoding rounds as arithmetic in float64 says.
func TestEncodeRounds(t *testing.T) {
	values := []float32{0, float32(math.Copysign(0, -1)), 65504, 65519.996, 65520, -65520, 65536, 0x1p-24, 0x1p-25, 0x1.000002p-25,
		0x1p-14, 0x1.ffcp-15, 0x1.ffep-15, 0x1.fffp-15, 1 + 0x1p-11, 1 + 0x1p-8, 1 + 3*0x1p-8, 1 + 0x1p-8 + 0x1p-20,
		math.MaxFloat32, math.SmallestNonzeroFloat32, 0x1.fep127, 0x1.ffp127, float32(math.Inf(1)), float32(math.Inf(-1))}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		values = append(values, math.Float32frombits(r.Uint32()), float32(r.NormFloat64()), float32(r.NormFloat64()*1e-6))
	}
	for _, v := range values {
		if v != v {
			continue
		}
		got, want := halfValue(encodeOne(t, F16, v)), roundTo(float64(v), 10, -14, 65504)
		if !same(got, want) {
			t.Fatalf("F16 of %g (%x) is %g, want %g", v, v, got, want)
		}
		bf := float64(decodeOne(t, BF16, encodeOne(t, BF16, v)))
		if want := roundTo(float64(v), 7, -126, 0x1.fep127); !same(bf, want) {
			t.Fatalf("BF16 of %g (%x) is %g, want %g", v, v, bf, want)
		}
	}
}

// Every NaN stays one, whatever part of its payload the rounding drops.
func TestEncodeNaN(t *testing.T) {
	for _, bits := range []uint32{0x7f800001, 0xff800001, 0x7fc00000, 0x7fffffff, 0xffffffff, 0x7f80ffff} {
		v := math.Float32frombits(bits)
		for _, dtype := range []DType{F16, BF16} {
			got := decodeOne(t, dtype, encodeOne(t, dtype, v))
			if got == got || math.Signbit(float64(got)) != (bits>>31 == 1) {
				t.Errorf("%s of NaN %#x is %#x", dtype, bits, math.Float32bits(got))
			}
		}
	}
}

// F32 and F64 keep every value; a float64 between two float32s goes to the nearest.
func TestWideFloats(t *testing.T) {
	values := []float32{0, 1, -0.1, math.MaxFloat32, math.SmallestNonzeroFloat32, float32(math.Inf(-1))}
	for _, dtype := range []DType{F32, F64} {
		buf := make([]byte, len(values)*dtype.Size())
		got := make([]float32, len(values))
		if err := EncodeFloat32(buf, dtype, values); err != nil {
			t.Fatal(err)
		}
		if err := DecodeFloat32(got, dtype, buf); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if got[i] != v {
				t.Errorf("%s: %g became %g", dtype, v, got[i])
			}
		}
	}
	var got [1]float32
	src := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1+0x1p-24+0x1p-50))
	if err := DecodeFloat32(got[:], F64, src); err != nil || got[0] != 1+0x1p-23 {
		t.Errorf("F64 rounds to %x, %v", got[0], err)
	}
}

func TestConvertChecksLengths(t *testing.T) {
	dst := make([]float32, 2)
	for _, err := range []error{
		DecodeFloat32(dst, F32, make([]byte, 7)),
		DecodeFloat32(dst, BF16, make([]byte, 8)),
		DecodeFloat32(dst, I32, make([]byte, 8)),
		DecodeFloat32(dst, 0, nil),
		EncodeFloat32(make([]byte, 3), F16, dst),
		EncodeFloat32(make([]byte, 2), U8, dst),
	} {
		if fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("got %v", err)
		}
	}
}

func TestInts(t *testing.T) {
	le := binary.LittleEndian
	minus := uint64(math.MaxUint64) // −1 in any width
	tests := []struct {
		dtype DType
		bytes []byte
		want  int64
	}{
		{I64, le.AppendUint64(nil, minus), -1}, {I64, le.AppendUint64(nil, 1<<63), math.MinInt64},
		{I32, le.AppendUint32(nil, uint32(minus)), -1}, {I16, le.AppendUint16(nil, uint16(minus)), -1}, {I8, []byte{0xff}, -1},
		{U64, le.AppendUint64(nil, math.MaxInt64), math.MaxInt64}, {U32, le.AppendUint32(nil, uint32(minus)), math.MaxUint32},
		{U16, le.AppendUint16(nil, uint16(minus)), math.MaxUint16}, {U8, []byte{0xff}, 255}, {BOOL, []byte{1}, 1},
	}
	for _, tt := range tests {
		f := opened(t, put(t, t.TempDir(), "i", Entry{Name: "i", DType: tt.dtype, Shape: []int{}, Bytes: tt.bytes}))
		i, _ := f.Lookup("i")
		got, err := i.Ints(nil)
		if err != nil || len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: %v, %v; want %d", tt.dtype, got, err, tt.want)
		}
	}
}

func TestDTypes(t *testing.T) {
	for d := F64; d <= C64; d++ {
		got, ok := ParseDType(d.String())
		if !ok || got != d || d.Size() == 0 {
			t.Errorf("%s parses as %v, %v; size %d", d, got, ok, d.Size())
		}
	}
	for _, name := range []string{"", "f32", "F8", "DType(0)", "BFLOAT16"} {
		if d, ok := ParseDType(name); ok {
			t.Errorf("%q is %s", name, d)
		}
	}
	for _, bad := range []DType{0, C64 + 1, 255} {
		if bad.Size() != 0 || bad.IsFloat() || bad.String() == "" {
			t.Errorf("%s is a type", bad)
		}
	}
}
