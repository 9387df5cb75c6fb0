package checkpoint

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// TestExtremes compares with what a look at each number says, at every place of a buffer.
func TestExtremes(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		dtype DType
		odd   []uint64 // bits of numbers
		bad   int64    // how many of them are not finite
		huge  int64
	}{
		{BF16, []uint64{0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff, 0x7f7f, 0xff00, 0x6000, 0x5fff, 0x1fff}, 5, 3},
		{F16, []uint64{0x7c00, 0xfc00, 0x7e01, 0x7bff, 0xfbff, 0x6000}, 3, 0},
		{F32, []uint64{0x7f800000, 0xff800000, 0x7fc00000, 0xff800001, 0x60000000, 0x5fffffff, uint64(math.Float32bits(math.MaxFloat32))}, 4, 2},
		{F64, []uint64{0x7ff << 52, 0xfff << 52, math.Float64bits(math.NaN()), math.Float64bits(1e200), math.Float64bits(1e100)}, 3, 1},
		{I16, []uint64{0x7f80, 0xffff}, 0, 0},
	} {
		size := c.dtype.Size()
		for n := range 200 {
			b := make([]byte, 0, 8*300)
			for range n {
				v := float32(g.NormFloat64())
				b = binary.LittleEndian.AppendUint64(b, map[DType]uint64{
					BF16: uint64(math.Float32bits(v) >> 16), F32: uint64(math.Float32bits(v)), F64: math.Float64bits(float64(v)), F16: 0x3c00, I16: 1,
				}[c.dtype])
				b = b[:len(b)-8+size]
			}
			for _, x := range c.odd {
				b = binary.LittleEndian.AppendUint64(b, x)
				b = b[:len(b)-8+size]
			}
			b = append(b, make([]byte, n%5*size)...)
			if bad, huge := c.dtype.Extremes(b); bad != c.bad || huge != c.huge {
				t.Fatalf("%s, %d before: %d not finite, %d huge: want %d and %d", c.dtype, n, bad, huge, c.bad, c.huge)
			}
		}
	}
}

func BenchmarkExtremes(b *testing.B) {
	data := make([]byte, digestChunk)
	for i := range data {
		data[i] = byte(0x3c * (i % 2))
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		BF16.Extremes(data)
	}
}
