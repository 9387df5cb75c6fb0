package checkpoint

import (
	"encoding/binary"
	"math/bits"
)

// floatBits says where the exponent of a float type lies.
type floatBits struct {
	top      uint64 // the exponent's upper bit, in each number of 8 bytes
	exponent uint64 // all of it, in the lowest number
	huge     bool   // whether a trained model has no finite numbers with both upper bits set: of 2^65 and more, 2^513 for F64
}

var floats = map[DType]floatBits{
	F64:  {1 << 62, 0x7ff << 52, true},
	F32:  {1<<62 | 1<<30, 0xff << 23, true},
	BF16: {1<<62 | 1<<46 | 1<<30 | 1<<14, 0xff << 7, true},
	F16:  {1<<62 | 1<<46 | 1<<30 | 1<<14, 0x1f << 10, false}, // from 2^9 on
}

// Extremes counts the numbers, of stored bytes of a type, that are not finite, and those that are finite but larger than any that
// training gives. Of types that are no floats it finds none.
func (d DType) Extremes(b []byte) (notFinite, huge int64) {
	f, ok := floats[d]
	if !ok {
		return 0, 0
	}
	for len(b) >= 64 {
		found := uint64(0)
		for i := 0; i < 64; i += 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			found |= x & (x << 1)
		}
		if found&f.top != 0 {
			for i := 0; i < 64; i += 8 {
				f.count(binary.LittleEndian.Uint64(b[i:]), d.Size(), &notFinite, &huge)
			}
		}
		b = b[64:]
	}
	for len(b) >= 8 {
		f.count(binary.LittleEndian.Uint64(b), d.Size(), &notFinite, &huge)
		b = b[8:]
	}
	var rest [8]byte // zeros behind what is left
	copy(rest[:], b)
	f.count(binary.LittleEndian.Uint64(rest[:]), d.Size(), &notFinite, &huge)
	return notFinite, huge
}

// count counts the numbers of a size that 8 bytes have.
func (f floatBits) count(x uint64, size int, notFinite, huge *int64) {
	for some := x & (x << 1) & f.top; some != 0; some &= some - 1 {
		lane := bits.TrailingZeros64(some) / (8 * size) * (8 * size)
		switch e := x >> lane & f.exponent; {
		case e == f.exponent:
			*notFinite++
		case f.huge:
			*huge++
		}
	}
}
