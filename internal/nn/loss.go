package nn

import (
	"fmt"
	"math"
	"slices"
	"sync"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"shira/internal/kernel"
)

const (
	// logitsBytes bounds the memory of the logits that exist at a time in training; their gradients in bfloat16 need half as
	// much again.
	logitsBytes = 32 << 20
	// scoreRows and scoreBlocks bound the logits of a task without gradients: 1 MiB, half of a second-level cache. The rows are a
	// part of the result.
	scoreRows   = 128
	scoreBlocks = 64
	// trainRows is how many vocabulary entries' logits a task has in training where they are only stored in bfloat16, as
	// exponentials. It is a part of the result.
	trainRows = 256
	// farSum is a sum of exponentials that calls for another reference, for they might overflow.
	farSum = 1e20
	// expRows is how many vocabulary entries are summed in float32 before the sum goes on in float64.
	expRows = 512
)

// CrossEntropy is the sum over counted positions of −log softmax(head·x)[target], times the batch's Scale. Only counted
// positions are projected to logits, a few blocks of them at a time, and each block's gradient is taken while its logits
// exist.
func (g *Graph) CrossEntropy(x *Var, head *Weight) (*Var, error) {
	if err := head.takes(x); err != nil {
		return nil, err
	}
	c := &crossEntropy{g: g, head: head, rows: x.rows, needGrad: x.needGrad}
	c.scratch.New = func() any { return new([]float32) }
	if s := (&kernel.Stack{In: head.In, Out: head.Out, Weights: [][]float32{head.Data}}); x.needGrad && head.Half == nil && head.Dense == nil && s.Small() {
		c.stack = s
	}
	g.loss = c
	inputs := []*G.Node{x.node}
	// A head tied to the embedding's table shares its parameter: the loss adds to the gradient, the embedding, whose
	// backward pass comes last, returns it.
	if g.trained(head.Dense) != nil && !head.Tied {
		inputs = append(inputs, g.param(head.Dense))
	}
	loss := G.NewF32(0)
	fwd := newOp("cross-entropy", scalarType, tensor.ScalarShape(), func(in []G.Value) (G.Value, error) {
		if err := c.forward(values(in[0], x.rows)); err != nil {
			return nil, err
		}
		*loss = G.F32(g.result.Loss * g.batch.Scale)
		return loss, nil
	})
	fwd.wrt = []bool{x.needGrad, true}[:len(inputs)]
	fwd.flops = c.flops
	fwd.diff = func(grad *G.Node) (G.Nodes, error) {
		g.mem.dNormed.reserve(x.rows)
		bwd := newOp("cross-entropy backward", activationType, nominal(x.rows), func([]G.Value) (G.Value, error) {
			if !x.needGrad {
				g.mem.dNormed.get(g.blocks, x.rows)
			}
			return g.mem.dNormed.value, nil
		})
		d, err := bwd.apply(c.node, grad)
		if err != nil {
			return nil, err
		}
		grads := G.Nodes{nil}
		if x.needGrad {
			grads[0] = d
		}
		if len(inputs) > 1 {
			dp, err := g.gradOf(head.Dense, d)
			if err != nil {
				return nil, err
			}
			grads = append(grads, dp)
		}
		return grads, nil
	}
	v := &Var{rows: 1, needGrad: true}
	var err error
	v.node, err = fwd.apply(inputs...)
	c.node = v.node
	return v, err
}

// Logits is head·x for every position, features (the vocabulary) before tokens like any activation. Training and scoring
// never need all of them at once; see CrossEntropy.
func (g *Graph) Logits(x *Var, head *Weight) (*Var, error) {
	if err := head.takes(x); err != nil {
		return nil, err
	}
	v := &Var{rows: head.Out}
	v.act.buf = &buffer{}
	o := newOp("logits", activationType, nominal(head.Out), func(in []G.Value) (G.Value, error) {
		xs := values(in[0], x.rows)
		g.mem.operand(head, xs).mul(head, false, v.act.buf.get(xs.N(), head.Out), false)
		return v.act.buf.value, nil
	})
	var err error
	v.node, err = o.apply(x.node)
	return v, err
}

// Value returns what the last Run computed for v, valid until the next.
func (v *Var) Value() kernel.Tensor { return kernel.NewTensor(v.act.buf.data, v.rows) }

