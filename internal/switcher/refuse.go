package switcher

import (
	"sync"

	"shira/internal/checkpoint"
	"shira/internal/kernel"
)

// factors is a change B·A of a weight of shape (Rows, Cols), A being (r, Cols) with the scale in it, B (Rows, r).
type factors struct {
	r    int
	a, b []float32
}

// fuseRows is how many rows [factors.addTo] works on at a time: their part of a wide weight stays in a core's cache.
const fuseRows = 64

var fuseBuffers = sync.Pool{New: func() any { return new([]float32) }}

// addTo adds B·A to w in its own type, F32 or BF16, on all threads: what a change of low rank costs at the least when it is
// fused. Only whole blocks of columns are added; what is measured has no others.
func (f *factors) addTo(w *Weight) error {
	tasks := (w.Rows + fuseRows - 1) / fuseRows
	errs := make([]error, tasks)
	size := w.DType.Size()
	kernel.Parallel(tasks, func(i int) {
		first := i * fuseRows
		n := min(fuseRows, w.Rows-first)
		stored := w.Data[first*w.Cols*size : (first+n)*w.Cols*size]
		buf := fuseBuffers.Get().(*[]float32)
		defer fuseBuffers.Put(buf)
		rows := as[float32](stored)
		if w.DType != checkpoint.F32 {
			if cap(*buf) < n*w.Cols {
				*buf = make([]float32, n*w.Cols)
			}
			rows = (*buf)[:n*w.Cols]
			if errs[i] = checkpoint.DecodeFloat32(rows, w.DType, stored); errs[i] != nil {
				return
			}
		}
		for c := 0; c+kernel.Block <= w.Cols; c += kernel.Block {
			kernel.Gemm(n, kernel.Block, f.r, f.b[first*f.r:], f.r, false, f.a[c:], w.Cols, rows[c:], w.Cols, true)
		}
		if w.DType != checkpoint.F32 {
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
