package nn

import "shira/internal/kernel"

// Memory is what a run of a graph needs besides its weights, in bytes.
type Memory struct {
	Activations int64 // kept for the backward pass
	Shared      int64 // used by all layers in turn
	Logits      int64
	Attention   int64
}

// sizes are features of what is neither in kept nor in the buffers of shared.
type sizes struct {
	keptRows                  int // values that layers keep for each token besides activations
	keptHalf                  int // of the activations that are kept in bfloat16
	halfRows                  int // of the widest operand in bfloat16
	floatRows                 int // of the widest operand in float32
	xTokenRows, dyTokenRows   int // of the widest operands of sampled products
	besideRows                int // of the operands of low-rank changes
	takenRows, takenTokenRows int // of the gradients that are taken in pieces, for products and for sampled ones
	headRows                  int // of what layers share in bfloat16 of the widest attention's input, output and gradient
	pieceRows                 int // of the widest attention's gradient, of which pieces are enough where sequences fill blocks
	attnRows                  int // of a worker's scratch memory for the widest attention
}

// Memory returns what a batch of tokens tokens needs whose longest sequence has longest. The graph must be complete; in
// training, compiled.
func (g *Graph) Memory(tokens, longest int) Memory {
	block := int64(4 * kernel.Block)
	n := int64(kernel.Blocks(tokens))
	var m Memory
	for _, b := range g.kept {
		m.Activations += n * int64(b.most) * block
	}
	m.Activations += n * (int64(g.keptHalf)*block/2 + int64(g.keptRows)*block)
	for _, b := range g.mem.all() {
		m.Shared += n * int64(b.most) * block
	}
	m.Shared += n * int64(g.halfRows+g.xTokenRows+g.dyTokenRows+g.besideRows+g.headRows+g.takenRows+g.takenTokenRows) * block / 2
	if longest < tokens {
		m.Shared += n * int64(max(0, g.pieceRows-g.mem.dQKV.most)) * block
	}
	if g.loss != nil {
		bytes, operand := g.loss.memory(n)
		m.Logits = bytes + max(0, operand-n*int64(g.halfRows))*block/2
	}
	m.Shared += g.productMemory(n)
	m.Attention = int64(kernel.Threads()) * int64(kernel.Blocks(longest)) * block * int64(g.attnRows)
	return m
}

// productMemory is what package kernel keeps for products of blocks in float32.
func (g *Graph) productMemory(blocks int64) int64 {
	bytes := kernel.MatMulMemory(g.floatRows, blocks)
	if c := g.loss; c != nil && g.Training && c.head.Half == nil {
		bytes = max(bytes, kernel.MatMulMemory(c.head.Out, min(blocks, int64(chunkBlocks(c.head.Out, false)))))
	}
	return bytes
}