type crossEntropy struct {
	g        *Graph
	node     *G.Node
	head     *Weight
	rows     int
	needGrad bool
	stack    *kernel.Stack // the head, where it is small, in float32 and not trained

	positions []int32 // the counted ones
	targets   []int32
	nll       []float32
	logits    buffer
	factors   []float32 // of the chunk's logits' gradients

	sums    []expSums // (blocks, chunks of the vocabulary)
	picked  []float32 // the targets' logits
	scratch sync.Pool // of logits
	x, dx   buffer    // the counted positions of the chunk, side by side
	right   kernel.Right

	xHalves kernel.Halves           // x in bfloat16
	peak    [][kernel.Block]float32 // of each block, what is taken off the logits
	parts   [][kernel.Block]float32 // (blocks, chunks of the vocabulary): sums of exponentials
}

// flops are those of the logits and of the gradients, which the forward pass takes as well.
func (c *crossEntropy) flops() float64 {
	products := 1
	if c.g.Training && c.needGrad {
		products++
	}
	if c.g.Training && c.head.Dense != nil {
		products++
	}
	return 2 * float64(products) * float64(c.head.Out) * float64(c.head.In) * float64(len(c.positions))
}

// forward computes the loss and, in training, its gradient with respect to x and the head.
func (c *crossEntropy) forward(x kernel.Tensor) error {
	g := c.g
	c.positions, c.targets = c.positions[:0], c.targets[:0]
	for p, t := range g.batch.Targets {
		if t == Ignore {
			continue
		}
		if t < 0 || int(t) >= c.head.Out {
			return fmt.Errorf("target %d at position %d is outside the vocabulary of %d", t, p, c.head.Out)
		}
		c.positions, c.targets = append(c.positions, int32(p)), append(c.targets, t)
	}
	n := len(c.positions)
	c.nll = grow(&c.nll, n)
	gradients := g.Training && (c.needGrad || c.head.Dense != nil)
	var dx kernel.Tensor
	if gradients && c.needGrad {
		dx = g.mem.dNormed.get(g.blocks, c.rows)
		clear(dx.Data)
	}
	if gradients && c.head.Dense != nil && n == 0 {
		clear(c.head.Dense.Grad)
	}
	if !gradients {
		c.score(x)
	} else if c.paired() {
		c.trainPairs(x, dx)
	} else if c.stack != nil {
		c.trainStack(x, dx)
	} else {
		c.train(x, dx)
	}
	g.result = Result{Tokens: n, NLL: c.nll}
	for _, l := range c.nll {
		g.result.Loss += float64(l)
	}
	return nil
}

// train computes the losses of the counted positions of x with their gradients, which it adds to dx and the head's.
func (c *crossEntropy) train(x, dx kernel.Tensor) {
	g, n := c.g, len(c.positions)
	chunk := chunkBlocks(c.head.Out, false) * kernel.Block
	for first := 0; first < n; first += chunk {
		count := min(chunk, n-first)
		xs := c.x.get(kernel.Blocks(count), c.rows)
		gather(x, c.positions[first:first+count], xs)
		logits := c.logits.get(xs.N(), c.head.Out)
		g.mem.operand(c.head, xs).mul(c.head, false, logits, false)
		factors := grow(&c.factors, xs.N()*kernel.Block)
		kernel.Parallel(xs.N(), func(b int) {
			at := first + b*kernel.Block
			k := min(kernel.Block, first+count-at)
			r := (*[kernel.Block]float32)(factors[b*kernel.Block:])
			softmaxLoss(logits.Blk(b), c.targets[at:at+k], c.nll[at:at+k], float32(g.batch.Scale), r)
			if c.head.Dense != nil {
				kernel.ScaleCols(logits.Blk(b), r)
			}
		})
		if c.needGrad {
			dxs := c.dx.get(xs.N(), c.rows)
			g.mem.operand(c.head, logits).mul(c.head, true, dxs, false)
			if c.head.Dense == nil {
				kernel.Parallel(xs.N(), func(b int) {
					kernel.ScaleCols(dxs.Blk(b), (*[kernel.Block]float32)(factors[b*kernel.Block:]))
				})
			}
			scatter(dxs, c.positions[first:first+count], dx)
		}
		if p := c.head.Dense; p != nil {
			kernel.GradDense(logits, xs, p.Grad, first > 0)
		}
	}
}

