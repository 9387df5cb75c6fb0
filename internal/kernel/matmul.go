package kernel

import "sync"

const (
	// depthStep bounds the features that a product sums at a time: 256 of them are a panel of 32 KiB of x, which the
	// tiles of a row group read from the first-level cache or close to it. It is part of the result, which is the sum of
	// the partial sums, and therefore the same for all shapes, and for all instruction sets but tiles.
	depthStep = 256

	// rowStep bounds the rows of a task, a multiple of every tile height: its weights, rowStep × depthStep, take a tenth
	// of the second-level cache, and each panel of x that is fetched serves all of them.
	rowStep = 96

	// packBlocks is the number of blocks from which on copying the weights of a task pays.
	packBlocks = 16

	// packPad keeps the rows of a copy from falling into one set of the cache.
	packPad = 16

	// taskWork is the least number of multiply-adds for which handing out a task is worth while.
	taskWork = 1 << 19
)

// MatMul computes y = W·x for every token, or y = Wᵀ·x with trans, or adds the product to y with acc. W is row-major,
// y.Rows × x.Rows, or x.Rows × y.Rows with trans. y must not overlap x or w and has as many blocks as x.
//
// A value of y is the sum, in order, of one fused chain of products for each depth step of features, or, where the processor has
// tiles, of products of parts (parts.go), with errors of the same size. It does not depend on the other tokens, on their number
// or on the number of threads.
func MatMul(w []float32, trans bool, x, y Tensor, acc bool) {
	a := matrix{w, x.Rows, 1}
	if trans {
		a = matrix{w, 1, y.Rows}
	}
	if x.Rows == 0 {
		zeroProduct(y, acc)
		return
	}
	if partsPay(y.Rows, x.Rows) {
		matMulParts(a, x, y, acc)
		return
	}
	g := newGrid(y.Rows, x.Rows, y.N(), 8*Threads())
	Parallel(g.tasks(), func(i int) {
		r0, r1, b0, b1 := g.task(i)
		matMulTask(a, x, y, r0, r1, b0, b1, acc)
	})
}

// MatMulSerial is MatMul for y = W·x in the calling goroutine, which packs each weight once for all blocks. Its values may be
// those of other kernels where W has few rows.
func MatMulSerial(w []float32, x *Right, y Tensor) {
	if x.rows == 0 {
		zeroProduct(y, false)
		return
	}
	a, parts := matrix{w, x.rows, 1}, partsPay(y.Rows, x.rows)
	step := evenStep(y.Rows, rowStep, 12)
	if parts {
		step = evenStep(y.Rows, partRowStep, tileGroup)
	}
	for r := 0; r < y.Rows; r += step {
		next := min(r+step, y.Rows)
		if parts {
			partTask(a, x, y, r, next, 0, y.N(), false)
		} else {
			matMulTask(a, x.x, y, r, next, 0, y.N(), false)
		}
	}
}

// zeroProduct is a product without depth.
func zeroProduct(y Tensor, acc bool) {
	for b := range y.N() {
		if !acc {
			clear(y.Blk(b))
		}
	}
}

// matMulTask computes rows [r0, r1) of blocks [b0, b1) of MatMul.
func matMulTask(a matrix, x, y Tensor, r0, r1, b0, b1 int, acc bool) {
	var buf *packBuffer
	if b1-b0 >= packBlocks {
		buf = packBuffers.Get().(*packBuffer)
		defer packBuffers.Put(buf)
	}
	step := evenStep(x.Rows, depthStep, 8)
	for p := 0; p < x.Rows; p += step {
		depth := min(step, x.Rows-p)
		tile := a.from(r0, p)
		if buf != nil {
			tile = tile.pack(r1-r0, depth, buf[:])
		}
		for b := b0; b < b1; b++ {
			gemm(r1-r0, Block, depth, tile, x.Blk(b)[p*Block:], Block, y.Blk(b)[r0*Block:], Block, acc || p > 0)
		}
	}
}

// packBuffer holds the weights of a task for one depth step.
type packBuffer [rowStep * (depthStep + packPad)]float32

var packBuffers = newPool[packBuffer]()

func newPool[T any]() *sync.Pool { return &sync.Pool{New: func() any { return new(T) }} }

// pack copies rows × depth values of m to dst in the order of m, densely: weights that lie a row of the whole matrix
// apart share few sets of the cache where its width is a power of two, and a page each.
func (m matrix) pack(rows, depth int, dst []float32) matrix {
	if m.ps != 1 {
		for p := range depth {
			copy(dst[p*rows:][:rows], m.data[p*m.ps:])
		}
		return matrix{dst, 1, rows}
	}
	width := depth + packPad
	for i := range rows {
		copy(dst[i*width:][:depth], m.data[i*m.rs:])
	}
	return matrix{dst, width, 1}
}

// grid divides a product into tasks of some rows and some blocks.
type grid struct {
	rows, blocks   int // of the whole
	rowsPer        int // of a task, but for the last
	blocksPer      int
	groups, layers int // number of tasks along rows and along blocks
}

// newGrid divides rows × blocks, of which each value sums depth products, into tasks of about the same size, at least as
// many as wanted if those are worth handing out.
func newGrid(rows, depth, blocks, tasks int) grid {
	return newGridOf(evenStep(rows, rowStep, 12), rows, depth, blocks, tasks)
}

// newTileGrid is newGrid for products of tiles, with at most limit rows a task.
func newTileGrid(rows, depth, blocks, limit int) grid {
	groups := ceilDiv(ceilDiv(rows, limit), Threads()) * Threads()
	return newGridOf(evenStep(rows, max(ceilDiv(rows, max(groups, 1)), tileLeast), tileGroup), rows, depth, blocks, 2*Threads())
}

// newGridOf is newGrid with rowsPer rows a task.
func newGridOf(rowsPer, rows, depth, blocks, tasks int) grid {
	g := grid{rows: rows, blocks: blocks, rowsPer: rowsPer}
	if rows == 0 || blocks == 0 {
		return g
	}
	g.groups = ceilDiv(rows, g.rowsPer)
	least := ceilDiv(taskWork, g.rowsPer*depth*Block)
	wanted := ceilDiv(tasks, g.groups)
	g.blocksPer = evenStep(blocks, max(ceilDiv(blocks, wanted), least), 1)
	g.layers = ceilDiv(blocks, g.blocksPer)
	return g
}

func (g grid) tasks() int { return g.groups * g.layers }

// task returns the rows [r0, r1) and blocks [b0, b1) of task i. Neighbours share their rows.
func (g grid) task(i int) (r0, r1, b0, b1 int) {
	r0, b0 = i/g.layers*g.rowsPer, i%g.layers*g.blocksPer
	return r0, min(r0+g.rowsPer, g.rows), b0, min(b0+g.blocksPer, g.blocks)
}

// evenStep returns the step, a multiple of unit and at most limit if that is one, that covers n in as few and as even
// steps as possible.
func evenStep(n, limit, unit int) int {
	steps := max(1, ceilDiv(n, limit))
	return ceilDiv(ceilDiv(n, steps), unit) * unit
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
