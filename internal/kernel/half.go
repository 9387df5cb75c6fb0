package kernel

import (
	"math"
	"unsafe"
)

// pair holds two bfloat16 values that are neighbours along the depth of a product, the first in the lower half.
type pair uint32

// PackHalves rounds x, features × Block, to bfloat16 and writes it to y by pairs of features, zero beyond an odd number.
func PackHalves(x []float32, y []pair) {
	even := len(x) / (2 * Block)
	toPairs(x[:even*2*Block], y[:even*Block])
	if rest := x[even*2*Block:]; len(rest) > 0 {
		for t, v := range rest[:Block] {
			y[even*Block+t] = pair(ToHalf(v))
		}
	}
}

// UnpackHalves is PackHalves's inverse.
func UnpackHalves(x []pair, y []float32) {
	even := len(y) / (2 * Block)
	fromPairs(x[:even*Block], y[:even*2*Block])
	for t := range y[even*2*Block:] {
		y[even*2*Block+t] = FromHalf(uint16(x[even*Block+t]))
	}
}

// RoundHalves rounds src to bfloat16.
func RoundHalves(dst []uint16, src []float32) {
	const part = 1 << 16
	Parallel(ceilDiv(len(src), part), func(i int) {
		at := i * part
		for j, v := range src[at:min(at+part, len(src))] {
			dst[at+j] = ToHalf(v)
		}
	})
}

// ToHalf rounds v to bfloat16, to nearest, ties to even. A NaN stays one.
func ToHalf(v float32) uint16 {
	u := math.Float32bits(v)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// FromHalf returns the value of a bfloat16.
func FromHalf(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// asPairs views values that are neighbours as pairs.
func asPairs(h []uint16) []pair {
	if len(h) < 2 {
		return nil
	}
	return unsafe.Slice((*pair)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}
