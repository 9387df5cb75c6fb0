// Package kernel holds the numeric kernels of training and scoring: matrix products, sampled products and the vector
// loops of the transformer's parts. Each has a readable reference in Go and, where the machine has the instructions,
// generated assembly that is tested against it.
//
// # Layout
//
// Activations are stored by blocks of 32 tokens, features before tokens: element (feature f, token t of block b) of a
// tensor with F features lies at (b·F + f)·32 + t. Every vector instruction then works on 32 tokens of one feature, so
//   - weights are read as they lie in the file (row-major, out × in), for the forward product W·x as for the backward
//     product Wᵀ·dy, from one copy;
//   - reductions over features (norms, softmax over a vocabulary) need no horizontal sums, and the value of a token never
//     depends on which tokens share its block or on how many blocks there are;
//   - the sampled gradient Σₜ dy[row,t]·x[col,t] needs no transpose.
//
// The last block is padded with tokens that hold finite values.
package kernel

//go:generate go run ./gen

// Block is the number of tokens in a block.
const Block = 32

// Blocks returns the number of blocks that n tokens need.
func Blocks(n int) int { return (n + Block - 1) / Block }

// Tensor is an activation of Rows features and any number of token blocks, or a band of features of one.
type Tensor struct {
	Data   []float32
	Stride int // features of the whole tensor: block b starts at b·Stride·Block
	Off    int // first feature of this band
	Rows   int // features of this band
}

// NewTensor views data, of length blocks·rows·Block, as a tensor.
func NewTensor(data []float32, rows int) Tensor { return Tensor{Data: data, Stride: rows, Rows: rows} }

// Band returns features [off, off+rows) of t.
func (t Tensor) Band(off, rows int) Tensor {
	return Tensor{Data: t.Data, Stride: t.Stride, Off: t.Off + off, Rows: rows}
}

// N returns the number of blocks, 0 for a tensor without features.
func (t Tensor) N() int { return len(t.Data) / max(t.Stride*Block, 1) }

// Blk returns block b of the band, Rows × Block values.
func (t Tensor) Blk(b int) []float32 {
	o := (b*t.Stride + t.Off) * Block
	return t.Data[o : o+t.Rows*Block : o+t.Rows*Block]
}
