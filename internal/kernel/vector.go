package kernel

// The vector loops below work in the calling goroutine on features × Block values; ref.go says what each computes.
// Reslicing checks the lengths for the assembly, which checks none.

// DotCols adds Σ_f x[f,t]·y[f,t] to out[t].
func DotCols(x, y []float32, out *[Block]float32) { dotCols(x, y[:len(x)], out) }

// DotCols3 adds Σ_f w[f]·x[f,t]·y[f,t] to out[t], f < len(w).
func DotCols3(w, x, y []float32, out *[Block]float32) {
	n := len(w) * Block
	dotCols3(w, x[:n], y[:n], out)
}

// Norm writes y[f,t] = x[f,t]·r[t]·w[f], f < len(w). y may be x.
func Norm(w, x []float32, r *[Block]float32, y []float32) {
	n := len(w) * Block
	norm(w, x[:n], r, y[:n])
}

// NormBackward adds w[f]·dy[f,t]·r[t] − x[f,t]·c[t] to dx[f,t], f < len(w).
func NormBackward(w, x, dy []float32, r, c *[Block]float32, dx []float32) {
	n := len(w) * Block
	normBackward(w, x[:n], dy[:n], r, c, dx[:n])
}

// MaxCols raises out[t] to max_f x[f,t]. Whether a NaN is seen depends on its place.
func MaxCols(x []float32, out *[Block]float32) { maxCols(x, out) }

// ExpCols replaces x[f,t] by exp(x[f,t]·scale − shift[t]) and adds the results to sum[t], in order of f. With z the
// argument of the exponential, the result is within 2+2·|z| ulp: about what rounding z costs. In assembly, 0 stands for what
// would be below 2⁻⁶⁴, 5.4e-20.
func ExpCols(x []float32, scale float32, shift, sum *[Block]float32) { expCols(x, scale, shift, sum) }

// ScaleCols multiplies x[f,t] by r[t].
func ScaleCols(x []float32, r *[Block]float32) { scaleCols(x, r) }

// SoftmaxBackward replaces dp[f,t] by p[f,t]·(dp[f,t] − delta[t])·scale: the gradient of a softmax with probabilities p
// whose argument was scaled, given the gradient dp of p and delta[t] = Σ_f p[f,t]·dp[f,t].
func SoftmaxBackward(p, dp []float32, delta *[Block]float32, scale float32) {
	softmaxBackward(p, dp[:len(p)], delta, scale)
}

// SwiGLU writes y = gate·σ(gate)·up for each element. y may be gate or up.
func SwiGLU(gate, up, y []float32) { swiGLU(gate, up[:len(gate)], y[:len(gate)]) }

// SwiGLUBackward writes the gradients of SwiGLU with respect to gate and up, given that of its result. The results may
// replace any of the inputs.
func SwiGLUBackward(gate, up, dy, dgate, dup []float32) {
	n := len(gate)
	swiGLUBackward(gate, up[:n], dy[:n], dgate[:n], dup[:n])
}

// Rotate turns the pairs (x1, x2) by the angles of cos and sin: x1' = x1·cos − x2·sin, x2' = x2·cos + x1·sin, in place.
func Rotate(x1, x2, cos, sin []float32) {
	n := len(x1)
	rotate(x1, x2[:n], cos[:n], sin[:n])
}

// Accumulate adds x to y.
func Accumulate(y, x []float32) { accumulate(y, x[:len(y)]) }

// Transpose writes dst[t·ldd+f] = src[f·Block+t] for f < rows, t < Block: features before tokens become tokens before
// features.
func Transpose(rows int, src, dst []float32, ldd int) {
	if rows == 0 {
		return
	}
	_ = dst[(Block-1)*ldd+rows-1]
	src = src[:rows*Block]
	whole := rows &^ 7
	transpose(whole, src, dst, ldd)
	refTranspose(rows-whole, src[whole*Block:], dst[whole:], ldd)
}
