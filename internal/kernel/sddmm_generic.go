//go:build !amd64

package kernel

func sddmm(n int, ptr []int, cols []int32, dy []float32, dyStep int, x []float32, xStep int, out []float32) {
	sddmmGo(n, ptr, cols, dy, dyStep, x, xStep, out)
}
