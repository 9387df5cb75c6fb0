package kernel

// sddmm is sddmmGo for n of 1, 2 or 4 blocks. It touches the last values of dy and x, so that the assembly, which checks
// no bounds, stays within them as long as the columns do.
func sddmm(n int, ptr []int, cols []int32, dy []float32, dyStep int, x []float32, xStep int, out []float32) {
	rows := len(ptr) - 1
	_ = dy[(n-1)*dyStep+rows*Block-1]
	_ = x[(n-1)*xStep]
	_ = out[len(cols)+sddmmSlack-1]
	if rows == 0 || len(cols) == 0 {
		return
	}
	switch {
	case active >= isAVX512 && n == 4:
		sddmm4AVX512(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	case active >= isAVX512 && n == 2:
		sddmm2AVX512(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	case active >= isAVX512:
		sddmm1AVX512(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	case active == isAVX2 && n == 4:
		sddmm4AVX2(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	case active == isAVX2 && n == 2:
		sddmm2AVX2(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	case active == isAVX2:
		sddmm1AVX2(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	default:
		sddmmGo(n, ptr, cols, dy, dyStep, x, xStep, out)
	}
}

// sddmmHalf adds to out, for the rows that ptr bounds, the sums over n quads, 1 or 2, of dy and x, which lie dyStep and xStep
// pairs apart. It touches the last values of dy and x, since the assembly checks no bounds; who calls it has checked the columns.
func sddmmHalf(n int, ptr []int, cols []int32, dy []pair, dyStep int, x []pair, xStep int, out []float32) {
	rows := len(ptr) - 1
	if rows == 0 || len(cols) == 0 {
		return
	}
	_ = dy[(n-1)*dyStep+rows*quadPairs-1]
	_ = x[n*xStep-1]
	_ = out[len(cols)+sddmmSlack-1]
	if n == 2 {
		sddmmHalf2AVX512BF16(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	} else {
		sddmmHalf1AVX512BF16(rows, &ptr[0], &cols[0], &dy[0], dyStep, &x[0], xStep, &out[0])
	}
}
