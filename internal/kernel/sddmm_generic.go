//go:build !amd64

package kernel

func sddmm(n int, ptr []int, cols []int32, dy []float32, dyStep int, x []float32, xStep int, out []float32) {
	sddmmGo(n, ptr, cols, dy, dyStep, x, xStep, out)
}

// sddmmHalf is never called: there is no product of pairs on this platform.
func sddmmHalf(n int, ptr []int, cols []int32, dy []pair, dyStep int, x []pair, xStep int, out []float32) {
	panic("kernel: no product of bfloat16 pairs")
}
