package checkpoint

import "math"

// EncodeFloat32 converts src to a float type; len(dst) must be len(src)·dtype.Size(). F16 and BF16 round to nearest, ties
// to even, to infinity beyond their range; a NaN stays one, made quiet. F64 and F32 are exact.
func EncodeFloat32(dst []byte, dtype DType, src []float32) error {
	if err := checkLengths(len(src), dtype, len(dst)); err != nil {
		return err
	}
	switch dtype {
	case F64:
		out := view[float64](dst)
		for i, v := range src {
			out[i] = float64(v)
		}
	case F32:
		copy(view[float32](dst), src)
	case F16:
		encodeF16(view[uint16](dst), src)
	case BF16:
		out := view[uint16](dst)
		for i, v := range src {
			out[i] = float32ToBF16(v)
		}
	}
	return nil
}

// float32ToBF16 keeps the upper half of v's bits, rounded: adding half a unit, less one where the kept part is even,
// carries into it exactly when rounding goes up.
func float32ToBF16(v float32) uint16 {
	u := math.Float32bits(v)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40 // a NaN must not round to infinity
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

const (
	halfNormal = 0x38800000 // 2^-14, the least half that is not subnormal, as a float32
	halfBeyond = 0x47800000 // 2^16, the first power of two beyond the halves
)

// encodeF16 rounds to IEEE 754 halves.
func encodeF16(dst []uint16, src []float32) {
	for i, v := range src {
		u := math.Float32bits(v)
		sign := uint16(u >> 16 & 0x8000)
		u &= 0x7fffffff
		if u-halfNormal >= halfBeyond-halfNormal { // wraps around below halfNormal
			dst[i] = sign | extremeHalf(u)
			continue
		}
		// The exponent's bias changes from 127 to 15; the rounding is that of float32ToBF16, and may carry up to infinity.
		dst[i] = sign | uint16((u-112<<23+0xfff+u>>13&1)>>13)
	}
}

// extremeHalf rounds what is no normal half: bits u of a float32 without sign.
func extremeHalf(u uint32) uint16 {
	switch {
	case u < halfNormal:
		// In units of 2^-24, the last place of a half below 2^-14 and of a float32 from 1/2 on, so that adding 1/2 rounds
		// as wanted.
		return uint16(math.Float32bits(math.Float32frombits(u)+0.5) - 0x3f000000)
	case u > 0x7f800000:
		return 0x7e00 | uint16(u>>13&0x1ff)
	}
	return 0x7c00
}