// trainStack is train for a small head: a block's logits are in the cache until their gradients have been summed.
func (c *crossEntropy) trainStack(x, dx kernel.Tensor) {
	n := len(c.positions)
	blocks := kernel.Blocks(n)
	factors := grow(&c.factors, blocks*kernel.Block)
	factor := func(b int) *[kernel.Block]float32 { return (*[kernel.Block]float32)(factors[b*kernel.Block:]) }
	c.stack.Through(blocks, func(b int, xs []float32) {
		gatherBlock(x, ofBlock(c.positions, b), xs)
	}, func(b int, logits []float32) {
		at, end := b*kernel.Block, min((b+1)*kernel.Block, n)
		softmaxLoss(logits, c.targets[at:end], c.nll[at:end], float32(c.g.batch.Scale), factor(b))
	}, func(b int, dxs []float32) {
		kernel.ScaleCols(dxs, factor(b))
		scatterBlock(dxs, ofBlock(c.positions, b), dx)
	})
}

// paired says whether the logits' gradients exist in bfloat16 alone.
func (c *crossEntropy) paired() bool { return c.needGrad && c.head.Half != nil && c.head.Dense == nil }

// trainPairs is train for gradients in bfloat16 alone. Logits become exponentials while they are in the cache, taken from a reference
// for each position: the largest of its first logits, which is near enough to the largest of all but where logits differ by more than
// 46. Then all are computed again, from their largest.
func (c *crossEntropy) trainPairs(x, dx kernel.Tensor) {
	m := &c.g.mem
	chunk := chunkBlocks(c.head.Out, true) * kernel.Block
	for first := 0; first < len(c.positions); first += chunk {
		positions := c.positions[first:min(first+chunk, len(c.positions))]
		xs := c.x.get(kernel.Blocks(len(positions)), c.rows)
		gather(x, positions, xs)
		c.xHalves.Set(xs)
		factors := grow(&c.factors, xs.N()*kernel.Block)
		targets, nll := c.targets[first:][:len(positions)], c.nll[first:][:len(positions)]
		c.peaks(xs, min(scoreRows, c.head.Out))
		if !c.exponentials(xs, targets, nll, factors) {
			c.peaks(xs, c.head.Out)
			c.exponentials(xs, targets, nll, factors)
		}
		dxs := c.dx.get(xs.N(), c.rows)
		kernel.MatMulHalf(c.head.Half, true, &m.halves, dxs, false)
		kernel.Parallel(xs.N(), func(b int) {
			kernel.ScaleCols(dxs.Blk(b), (*[kernel.Block]float32)(factors[b*kernel.Block:]))
		})
		scatter(dxs, positions, dx)
	}
}

// logitsOf calls f for the logits of every chunk of the first rows entries of the vocabulary, from entry r on.
func (c *crossEntropy) logitsOf(xs kernel.Tensor, rows int, f func(r int, y kernel.Tensor)) {
	kernel.Parallel((rows+trainRows-1)/trainRows, func(i int) {
		r := i * trainRows
		n := min(trainRows, rows-r)
		room := c.scratch.Get().(*[]float32)
		defer c.scratch.Put(room)
		y := kernel.NewTensor(grow(room, xs.N()*n*kernel.Block), n)
		operand{halves: &c.xHalves}.mulSerial(c.head, r, y)
		f(r, y)
	})
}

// peaks writes each position's largest of its first logits.
func (c *crossEntropy) peaks(xs kernel.Tensor, rows int) {
	c.peak = slices.Grow(c.peak[:0], xs.N())[:xs.N()]
	for b := range c.peak {
		c.peak[b] = minusInf
	}
	var mu sync.Mutex
	c.logitsOf(xs, rows, func(_ int, y kernel.Tensor) {
		mu.Lock()
		defer mu.Unlock()
		for b := range c.peak {
			kernel.MaxCols(y.Blk(b), &c.peak[b])
		}
	})
}

