package kernel

import "time"

// Peak measures the rate of large matrix products, in floating-point operations a second on all threads, in float32 or
// with half in bfloat16: the best of as many as fit into a fifth of a second.
func Peak(half bool) float64 {
	const rows, depth, tokens = 768, 768, 1024
	x, y := NewTensor(make([]float32, depth*tokens), depth), NewTensor(make([]float32, rows*tokens), rows)
	w, wh := make([]float32, rows*depth), make([]uint16, rows*depth)
	var h Halves
	h.Set(x)
	best := time.Hour
	for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; {
		start := time.Now()
		if half {
			MatMulHalf(wh, false, &h, y, false)
		} else {
			MatMul(w, false, x, y, false)
		}
		best = min(best, time.Since(start))
	}
	return 2 * rows * depth * tokens / best.Seconds()
}
