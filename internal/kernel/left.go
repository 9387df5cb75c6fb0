package kernel

// Left is a matrix in bfloat16 as the left operand of products with blocks of a Halves: in tiles, by groups of 32 rows and steps of
// 32 values along the depth.
type Left struct {
	steps int
	tiles []pair // (groups, steps, 2 tiles of 16 rows × 16 pairs)
}

// stepPairs is the number of pairs of a group of rows in a step.
const stepPairs = tileGroup * tileSide

// Reset makes room for rows × depth values, both multiples of 32.
func (l *Left) Reset(rows, depth int) {
	l.steps = depth / tileGroup
	l.tiles = resize(l.tiles, rows/tileGroup*l.steps*stepPairs)
}

// step returns step s of group g.
func (l *Left) step(g, s int) []pair { return l.tiles[(g*l.steps+s)*stepPairs:][:stepPairs] }

// SetTokens fills the rows of group g with the tokens of block b of x, whose features go along the depth.
func (l *Left) SetTokens(g int, x *Halves, b int) {
	src := x.block(b)
	for s := range l.steps {
		tileColumns(src[s*tileSide*Block:][:tileSide*Block], l.step(g, s))
	}
}

// SetFeatures fills step s with the tokens of block b of x, whose features are the rows.
func (l *Left) SetFeatures(s int, x *Halves, b int) {
	src := x.block(b)
	for g := range len(src) / (tileSide * Block) {
		tokenLines(src[g*tileSide*Block:][:tileSide*Block], l.step(g, s))
	}
}

// Mul computes y = l·x, or adds it to y with acc, for rows [32·g0, 32·g1) of l and y, and for [32·s0, 32·s1) along the depth. x is
// block b of what it is given; y begins at row 32·g0. There is at least one step.
func (l *Left) Mul(g0, g1, s0, s1 int, x *Halves, b int, y []float32, acc bool) {
	groups, steps := g1-g0, s1-s0
	if groups == 0 {
		return
	}
	right := x.block(b)[s0*stepPairs : s1*stepPairs]
	y = y[:groups*tileGroup*Block]
	_ = l.step(g1-1, s1-1)
	if active != isAVX512BF16 {
		tileGemm(&tileConfigs[tileSide], groups, steps, l.tiles[(g0*l.steps+s0)*stepPairs:], l.steps*stepPairs, right, y, right, acc)
		return
	}
	for g := g0; g < g1; g++ {
		c := y[(g-g0)*tileGroup*Block:]
		for s := s0; s < s1; s++ {
			pairGemm(tileGroup, tileSide, pairMatrix{l.step(g, s), tileSide, 1}, right[(s-s0)*stepPairs:], c, acc || s > s0)
		}
	}
}

// PairProducts tells whether the processor multiplies bfloat16 values.
func PairProducts() bool { return active >= isAVX512BF16 }

// ExpHalves fills block 0 of y with exp(x[f,t]·scale − shift[t]) and adds the values to sum[t] before they are rounded, in order of f.
// The number of features is even. The sums are within 3e-6 of themselves, and what ExpCols errs by.
func ExpHalves(x []float32, scale float32, shift, sum *[Block]float32, y *Halves) {
	y.Reset(len(x)/Block, 1)
	expPairs(x, scale, shift, sum, y.pairs)
}

// ScoreGrads computes probabilities p = exp(s·scale − lse) and the gradients ds = p·(dp − delta)·scale of the scores s, given those of
// p. s and dp are keys × Block queries, keys a multiple of 32. p and dsT are left operands with keys as rows, of which it fills one
// step; ds is a right one with keys as features.
func ScoreGrads(s, dp []float32, scale float32, lse, delta *[Block]float32, p, dsT *Left, step int, ds *Halves) {
	const size = tileGroup * Block
	ds.Reset(len(s)/Block, 1)
	for g := range len(s) / size {
		scoreGrads(s[g*size:][:size], dp[g*size:][:size], scale, lse, delta, p.step(g, step), dsT.step(g, step), ds.pairs[g*stepPairs:][:stepPairs])
	}
}