// exponentials fills the shared operand with the gradients of the logits of xs up to a factor per position, as softmaxLoss does, and
// writes losses and factors. It returns false where the references are too far from the largest logits.
func (c *crossEntropy) exponentials(xs kernel.Tensor, targets []int32, nll, factors []float32) bool {
	m := &c.g.mem
	m.ahead = nil
	m.halves.Reset(c.head.Out, xs.N())
	blocks := xs.N()
	chunks := (c.head.Out + trainRows - 1) / trainRows
	c.parts = slices.Grow(c.parts[:0], chunks*blocks)[:chunks*blocks]
	picked := grow(&c.picked, len(targets))
	c.logitsOf(xs, c.head.Out, func(r int, y kernel.Tensor) {
		for p, t := range targets {
			if f := int(t) - r; f >= 0 && f < y.Rows {
				picked[p] = y.Blk(p / kernel.Block)[f*kernel.Block+p%kernel.Block]
			}
		}
		for b := range blocks {
			z := &c.parts[b*chunks+r/trainRows]
			*z = [kernel.Block]float32{}
			kernel.ExpCols(y.Blk(b), 1, &c.peak[b], z)
			m.halves.SetBand(b, r, y.Blk(b))
		}
	})
	clear(factors)
	near := true
	for p, t := range targets {
		b, i := p/kernel.Block, p%kernel.Block
		var sum float64
		for _, z := range c.parts[b*chunks:][:chunks] {
			sum += float64(z[i])
		}
		near = near && !(sum > farSum)
		shifted := float64(picked[p]) - float64(c.peak[b][i])
		nll[p] = float32(math.Log(sum) - shifted)
		factors[p] = float32(c.g.batch.Scale / sum)
		m.halves.SetValue(b, int(t), i, float32(math.Exp(shifted)-sum))
	}
	return near
}

// score computes the losses of the counted positions of x: the vocabulary by chunks, each with many positions, so that the head's
// weights are packed once and a chunk's logits stay in the cache. A chunk leaves its maximum and its sum of exponentials for each
// position; they are put together in the order of the vocabulary.
func (c *crossEntropy) score(x kernel.Tensor) {
	m := &c.g.mem
	chunks := (c.head.Out + scoreRows - 1) / scoreRows
	for first := 0; first < len(c.positions); first += scoreBlocks * kernel.Block {
		positions := c.positions[first:min(first+scoreBlocks*kernel.Block, len(c.positions))]
		targets, nll := c.targets[first:][:len(positions)], c.nll[first:][:len(positions)]
		blocks := kernel.Blocks(len(positions))
		xs := c.x.get(blocks, c.rows)
		gather(x, positions, xs)
		o := m.operand(c.head, xs)
		if o.halves == nil {
			o.right = &c.right
			o.right.Set(xs)
		}
		sums, picked := slices.Grow(c.sums[:0], chunks*blocks)[:chunks*blocks], grow(&c.picked, len(positions))
		c.sums = sums
		kernel.Parallel(chunks, func(i int) {
			r0 := i * scoreRows
			rows := min(scoreRows, c.head.Out-r0)
			logits := c.scratch.Get().(*[]float32)
			defer c.scratch.Put(logits)
			y := kernel.NewTensor(grow(logits, blocks*rows*kernel.Block), rows)
			o.mulSerial(c.head, r0, y)
			for p, t := range targets {
				if f := int(t) - r0; f >= 0 && f < rows {
					picked[p] = y.Blk(p / kernel.Block)[f*kernel.Block+p%kernel.Block]
				}
			}
			for b := range blocks {
				s := &sums[b*chunks+i]
				s.peak, s.z = minusInf, [kernel.Block]float32{}
				kernel.MaxCols(y.Blk(b), &s.peak)
				kernel.ExpCols(y.Blk(b), 1, &s.peak, &s.z)
			}
		})
		kernel.Parallel(blocks, func(b int) {
			of := sums[b*chunks:][:chunks]
			for t := range min(kernel.Block, len(nll)-b*kernel.Block) {
				p := b*kernel.Block + t
				nll[p] = float32(logSum(of, t) - float64(picked[p]))
			}
		})
	}
}

// expSums are, for each token of a block, the largest of some logits and the sum of exp(logit − peak).
type expSums struct{ peak, z [kernel.Block]float32 }

// logSum is log Σ exp over the logits of token t, of which sums has the parts.
func logSum(sums []expSums, t int) float64 {
	peak := float32(math.Inf(-1))
	for i := range sums {
		peak = max(peak, sums[i].peak[t])
	}
	var z float64
	for i := range sums {
		z += float64(sums[i].z[t]) * math.Exp(float64(sums[i].peak[t])-float64(peak))
	}
	return math.Log(z) + float64(peak)
}

// chunkBlocks is how many blocks of positions have logits at a time in training, or, with pairs, their gradients in bfloat16.
func chunkBlocks(vocab int, pairs bool) int {
	size := 4
	if pairs {
		size = 2
	}
	return max(1, min(16, logitsBytes/(size*kernel.Block*vocab)))
}

