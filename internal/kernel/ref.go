package kernel

import (
	"math"
	"slices"
)

// The reference of every kernel: short, obviously right, and what runs where no assembly exists. "rows × Block" operands
// are contiguous; cols is a vector of one value per token of a block.

// refGemm computes C (m×n) = A·B, or C += A·B with acc; A is m×k with element (i,p) at a[i·lda+p], or at a[p·lda+i] with
// transA; B is k×n with rows ldb apart, C with rows ldc apart. Sums run over p in order, from zero, and are added to C
// last, so that a column's value does not depend on n or on its neighbours.
func refGemm(m, n, k int, a []float32, lda int, transA bool, b []float32, ldb int, c []float32, ldc int, acc bool) {
	var sum [Block]float32
	rs, ps := lda, 1
	if transA {
		rs, ps = 1, lda
	}
	for i := range m {
		s := sum[:n]
		clear(s)
		for p := range k {
			v := a[i*rs+p*ps]
			for j, w := range b[p*ldb:][:n] {
				s[j] += v * w
			}
		}
		row := c[i*ldc:][:n]
		if acc {
			for j, v := range s {
				row[j] += v
			}
		} else {
			copy(row, s)
		}
	}
}

// refSddmmRow computes out[i] = Σ_b Σ_t dy[b][t]·x[b][cols[i]][t] over nb blocks; consecutive blocks of dy lie dyStep
// values apart, of x xStep.
func refSddmmRow(cols []int32, dy []float32, dyStep int, x []float32, xStep, nb int, out []float32) {
	for i, c := range cols {
		var s float32
		for b := range nb {
			d := dy[b*dyStep:][:Block]
			for t, v := range x[b*xStep+int(c)*Block:][:Block] {
				s += d[t] * v
			}
		}
		out[i] = s
	}
}

// refDotCols adds Σ_f x[f,t]·y[f,t] to out[t]; x and y are rows × Block.
func refDotCols(x, y []float32, out *[Block]float32) {
	for f := 0; f < len(x); f += Block {
		for t := range out {
			out[t] += x[f+t] * y[f+t]
		}
	}
}

// refDotCols3 adds Σ_f w[f]·x[f,t]·y[f,t] to out[t].
func refDotCols3(w, x, y []float32, out *[Block]float32) {
	for f, wf := range w {
		for t := range out {
			out[t] += wf * x[f*Block+t] * y[f*Block+t]
		}
	}
}

// refNorm writes y[f,t] = x[f,t]·r[t]·w[f].
func refNorm(w, x []float32, r *[Block]float32, y []float32) {
	for f, wf := range w {
		for t := range r {
			y[f*Block+t] = x[f*Block+t] * r[t] * wf
		}
	}
}

// refNormBackward adds w[f]·dy[f,t]·r[t] − x[f,t]·c[t] to dx[f,t].
func refNormBackward(w, x, dy []float32, r, c *[Block]float32, dx []float32) {
	for f, wf := range w {
		for t := range r {
			i := f*Block + t
			dx[i] += wf*dy[i]*r[t] - x[i]*c[t]
		}
	}
}

// refMaxCols raises out[t] to max_f x[f,t].
func refMaxCols(x []float32, out *[Block]float32) {
	for f := 0; f < len(x); f += Block {
		for t := range out {
			out[t] = max(out[t], x[f+t])
		}
	}
}

// refExpCols replaces x[f,t] by exp(x[f,t]·scale − shift[t]) and adds the results to sum[t], in order of f.
func refExpCols(x []float32, scale float32, shift, sum *[Block]float32) {
	for f := 0; f < len(x); f += Block {
		for t := range sum {
			v := float32(math.Exp(float64(x[f+t]*scale - shift[t])))
			x[f+t] = v
			sum[t] += v
		}
	}
}

// refScaleCols multiplies x[f,t] by r[t].
func refScaleCols(x []float32, r *[Block]float32) {
	for f := 0; f < len(x); f += Block {
		for t, v := range r {
			x[f+t] *= v
		}
	}
}

