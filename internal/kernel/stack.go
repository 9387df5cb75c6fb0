package kernel

import "sync"

const (
	// stackMost bounds the values of a stack, both sides rounded up to whole tiles, and stackSide either side: its parts take
	// 768 KiB of a second-level cache of 2 MiB, and those of a block of what it is multiplied with 96 KiB.
	stackMost = 1 << 17
	stackSide = 512

	// stackParts bounds the ranges of blocks whose sampled sums are kept apart until the end, and that threads share.
	stackParts = 16

	// stackBlocks is the number of blocks that a thread makes, samples and multiplies before it goes on to the next.
	stackBlocks = 4
)

// Stack is small weights with the same inputs, one upon the other. Its products take an activation by blocks: what makes a block and
// what takes the result run while that is in the cache, and a step has few regions of threads.
type Stack struct {
	In, Out int
	Weights [][]float32 // row-major
}

// Small tells whether s is for these products.
func (s *Stack) Small() bool {
	in, out := ceilDiv(s.In, tileGroup)*tileGroup, ceilDiv(s.Out, tileGroup)*tileGroup
	return s.In > 0 && s.Out > 0 && in*out <= stackMost && max(in, out) <= stackSide
}

// stackBuffer holds a thread's copy of a stack, and a block of what is multiplied with it. Rows of tiles are whole lines of the cache.
type stackBuffer struct {
	whole [stackMost]float32
	parts [3 * stackMost / 2]pair
	step  [3 * tileSide * Block]pair
	x     [3 * stackSide / 2 * Block]pair
	left  matrix
}

var stackPool = newPool[stackBuffer]()

// stackProduct is a product with a stack that threads share.
type stackProduct struct {
	s           *Stack
	trans       bool
	rows, depth int
	parts       bool

	mu    sync.Mutex
	ready []*stackBuffer // packed, and with no thread
}

func (s *Stack) product(trans bool) *stackProduct {
	p := &stackProduct{s: s, trans: trans, rows: s.Out, depth: s.In}
	if trans {
		p.rows, p.depth = p.depth, p.rows
	}
	p.parts = partsPay(p.rows, p.depth)
	return p
}

// take returns a packed buffer, to be given back by put.
func (p *stackProduct) take() *stackBuffer {
	p.mu.Lock()
	n := len(p.ready)
	if n > 0 {
		buf := p.ready[n-1]
		p.ready = p.ready[:n-1]
		p.mu.Unlock()
		return buf
	}
	p.mu.Unlock()
	buf := stackPool.Get().(*stackBuffer)
	p.pack(buf)
	return buf
}

func (p *stackProduct) put(buf *stackBuffer) {
	p.mu.Lock()
	p.ready = append(p.ready, buf)
	p.mu.Unlock()
}

// end gives all buffers back.
func (p *stackProduct) end() {
	for _, buf := range p.ready {
		stackPool.Put(buf)
	}
}

// pairs is the depth in pairs, up to whole tiles.
func (p *stackProduct) pairs() int { return tilePairs(ceilDiv(p.depth, 2)) }

// pack fills buf with the left side, which is copied only where it is several weights or in parts.
func (p *stackProduct) pack(buf *stackBuffer) {
	data := p.s.Weights[0]
	if len(p.s.Weights) > 1 {
		data = buf.whole[:0]
		for _, w := range p.s.Weights {
			data = append(data, w...)
		}
	}
	buf.left = matrix{data, p.s.In, 1}
	if p.trans {
		buf.left = matrix{data, 1, p.s.In}
	}
	if !p.parts {
		return
	}
	buf.left.packParts(p.rows, p.depth, buf.parts[:], &buf.step)
	size, used := p.pairs()*Block, ceilDiv(p.depth, 2)*Block
	for part := range 3 {
		clear(buf.x[part*size+used : (part+1)*size])
	}
}

// mul computes y = A·x for a block, or adds it with acc.
func (p *stackProduct) mul(buf *stackBuffer, x, y []float32, acc bool) {
	if !p.parts {
		matMulTask(buf.left, NewTensor(x, p.depth), NewTensor(y, p.rows), 0, p.rows, 0, 1, acc)
		return
	}
	pairs := p.pairs()
	splitPairs(x, buf.x[:], pairs*Block)
	partProduct(p.rows, pairs, buf.parts[:], 3*tileGroup*pairs, buf.x[:], pairs*Block, buf.x[:], y, acc)
}

