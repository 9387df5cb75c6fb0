package kernel

// Products of float32 values in tiles of bfloat16: each value is the sum of three parts, which hold all its 24 bits, and of the
// nine products of parts the six are added that are not below the rounding of the product itself. That is six products for one,
// and still faster than one in float32 (Henry, Tang & Heinecke 2019).

const (
	// partRowStep and partStep bound the rows of a task and the pairs of their weights that are packed at a time: 768 KiB. The
	// parts of as many pairs of x, which all these rows are multiplied with, stay in the second-level cache as well: to sum fewer
	// at a time in the first level costs more than it saves.
	partRowStep = 256
	partStep    = 256

	// partsMost bounds the memory of x's parts in bytes: a deeper product is a sum of products.
	partsMost = 16 << 20
)

// partBuffers hold the parts of a task's weights, and of as many pairs of x.
type partBuffers struct {
	weights [3 * partRowStep * partStep]pair
	right   [3 * partStep * Block]pair
	step    [3 * tileSide * Block]pair
}

var partPool = newPool[partBuffers]()

// Right is an activation as the right operand of several products. Where those are computed in parts, it is split once for all.
type Right struct {
	x     Tensor
	from  int    // the first feature of x
	rows  int    // their number
	parts []pair // (blocks, 3, pairs of features, Block); none where a task splits what it needs
}

var rights = newPool[Right]()

// Set makes r the operand x, which is not to change while r is in use.
func (r *Right) Set(x Tensor) {
	r.x, r.from, r.rows, r.parts = x, 0, x.Rows, r.parts[:0]
	if partsPay(tileGroup, x.Rows) {
		r.split(0, x.Rows)
	}
}

// RightMemory is what Set takes for blocks of rows features, in bytes.
func RightMemory(rows int, blocks int64) int64 {
	if !partsPay(tileGroup, rows) {
		return 0
	}
	return blocks * int64(3*ceilDiv(rows, 2)*Block*4)
}

// MatMulMemory is what MatMul keeps for x of so many blocks of rows features, in bytes.
func MatMulMemory(rows int, blocks int64) int64 { return min(RightMemory(rows, blocks), partsMost) }

// split makes r features [from, from+rows) of its tensor, in parts.
func (r *Right) split(from, rows int) {
	r.from, r.rows = from, rows
	size := ceilDiv(rows, 2) * Block
	r.parts = resize(r.parts, r.x.N()*3*size)
	Parallel(r.x.N(), func(b int) { splitPairs(r.x.Blk(b)[from*Block:][:rows*Block], r.parts[b*3*size:][:3*size], size) })
}

// at returns pairs [p, p+k) of block b, whose parts lie step apart. room is for those that were not split before.
func (r *Right) at(b, p, k int, room []pair) (pairs []pair, step int) {
	if len(r.parts) == 0 {
		x := r.x.Blk(b)[(r.from+2*p)*Block:]
		splitPairs(x[:min(2*k, r.rows-2*p)*Block], room, k*Block)
		return room, k * Block
	}
	step = ceilDiv(r.rows, 2) * Block
	return r.parts[b*3*step+p*Block:], step
}

// partsPay tells whether a product is computed in parts: not with so few rows or so little depth that tiles are mostly empty.
// It must not depend on the number of tokens, which a value is not to depend on.
func partsPay(rows, depth int) bool {
	return active == isAMX && rows >= tileGroup && depth >= tileGroup
}

// matMulParts is MatMul in parts.
func matMulParts(a matrix, x, y Tensor, acc bool) {
	g := newTileGrid(y.Rows, x.Rows, y.N(), partRowStep)
	r := rights.Get().(*Right)
	defer rights.Put(r)
	r.x, r.from, r.rows, r.parts = x, 0, x.Rows, r.parts[:0]
	step := x.Rows
	if g.groups > 1 {
		step = evenStep(x.Rows, max(partsMost/(6*max(1, y.N())*Block), depthStep), depthStep)
	}
	for f := 0; f < x.Rows; f += step {
		if g.groups > 1 {
			r.split(f, min(step, x.Rows-f))
		}
		Parallel(g.tasks(), func(i int) {
			r0, r1, b0, b1 := g.task(i)
			partTask(a.from(0, f), r, y, r0, r1, b0, b1, acc || f > 0)
		})
	}
	r.x = Tensor{}
}

// partTask computes rows [r0, r1) of blocks [b0, b1) of MatMul in parts.
func partTask(a matrix, x *Right, y Tensor, r0, r1, b0, b1 int, acc bool) {
	buf := partPool.Get().(*partBuffers)
	defer partPool.Put(buf)
	step := evenStep(ceilDiv(x.rows, 2), partStep, tileSide)
	for p := 0; 2*p < x.rows; p += step {
		depth := min(2*step, x.rows-2*p)
		k := ceilDiv(depth, 2)
		a.from(r0, 2*p).packParts(r1-r0, depth, buf.weights[:], &buf.step)
		for b := b0; b < b1; b++ {
			right, rightStep := x.at(b, p, k, buf.right[:])
			next := right
			if len(x.parts) > 0 && b+1 < b1 {
				next, _ = x.at(b+1, p, k, nil)
			}
			partProduct(r1-r0, k, buf.weights[:], 3*tileGroup*tilePairs(k), right, rightStep, next, y.Blk(b)[r0*Block:], acc || p > 0)
		}
	}
}