// refSoftmaxBackward replaces dp[f,t] by p[f,t]·(dp[f,t] − delta[t])·scale.
func refSoftmaxBackward(p, dp []float32, delta *[Block]float32, scale float32) {
	for f := 0; f < len(p); f += Block {
		for t, d := range delta {
			dp[f+t] = p[f+t] * (dp[f+t] - d) * scale
		}
	}
}

// refSwiGLU writes y = gate·σ(gate)·up, element by element.
func refSwiGLU(gate, up, y []float32) {
	for i, g := range gate {
		y[i] = g * sigmoid(g) * up[i]
	}
}

// refSwiGLUBackward writes the gradients of SwiGLU with respect to gate and up, given dy.
func refSwiGLUBackward(gate, up, dy, dgate, dup []float32) {
	for i, g := range gate {
		s := sigmoid(g)
		d, u := dy[i], up[i]
		dup[i] = d * g * s
		dgate[i] = d * u * s * (1 + g*(1-s))
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// refRotate turns pairs (x1, x2) by the angle of cos and sin: x1' = x1·cos − x2·sin, x2' = x2·cos + x1·sin, in place.
func refRotate(x1, x2, cos, sin []float32) {
	for i, a := range x1 {
		b := x2[i]
		x1[i] = a*cos[i] - b*sin[i]
		x2[i] = b*cos[i] + a*sin[i]
	}
}

// refTranspose writes dst[t·ldd+f] = src[f·Block+t] for f < rows, t < Block.
func refTranspose(rows int, src, dst []float32, ldd int) {
	for f := range rows {
		for t, v := range src[f*Block:][:Block] {
			dst[t*ldd+f] = v
		}
	}
}

// refAccumulate adds x to y.
func refAccumulate(y, x []float32) {
	for i, v := range x {
		y[i] += v
	}
}

// refToPairs rounds x, an even number of features × Block, to bfloat16 and writes features 2f and 2f+1 to row f of y.
func refToPairs(x []float32, y []pair) {
	for i := range y {
		at := i/Block*2*Block + i%Block
		y[i] = pair(ToHalf(x[at])) | pair(ToHalf(x[at+Block]))<<16
	}
}

// refToTokenPairs rounds the 32 tokens of each feature of x to 16 pairs of neighbours, step pairs after those of the feature
// before.
func refToTokenPairs(x []float32, y []pair, step int) {
	for f := range len(x) / Block {
		for t := range Block / 2 {
			y[f*step+t] = pair(ToHalf(x[f*Block+2*t])) | pair(ToHalf(x[f*Block+2*t+1]))<<16
		}
	}
}

// refToTokenColumns rounds 32 features of a block, pairs of tokens before features.
func refToTokenColumns(x []float32, y []pair) {
	for f := range Block {
		for t := range Block / 2 {
			y[t*Block+f] = pair(ToHalf(x[f*Block+2*t])) | pair(ToHalf(x[f*Block+2*t+1]))<<16
		}
	}
}

// refFromPairs is refToPairs's inverse.
func refFromPairs(x []pair, y []float32) {
	for i, v := range x {
		at := i/Block*2*Block + i%Block
		y[at], y[at+Block] = FromHalf(uint16(v)), FromHalf(uint16(v>>16))
	}
}

// refInterleave pairs the values of low and high.
func refInterleave(low, high []uint16, y []pair) {
	for i := range y {
		y[i] = pair(low[i]) | pair(high[i])<<16
	}
}

// refTileGemm computes C = A·B, or C += A·B with acc, for groups of 32 rows and 32 columns, in tiles of the shapes of cfg. A holds,
// for each step along the depth, the tile of the first 16 rows of a group and that of the others; its groups lie aStep apart.
func refTileGemm(cfg *tileConfig, groups, steps int, a []pair, aStep int, b []pair, c []float32, _ []pair, acc bool) {
	for i := range groups * tileGroup * Block {
		row, col := i/Block, i%Block
		sum := c[i]
		if !acc {
			sum = 0
		}
		for s := range steps {
			line := a[row/tileGroup*aStep+(s*tileGroup+row%tileGroup)*tileSide:]
			for p := range int(cfg.rows[6]) {
				x, y := line[p], b[(s*tileSide+p)*Block+col]
				sum += FromHalf(uint16(x)) * FromHalf(uint16(y))
				sum += FromHalf(uint16(x>>16)) * FromHalf(uint16(y>>16))
			}
		}
		c[i] = sum
	}
}

// refTileLines copies rows of steps · 32 values, which lie stride values apart, to the lines of tiles: those of a row lie
// two tiles apart, those of neighbours side by side.
func refTileLines(rows int, src []uint16, stride, steps int, dst []pair) {
	for i := range rows {
		for s := range steps {
			for j := range tileSide {
				at := i*stride + 2*(s*tileSide+j)
				dst[(s*tileGroup+i)*tileSide+j] = pair(src[at]) | pair(src[at+1])<<16
			}
		}
	}
}

// refTransTiles turns 32 rows of 32 values, which lie stride values apart, to their columns, the lines of two tiles, neighbouring
// rows paired.
func refTransTiles(src []uint16, stride int, dst []pair) {
	for i := range tileGroup {
		for j := range tileSide {
			dst[i*tileSide+j] = pair(src[2*j*stride+i]) | pair(src[(2*j+1)*stride+i])<<16
		}
	}
}

// refPartGemm is refTileGemm for three parts of each operand: the tiles of A's follow each other in each step, B's lie bStep
// apart. Of the nine products it adds the six largest.
func refPartGemm(cfg *tileConfig, groups, steps int, a []pair, aStep int, b []pair, bStep int, c []float32, _ []pair, acc bool) {
	for s := range steps {
		for _, parts := range [][2]int{{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}} {
			at := (3*s + parts[0]) * tileGroup * tileSide
			refTileGemm(cfg, groups, 1, a[at:], aStep, b[parts[1]*bStep+s*tileSide*Block:], c, nil, acc)
			acc = true
		}
	}
}

// refSplit returns three values in bfloat16 whose sum is v.
func refSplit(v float32) (parts [3]uint16) {
	for i := range parts {
		parts[i] = ToHalf(v)
		v -= FromHalf(parts[i])
	}
	return parts
}

// refPartLines is refTileLines for the parts of values in float32.
func refPartLines(rows int, src []float32, stride, steps int, dst []pair) {
	for i := range rows {
		for j := range steps * tileSide {
			x, y := refSplit(src[i*stride+2*j]), refSplit(src[i*stride+2*j+1])
			for p := range x {
				dst[((j/tileSide*3+p)*tileGroup+i)*tileSide+j%tileSide] = pair(x[p]) | pair(y[p])<<16
			}
		}
	}
}

// refPartPairs writes the parts, step apart, of n rows of pairs of 2n rows of 32 values, which lie stride values apart.
func refPartPairs(src []float32, stride, n int, dst []pair, step int) {
	for i := range n * Block {
		at := i/Block*2*stride + i%Block
		x, y := refSplit(src[at]), refSplit(src[at+stride])
		for p := range x {
			dst[p*step+i] = pair(x[p]) | pair(y[p])<<16
		}
	}
}

// refTileColumns turns 16 rows of 32 pairs to their columns, the lines of two tiles.
func refTileColumns(src, dst []pair) {
	for i := range tileGroup * tileSide {
		dst[i] = src[i%tileSide*Block+i/tileSide]
	}
}

// refRowsOfTiles turns the lines of two tiles to 16 rows of 32 pairs, their columns.
func refRowsOfTiles(src, dst []pair) {
	for i := range tileGroup * tileSide {
		dst[i%tileSide*Block+i/tileSide] = src[i]
	}
}

// refTokenLines turns rows of 32 tokens, pairs of features, to two lines each, of the even feature and of the odd, tokens paired.
func refTokenLines(x, y []pair) {
	for f := range 2 * len(x) / Block {
		for t := range Block / 2 {
			even, odd := x[f/2*Block+2*t], x[f/2*Block+2*t+1]
			y[f*Block/2+t] = even>>(f%2*16)&0xffff | odd>>(f%2*16)<<16
		}
	}
}

// refExpPairs is refExpCols, x unchanged, with the results rounded by pairs of features.
func refExpPairs(x []float32, scale float32, shift, sum *[Block]float32, y []pair) {
	e := slices.Clone(x)
	refExpCols(e, scale, shift, sum)
	refToPairs(e, y)
}

// refScoreGrads computes p = exp(s·scale − lse) and ds = p·(dp − delta)·scale, keys × Block, and writes p and ds by pairs of queries,
// and ds by pairs of keys.
func refScoreGrads(s, dp []float32, scale float32, lse, delta *[Block]float32, p, dsT, ds []pair) {
	e, d := slices.Clone(s), slices.Clone(dp)
	refExpCols(e, scale, lse, &[Block]float32{})
	refSoftmaxBackward(e, d, delta, scale)
	refToTokenPairs(e, p, tileSide)
	refToTokenPairs(d, dsT, tileSide)
	refToPairs(d, ds)
}

// refTurnPairs is refRotate for the first half of a head's features and the second, rounded by pairs.
func refTurnPairs(x, y []pair, cos, sin []float32) {
	values := make([]float32, 2*len(x))
	refFromPairs(x, values)
	refRotate(values[:len(x)], values[len(x):], cos, sin)
	refToPairs(values, y)
}

// refScalePairs is refScaleCols, x unchanged, with the results rounded by pairs of features.
func refScalePairs(x []float32, r *[Block]float32, y []pair) {
	scaled := slices.Clone(x)
	refScaleCols(scaled, r)
	refToPairs(scaled, y)
}

// refDotPairs is refDotCols for rounded values.
func refDotPairs(x, y []pair, out *[Block]float32) {
	for i, p := range x {
		out[i%Block] += FromHalf(uint16(p))*FromHalf(uint16(y[i])) + FromHalf(uint16(p>>16))*FromHalf(uint16(y[i]>>16))
	}
}

// refPrefetch does nothing: memory is fetched when it is read.
func refPrefetch(*uint16, int, int, int) {}

// refAdamW is [AdamW.Step].
func refAdamW(c *AdamW, w, g, m, v []float32) {
	for i, gi := range g {
		gi *= c.Scale
		m[i] += c.OneLessBeta1 * (gi - m[i])
		v[i] = c.Beta2*v[i] + c.OneLessBeta2*gi*gi
		w[i] = w[i]*c.Keep - c.Rate*m[i]/(float32(math.Sqrt(float64(v[i])))*c.Root+c.Epsilon)
	}
}

// refAttend is [Attend].
func refAttend(full, diagonal int, k, v []float32, ld int, q, p, o []float32, shift, inverse *[Block]float32) {
	for t := range Block {
		peak, keys := float32(math.Inf(-1)), full+min(diagonal, t+1)
		for j := range keys {
			p[j*Block+t] = refScore(k[j:], ld, q[t:])
			peak = max(peak, p[j*Block+t])
		}
		var sum float32
		var out [SmallHead]float32
		for j := range keys {
			w := float32(math.Exp2(float64(p[j*Block+t] - peak)))
			sum += w
			for f := range out {
				out[f] += w * v[f*ld+j]
			}
		}
		shift[t], inverse[t] = peak, 1/sum
		for f, s := range out {
			o[f*Block+t] = s / sum
		}
	}
}

// refScore is the product of a key, or value, and a query.
func refScore(k []float32, ld int, q []float32) (s float32) {
	for f := range SmallHead {
		s += q[f*Block] * k[f*ld]
	}
	return s
}

// refAttendBackward is [AttendBackward] for a number of queries.
func refAttendBackward(tiles, rows, seen int, k, v []float32, ld int, q, do, shift, delta, _, dk, dv, dq []float32) {
	for t := range rows {
		for j := range tiles * AttendKeys {
			if seen>>(j%AttendKeys)&1 == 0 {
				continue
			}
			p := float32(math.Exp2(float64(refScore(k[j:], ld, q[t:]) - shift[t])))
			s := p * (refScore(v[j:], ld, do[t:]) - delta[t])
			for f := range SmallHead {
				dv[f*ld+j] += p * do[f*Block+t]
				dk[f*ld+j] += s * q[f*Block+t]
				dq[f*Block+t] += s * k[f*ld+j]
			}
		}
		seen = 2*seen + 1
	}
}