// Mul computes y = W·x, or adds it to y with acc. before runs before the product of each block.
func (s *Stack) Mul(x, y Tensor, acc bool, before func(b int)) {
	p := s.product(false)
	defer p.end()
	blocks := x.N()
	tasks := min(blocks, 8*Threads())
	Parallel(tasks, func(i int) {
		buf := p.take()
		defer p.put(buf)
		for b := blocks * i / tasks; b < blocks*(i+1)/tasks; b++ {
			before(b)
			p.mul(buf, x.Blk(b), y.Blk(b), acc)
		}
	})
}

// Through goes with each of blocks through W and back, in a thread's memory: fill makes the block x, turn replaces W·x by dy, and take
// gets Wᵀ·dy.
func (s *Stack) Through(blocks int, fill, turn, take func(b int, block []float32)) {
	there, back := s.product(false), s.product(true)
	defer there.end()
	defer back.end()
	tasks := min(blocks, 8*Threads())
	Parallel(tasks, func(i int) {
		w, wt, room := there.take(), back.take(), borrow((s.In+s.Out)*Block)
		defer there.put(w)
		defer back.put(wt)
		defer buffers.Put(room)
		x, y := (*room)[:s.In*Block], (*room)[s.In*Block:]
		for b := blocks * i / tasks; b < blocks*(i+1)/tasks; b++ {
			fill(b, x)
			there.mul(w, x, y, false)
			turn(b, y)
			back.mul(wt, y, x, false)
			take(b, x)
		}
	})
}

// Sampled is a sampled product Σₜ dy[row,t]·x[col,t] with the rows of dy from First on, as Sddmm computes it.
type Sampled struct {
	First int
	Ptr   []int
	Cols  []int32
	DS    []float32
}

// Backward computes sampled products of dy and x and, where dx has values, dx = Wᵀ·dy. before and after, where not nil, run before
// each block's products and after them. The order of summation depends on the shapes
// alone. There is at least one block.
func (s *Stack) Backward(sampled []Sampled, dy, x, dx Tensor, before, after func(b int)) {
	p := s.product(true)
	defer p.end()
	blocks := dy.N()
	span := ceilDiv(ceilDiv(blocks, stackParts), stackBlocks) * stackBlocks
	parts, size := ceilDiv(blocks, span), 0
	for _, d := range sampled {
		size += d.room()
		// The assembly checks no column: out of range here is out of range for one of them.
		_ = x.Blk(0)[int(min(maxColumn(d.entries()), uint32(x.Rows)))*Block:][:1]
	}
	sums := borrow(parts * size)
	defer buffers.Put(sums)
	clear(*sums)
	Parallel(parts, func(i int) {
		var buf *stackBuffer
		if dx.Data != nil {
			buf = p.take()
			defer p.put(buf)
		}
		for b0, end := i*span, min(blocks, (i+1)*span); b0 < end; b0 += stackBlocks {
			b1 := min(b0+stackBlocks, end)
			for b := b0; b < b1 && before != nil; b++ {
				before(b)
			}
			out := (*sums)[i*size:]
			for _, d := range sampled {
				rows := len(d.Ptr) - 1
				sddmmRange(d.Ptr, d.Cols, dy.Band(d.First, rows), x, 0, rows, b0, b1, out[:d.room()])
				out = out[d.room():]
			}
			for b := b0; b < b1; b++ {
				if buf != nil {
					p.mul(buf, dy.Blk(b), dx.Blk(b), false)
				}
				if after != nil {
					after(b)
				}
			}
		}
	})
	off := 0
	for _, d := range sampled {
		first := (*sums)[off:][:d.room()]
		for part := 1; part < parts; part++ {
			accumulate(first, (*sums)[part*size+off:][:d.room()])
		}
		copy(d.DS, first[:len(d.entries())])
		off += d.room()
	}
}

// entries returns the columns of d's rows.
func (d *Sampled) entries() []int32 { return d.Cols[d.Ptr[0]:d.Ptr[len(d.Ptr)-1]] }

// room is the number of values that the sums of a range take: accumulate works on whole blocks.
func (d *Sampled) room() int { return ceilDiv(len(d.entries())+sddmmSlack, Block) * Block }