// splitPairs writes the parts of x, features × Block, to dst, step apart, by pairs of features.
func splitPairs(x []float32, dst []pair, step int) {
	n := len(x) / (2 * Block)
	partPairs(x, Block, n, dst, step)
	if rest := x[2*n*Block:]; len(rest) > 0 {
		var last [2 * Block]float32
		copy(last[:], rest)
		partPairs(last[:], Block, 1, dst[n*Block:], step)
	}
}

// packParts writes the parts of rows × depth values of m to dst, as packTiles does; the tiles of the parts follow each other in
// each step. pairs is room for those of a step.
func (m matrix) packParts(rows, depth int, dst []pair, pairs *[3 * tileSide * Block]pair) {
	size := 3 * tileGroup * tilePairs(ceilDiv(depth, 2))
	if m.ps == 1 {
		for g := 0; g*tileGroup < rows; g++ {
			m.from(g*tileGroup, 0).packPartRows(min(tileGroup, rows-g*tileGroup), depth, dst[g*size:][:size])
		}
		return
	}
	for s := 0; s*tileGroup < depth; s++ {
		d := min(tileGroup, depth-s*tileGroup)
		for g := 0; g*tileGroup < rows; g++ {
			n := min(tileGroup, rows-g*tileGroup)
			m.from(g*tileGroup, s*tileGroup).packPartColumns(n, d, dst[g*size+s*3*tileGroup*tileSide:], pairs)
		}
	}
}

// packPartRows is packParts for one group of a matrix whose rows are stored.
func (m matrix) packPartRows(n, depth int, dst []pair) {
	steps := depth / tileGroup
	if steps > 0 {
		_ = m.data[(n-1)*m.rs+steps*tileGroup-1]
		partLines(n, m.data, m.rs, steps, dst)
	}
	if rest := depth % tileGroup; rest > 0 {
		edge := edgeOf(m.data[steps*tileGroup:], m.rs, n, rest)
		partLines(n, edge[:], tileGroup, 1, dst[steps*3*tileGroup*tileSide:])
	}
}

// packPartColumns is packParts for one step of one group of a matrix whose columns are stored.
func (m matrix) packPartColumns(n, depth int, dst []pair, pairs *[3 * tileSide * Block]pair) {
	if n == tileGroup && depth == tileGroup {
		_ = m.data[(depth-1)*m.ps+n-1]
		partPairs(m.data, m.ps, tileSide, pairs[:], tileSide*Block)
	} else {
		edge := edgeOf(m.data, m.ps, depth, n)
		partPairs(edge[:], tileGroup, tileSide, pairs[:], tileSide*Block)
	}
	for p := range 3 {
		tileColumns(pairs[p*tileSide*Block:][:tileSide*Block], dst[p*tileGroup*tileSide:][:tileGroup*tileSide])
	}
}

// edgeOf returns a square of zeros with rows of width values in its corner.
func edgeOf(src []float32, stride, rows, width int) (edge [tileGroup * tileGroup]float32) {
	for i := range rows {
		copy(edge[i*tileGroup:][:width], src[i*stride:])
	}
	return edge
}

// partProduct computes C = A·B, or C += A·B with acc, for rows × k pairs of A in tiles of parts, whose groups lie aStep apart,
// and k × Block pairs of B, whose parts lie bStep apart, and so do those of next, which is likely to be the next B.
func partProduct(rows, k int, a []pair, aStep int, b []pair, bStep int, next []pair, c []float32, acc bool) {
	groups := rows / tileGroup
	partGroups(groups, k, a, aStep, b, bStep, next, c, acc)
	if rest := rows % tileGroup; rest > 0 {
		var last [tileGroup * Block]float32
		c = c[groups*tileGroup*Block:][:rest*Block]
		if acc {
			copy(last[:], c)
		}
		partGroups(1, k, a[groups*aStep:], aStep, b, bStep, next, last[:], acc)
		copy(c, last[:])
	}
}

// partGroups is partProduct for whole groups.
func partGroups(groups, k int, a []pair, aStep int, b []pair, bStep int, next []pair, c []float32, acc bool) {
	if groups == 0 {
		return
	}
	whole := k / tileSide
	_ = a[(groups-1)*aStep+3*tileGroup*tilePairs(k)-1]
	_ = b[2*bStep+k*Block-1]
	_ = c[groups*tileGroup*Block-1]
	if whole > 0 {
		partGemm(&tileConfigs[tileSide], groups, whole, a, aStep, b, bStep, c, next, acc)
	}
	if rest := k % tileSide; rest > 0 {
		partGemm(&tileConfigs[rest], groups, 1, a[3*whole*tileGroup*tileSide:], aStep, b[whole*tileSide*Block:], bStep, c, next, acc || whole > 0)
	}
}
