package nn

import "shira/internal/kernel"

// addBias writes bias[f] to every token of y, or adds it.
func addBias(bias []float32, y kernel.Tensor, acc bool) {
	kernel.Parallel(y.N(), func(b int) {
		blk := y.Blk(b)
		for f, v := range bias {
			row := blk[f*kernel.Block:][:kernel.Block]
			for t := range row {
				if acc {
					row[t] += v
				} else {
					row[t] = v
				}
			}
		}
	})
}

// subtractBias takes bias[f] from every token of y.
func subtractBias(bias []float32, y kernel.Tensor) {
	kernel.Parallel(y.N(), func(b int) {
		blk := y.Blk(b)
		for f, v := range bias {
			row := blk[f*kernel.Block:][:kernel.Block]
			for t := range row {
				row[t] -= v
			}
		}
	})
}

// biasBackward writes db[f] = Σ_t dy[f,t].
func biasBackward(dy kernel.Tensor, db []float32) {
	const features = 16
	kernel.Parallel((len(db)+features-1)/features, func(part int) {
		for f := part * features; f < min((part+1)*features, len(db)); f++ {
			var s float32
			for b := range dy.N() {
				for _, v := range dy.Blk(b)[f*kernel.Block:][:kernel.Block] {
					s += v
				}
			}
			db[f] = s
		}
	})
}
