package kernel

// gradBlocks is the number of blocks that GradDense sums at a time: it bounds the copies of x and dy that it makes.
const gradBlocks = 32

// GradDense computes dw = dy·xᵀ, or adds to it with acc, summed over all tokens: dw is dy.Rows × x.Rows, row-major. It
// is for training all weights of a matrix; Sddmm computes a few of them. The order of summation is fixed.
func GradDense(dy, x Tensor, dw []float32, acc bool) {
	blocks := x.N()
	if dy.Rows == 0 || x.Rows == 0 {
		return
	}
	if !acc {
		clear(dw[:dy.Rows*x.Rows])
	}
	panels := ceilDiv(x.Rows, Block)
	size := min(blocks, gradBlocks) * Block * Block
	buf := borrow(panels * size)
	defer buffers.Put(buf)
	for b0 := 0; b0 < blocks; b0 += gradBlocks {
		b1 := min(b0+gradBlocks, blocks)
		Parallel(panels, func(j int) { tokenMajor(x, j*Block, b0, b1, (*buf)[j*size:][:size]) })
		step := evenStep(dy.Rows, rowStep, 12)
		Parallel(ceilDiv(dy.Rows, step), func(i int) {
			r0 := i * step
			rows := min(step, dy.Rows-r0)
			a := borrow(rows * ((b1-b0)*Block + packPad))
			defer buffers.Put(a)
			gradRows(rowsOf(dy, r0, rows, b0, b1, *a), rows, (b1-b0)*Block, *buf, size, dw[r0*x.Rows:], x.Rows)
		})
	}
}

// tokenMajor writes features [f, f+Block) of x's blocks [b0, b1) to dst, tokens before features, with zeros beyond the
// last feature.
func tokenMajor(x Tensor, f, b0, b1 int, dst []float32) {
	rows := min(Block, x.Rows-f)
	if rows < Block {
		clear(dst)
	}
	for b := b0; b < b1; b++ {
		Transpose(rows, x.Blk(b)[f*Block:], dst[(b-b0)*Block*Block:], Block)
	}
}

// rowsOf copies features [r0, r0+rows) of dy's blocks [b0, b1) to dst, as a matrix of features × tokens.
func rowsOf(dy Tensor, r0, rows, b0, b1 int, dst []float32) matrix {
	width := (b1-b0)*Block + packPad
	for b := b0; b < b1; b++ {
		src := dy.Blk(b)[r0*Block:]
		for i := range rows {
			copy(dst[i*width+(b-b0)*Block:][:Block], src[i*Block:])
		}
	}
	return matrix{dst, width, 1}
}

// gradRows adds the product of a, rows × tokens, and the panels of x, each tokens × Block and size values apart, to dw,
// whose rows hold n values.
func gradRows(a matrix, rows, tokens int, panels []float32, size int, dw []float32, n int) {
	for f := 0; f < n; f += Block {
		panel := panels[f/Block*size:][:size]
		for t := 0; t < tokens; t += depthStep {
			depth := min(depthStep, tokens-t)
			if n-f >= Block {
				gemm(rows, Block, depth, a.from(0, t), panel[t*Block:], Block, dw[f:], n, true)
			} else {
				addNarrow(rows, n-f, depth, a.from(0, t), panel[t*Block:], dw[f:], n)
			}
		}
	}
}

// addNarrow adds the first cols columns of a product of Block columns to dw, whose rows hold n values.
func addNarrow(rows, cols, depth int, a matrix, b, dw []float32, n int) {
	var c [rowStep * Block]float32
	gemm(rows, Block, depth, a, b, Block, c[:], Block, false)
	for i := range rows {
		for j, v := range c[i*Block:][:cols] {
			dw[i*n+j] += v
		}
	}
}
