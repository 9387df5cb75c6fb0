package nn

import (
	"math"

	"shira/internal/kernel"
)

// Noise is NEFTune's (Jain et al. 2023, section 2): to every embedded value of a training row comes one that is uniform in
// ±Alpha/√(tokens·features), tokens being those of the value's sequence.
type Noise struct {
	Alpha float64 // 0 for none
	Seed  uint64
}

// add adds the noise of a run to x. Each value is a function of the run's number and of its place alone.
func (o Noise) add(x kernel.Tensor, lengths []int, run uint64) {
	key := mix(streamOf(o.Seed, "neftune") + mix(run))
	bounds := make([]float32, 0, x.N()*kernel.Block) // of every token
	for _, l := range lengths {
		bound := float32(o.Alpha / math.Sqrt(float64(l)*float64(x.Rows)))
		for range l {
			bounds = append(bounds, bound)
		}
	}
	kernel.Parallel(x.N(), func(b int) {
		block, first := x.Blk(b), b*kernel.Block
		tokens := min(kernel.Block, len(bounds)-first)
		for f := range x.Rows {
			row := block[f*kernel.Block:][:tokens]
			for t := range row {
				bits := mix(key + uint64(first+t)*uint64(x.Rows) + uint64(f))
				// 24 bits, from -1 to 1 without either.
				unit := float32(int64(bits>>40)*2+1-1<<24) / (1 << 24)
				row[t] += unit * bounds[first+t]
			}
		}
	})
}
