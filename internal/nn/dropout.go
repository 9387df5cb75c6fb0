package nn

import (
	"hash/fnv"
	"math"

	"shira/internal/kernel"
)

// dropout sets a share of the values of x to zero and scales the others up, so that their expectation is x (Srivastava et al.
// 2014). Which, is a function of the stream, the run's number and the value's place alone: the layer can be computed again,
// and on any number of threads.
type dropout struct {
	key   uint64
	limit uint32 // a value stays where 16 random bits are not below it
	scale float32
}

// streamOf numbers the random numbers of a weight.
func streamOf(seed uint64, name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return mix(seed) ^ h.Sum64()
}

// mix is SplitMix64's output function (Steele et al. 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func newDropout(stream, run uint64, share float64) dropout {
	return dropout{mix(stream + mix(run)), uint32(math.Round(share * (1 << 16))), float32(1 / (1 - share))}
}

// apply writes what is left of x to y, or adds it with acc. Each of the four random numbers of 16 bits in a word decides on one
// token of a feature.
func (d dropout) apply(x, y kernel.Tensor, acc bool) {
	kernel.Parallel(x.N(), func(b int) {
		xb, yb := x.Blk(b), y.Blk(b)
		for i := 0; i < len(xb); i += 4 {
			bits := mix(d.key + uint64(b*len(xb)+i))
			for j := range 4 {
				v := xb[i+j] * d.scale
				if uint32(bits>>(16*j)&0xffff) < d.limit {
					v = 0
				}
				if acc {
					v += yb[i+j]
				}
				yb[i+j] = v
			}
		}
	})
}
