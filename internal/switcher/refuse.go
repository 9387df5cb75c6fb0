package switcher

import (
	"sync"

	"shira/internal/checkpoint"
	"shira/internal/kernel"
)

// factors is a change B·A of a weight of shape (rows, cols), A being (r, cols) with the scale in it, B (rows, r).
type factors struct {
	rows, cols, r int
	a, b          []float32
}

// fuseRows is how many rows [factors.addTo] works on at a time: their part of a wide weight stays in a core's cache.
const fuseRows = 64

var fuseBuffers = sync.Pool{New: func() any { return new([]float32) }}

// addTo adds B·A to a weight in its own type, F32 or BF16, on all threads: what a change of low rank costs at the least when it is
// fused. Only whole blocks of columns are added; what is measured has no others.
func (f *factors) addTo(dtype checkpoint.DType, data []byte) error {
	tasks := (f.rows + fuseRows - 1) / fuseRows
	errs := make([]error, tasks)
	size := dtype.Size()
	kernel.Parallel(tasks, func(i int) {
		first := i * fuseRows
		n := min(fuseRows, f.rows-first)
		stored := data[first*f.cols*size : (first+n)*f.cols*size]
		buf := fuseBuffers.Get().(*[]float32)
		defer fuseBuffers.Put(buf)
		rows := as[float32](stored)
		if dtype != checkpoint.F32 {
			if cap(*buf) < n*f.cols {
				*buf = make([]float32, n*f.cols)
			}
			rows = (*buf)[:n*f.cols]
			if errs[i] = checkpoint.DecodeFloat32(rows, dtype, stored); errs[i] != nil {
				return
			}
		}
		for c := 0; c+kernel.Block <= f.cols; c += kernel.Block {
			kernel.Gemm(n, kernel.Block, f.r, f.b[first*f.r:], f.r, false, f.a[c:], f.cols, rows[c:], f.cols, true)
		}
		if dtype != checkpoint.F32 {
			kernel.RoundHalves(as[uint16](stored), rows)
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
