package kernel

const (
	// tileSide is the number of rows, of columns and of pairs along the depth of a tile.
	tileSide = 16

	// tileGroup is the number of rows whose tiles the kernel multiplies with those of a block at a time.
	tileGroup = 2 * tileSide

	// tileMost bounds the rows of a task and tilePackStep the pairs of their weights that it packs at a time, 1 MiB: half of a
	// second-level cache. They are more than those of other kernels, since products of tiles are so fast that fetching a panel
	// of x costs as much.
	tileMost     = 256
	tilePackStep = 1024

	// tileLeast is the number of rows below which more tasks do not pay.
	tileLeast = 128
)

// tileConfig holds the shapes of the tile registers in the form of LDTILECFG.
type tileConfig struct {
	palette uint8
	_       [15]uint8  // the row to begin at, and reserved
	width   [16]uint16 // of a row, in bytes
	rows    [16]uint8
}

// tileConfigs holds, for each number of pairs along the depth, the shapes of four tiles of sums, two of the left and two of the
// right operand.
var tileConfigs = func() (all [tileSide + 1]tileConfig) {
	for depth := 1; depth <= tileSide; depth++ {
		c := &all[depth]
		c.palette = 1
		for t := range 8 {
			c.width[t], c.rows[t] = 4*tileSide, tileSide
		}
		c.width[4], c.width[5] = uint16(4*depth), uint16(4*depth)
		c.rows[6], c.rows[7] = uint8(depth), uint8(depth)
	}
	return all
}()

// tileBuffer holds packed weights of a task.
type tileBuffer [tileMost * tilePackStep]pair

var tileBuffers = newPool[tileBuffer]()

// tileTask computes rows [r0, r1) of blocks [b0, b1) in products of tiles.
func (m halfMatrix) tileTask(x *Halves, y place, r0, r1, b0, b1 int, acc bool) {
	buf := tileBuffers.Get().(*tileBuffer)
	defer tileBuffers.Put(buf)
	depth := x.depth()
	step := evenStep(depth, tilePackStep, tileSide)
	for p := 0; p < depth; p += step {
		k := min(step, depth-p)
		m.tiles(r0, r1-r0, p, k, buf[:])
		for b := b0; b < b1; b++ {
			next := x.block(min(b+1, b1-1))[p*Block:]
			tileProduct(r1-r0, k, buf[:], x.block(b)[p*Block:], next, y.at(b, r0), acc || p > 0)
		}
	}
}

// tileTaskTo is tileTask for values that to gets, with a depth that is packed at once: a block's stay in the cache until then.
func (m halfMatrix) tileTaskTo(x *Halves, r0, r1, b0, b1 int, to func(b, r int, c []float32)) {
	buf, sums := tileBuffers.Get().(*tileBuffer), borrow((r1-r0)*Block)
	defer tileBuffers.Put(buf)
	defer buffers.Put(sums)
	depth := x.depth()
	m.tiles(r0, r1-r0, 0, depth, buf[:])
	for b := b0; b < b1; b++ {
		tileProduct(r1-r0, depth, buf[:], x.block(b), x.block(min(b+1, b1-1)), *sums, false)
		to(b, r0, *sums)
	}
}

// tiles is packTiles for either order of m.
func (m halfMatrix) tiles(r0, rows, p, k int, dst []pair) {
	if m.trans {
		m.packTransTiles(r0, rows, p, k, dst)
	} else {
		m.packTiles(r0, rows, p, k, dst)
	}
}

// tileProduct computes C = A·B, or C += A·B with acc, for rows × k pairs of A in tiles and k × Block pairs of B; next is likely
// to be the next B. Rows beyond the last whole group are computed apart, since the kernel writes whole groups.
func tileProduct(rows, k int, a, b, next []pair, c []float32, acc bool) {
	groups := rows / tileGroup
	size := tileGroup * tilePairs(k)
	tileGroups(groups, k, a, size, b, next, c, acc)
	if rest := rows % tileGroup; rest > 0 {
		var last [tileGroup * Block]float32
		c = c[groups*tileGroup*Block:][:rest*Block]
		if acc {
			copy(last[:], c)
		}
		tileGroups(1, k, a[groups*size:], size, b, next, last[:], acc)
		copy(c, last[:])
	}
}