// memory is what the loss needs for blocks of positions, in bytes, and operand the widest operand in bfloat16, in features of a block,
// which is in shared memory.
func (c *crossEntropy) memory(blocks int64) (bytes, operand int64) {
	const block = 4 * kernel.Block
	vocab, rows, threads, half := int64(c.head.Out), int64(c.rows), int64(kernel.Threads()), c.head.Half != nil
	n := min(blocks, int64(chunkBlocks(c.head.Out, c.paired())))
	switch {
	case !c.g.Training:
		n = min(blocks, scoreBlocks)
		bytes, operand = n*block*(rows+threads*scoreRows+2*(vocab+scoreRows-1)/scoreRows), n*rows
		if !half {
			bytes += kernel.RightMemory(c.rows, n)
		}
	case c.paired():
		bytes, operand = n*block*(2*rows+rows/2+threads*trainRows+vocab/trainRows+1), n*vocab
	default:
		bytes, operand = n*block*(2*rows+vocab), n*vocab
	}
	if !half {
		operand = 0
	}
	return bytes, operand
}

// softmaxLoss writes −log softmax(logits)[target] of one block's tokens to nll and replaces the logits
// (vocabulary × 32) by their gradients up to a factor per token, which it writes to r: with z the sum of the exponentials, the
// gradient scale·(softmax − onehot) is (scale/z)·(exp − z·onehot), and the factor is cheaper to apply to what the gradients
// are summed to. The factor of a column without a token is zero.
func softmaxLoss(logits []float32, targets []int32, nll []float32, scale float32, r *[kernel.Block]float32) {
	var peak, z [kernel.Block]float32
	var sum [kernel.Block]float64
	var picked [kernel.Block]float32
	for t := range peak {
		peak[t] = float32(math.Inf(-1))
	}
	kernel.MaxCols(logits, &peak)
	for t, y := range targets {
		picked[t] = logits[int(y)*kernel.Block+t]
	}
	for f := 0; f < len(logits); f += expRows * kernel.Block {
		clear(z[:])
		part := logits[f:min(f+expRows*kernel.Block, len(logits))]
		kernel.ExpCols(part, 1, &peak, &z)
		for t, v := range z {
			sum[t] += float64(v)
		}
	}
	clear(r[:])
	for t, y := range targets {
		nll[t] = float32(math.Log(sum[t]) + float64(peak[t]) - float64(picked[t]))
		r[t] = float32(float64(scale) / sum[t])
		v := &logits[int(y)*kernel.Block+t]
		*v = float32(float64(*v) - sum[t])
	}
}

// gather copies the tokens at positions of x side by side to xs and zeroes the rest of its last block.
func gather(x kernel.Tensor, positions []int32, xs kernel.Tensor) {
	kernel.Parallel(xs.N(), func(b int) { gatherBlock(x, ofBlock(positions, b), xs.Blk(b)) })
}

// ofBlock returns the positions of block b.
func ofBlock(positions []int32, b int) []int32 {
	return positions[b*kernel.Block : min((b+1)*kernel.Block, len(positions))]
}

// gatherBlock is gather for a block.
func gatherBlock(x kernel.Tensor, positions []int32, dst []float32) {
	if len(positions) < kernel.Block {
		clear(dst)
	}
	forRuns(positions, func(t, block, at, n int) {
		src := x.Blk(block)
		for f := 0; f < len(dst); f += kernel.Block {
			copy(dst[f+t:][:n], src[f+at:])
		}
	})
}

// scatter is gather's inverse: it writes the tokens of xs to their positions of x.
func scatter(xs kernel.Tensor, positions []int32, x kernel.Tensor) {
	kernel.Parallel(xs.N(), func(b int) { scatterBlock(xs.Blk(b), ofBlock(positions, b), x) })
}

// scatterBlock is scatter for a block.
func scatterBlock(src []float32, positions []int32, x kernel.Tensor) {
	forRuns(positions, func(t, block, at, n int) {
		dst := x.Blk(block)
		for f := 0; f < len(src); f += kernel.Block {
			copy(dst[f+at:][:n], src[f+t:])
		}
	})
}

// forRuns calls f for every run of neighbours in positions: n from the t-th on are tokens from at on of a block.
func forRuns(positions []int32, f func(t, block, at, n int)) {
	for t := 0; t < len(positions); {
		p := int(positions[t])
		n := 1
		for t+n < len(positions) && int(positions[t+n]) == p+n && (p+n)%kernel.Block > 0 {
			n++
		}
		f(t, p/kernel.Block, p%kernel.Block, n)
		t += n
	}
}