// tileGroups is tileProduct for whole groups, whose tiles lie size pairs apart. B is read in steps that stay in the first-level cache while all groups are
// multiplied with them. What is left of the depth after whole tiles has tiles of its own shape: rows of B beyond it are not
// there to be read.
func tileGroups(groups, k int, a []pair, size int, b, next []pair, c []float32, acc bool) {
	if groups == 0 {
		return
	}
	_ = a[(groups-1)*size+tileGroup*tilePairs(k)-1]
	_ = b[k*Block-1]
	_ = c[groups*tileGroup*Block-1]
	whole := k / tileSide
	step := evenStep(whole, depthStep/tileSide, 1)
	for s := 0; s < whole; s += step {
		n := min(step, whole-s)
		fetch := next
		if s+n < whole {
			fetch = b[(s+n)*tileSide*Block:]
		}
		tileGemm(&tileConfigs[tileSide], groups, n, a[s*tileGroup*tileSide:], size, b[s*tileSide*Block:], c, fetch, acc || s > 0)
	}
	if rest := k % tileSide; rest > 0 {
		tileGemm(&tileConfigs[rest], groups, 1, a[whole*tileGroup*tileSide:], size, b[whole*tileSide*Block:], c, next, acc || whole > 0)
	}
}

// tilePairs is the number of pairs in a row of tiles for k pairs.
func tilePairs(k int) int { return ceilDiv(k, tileSide) * tileSide }

// packTiles copies k pairs from pair p of rows [r0, r0+rows) to dst: by groups of rows, then by steps of 16 pairs two tiles of
// 16 rows. What rows beyond the last hold does not matter.
func (m halfMatrix) packTiles(r0, rows, p, k int, dst []pair) {
	size := tileGroup * tilePairs(k)
	values := min(2*k, m.depth-2*p)
	steps := values / (2 * tileSide)
	for g := 0; g*tileGroup < rows; g++ {
		n := min(tileGroup, rows-g*tileGroup)
		at := (r0+g*tileGroup)*m.stride + 2*p
		group := dst[g*size:][:size]
		if steps > 0 {
			_ = m.data[at+(n-1)*m.stride+values-1]
			tileLines(n, m.data[at:], m.stride, steps, group)
		}
		if values == steps*2*tileSide {
			continue
		}
		for i := range n {
			src := m.data[at+i*m.stride:][2*tileSide*steps : values]
			row := group[steps*tileGroup*tileSide+i*tileSide:][:tileSide]
			for j := 0; j < len(src); j += 2 {
				row[j/2] = pair(src[j])
				if j+1 < len(src) {
					row[j/2] |= pair(src[j+1]) << 16
				}
			}
		}
	}
}

// packTransTiles is packTiles for a matrix that is stored transposed: a pair is of two stored rows.
func (m halfMatrix) packTransTiles(r0, rows, p, k int, dst []pair) {
	const square = 2 * tileSide // side of what two tiles are made from
	var edge [square * square]uint16
	size := tileGroup * tilePairs(k)
	for s := 0; s*tileSide < k; s++ {
		f := 2 * (p + s*tileSide)
		depth := min(square, m.depth-f, 2*(k-s*tileSide))
		for g := 0; g*tileGroup < rows; g++ {
			to := dst[g*size+s*tileGroup*tileSide:][:tileGroup*tileSide]
			i := r0 + g*tileGroup
			n := min(tileGroup, rows-g*tileGroup)
			if n == tileGroup && depth == square {
				_ = m.data[(f+square-1)*m.stride+i+square-1]
				transTiles(m.data[f*m.stride+i:], m.stride, to)
				continue
			}
			clear(edge[:])
			for j := range depth {
				copy(edge[j*square:][:n], m.data[(f+j)*m.stride+i:])
			}
			transTiles(edge[:], square, to)
		}
	}
}
