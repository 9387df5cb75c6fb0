// Package nn holds the fused, differentiable operators of a decoder: one operator per part of a layer, each with its
// forward and backward pass in one file. They run on a gorgonia graph and its tape machine; gorgonia differentiates the
// graph and schedules it, the arithmetic is package kernel's.
//
// Only what a trained parameter needs is computed backwards: an operator whose input depends on no trained parameter
// builds no gradient for it, a frozen weight has no gradient at all, and a sparsely trained weight's gradient is sampled
// at the trained entries (a sampled dense-dense product), never formed as a dense matrix.
package nn

import (
	"errors"
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"shira/internal/kernel"
)

// Ignore marks a position whose next token is not counted in the loss.
const Ignore = -100

// Batch is one or more sequences end to end, without padding.
type Batch struct {
	IDs     []int32 // token ids
	Targets []int32 // Targets[p] is the token that position p must predict, or Ignore
	Lengths []int   // of the sequences; attention does not cross them and positions restart
	// Scale is the weight of a counted token in the loss: 1/n for the mean over n tokens. With gradient accumulation n
	// counts the tokens of all micro-batches.
	Scale float64
	// Number tells the random numbers of one training run of the graph from those of the others.
	Number uint64
}

// Param is a vector of trained values.
type Param struct {
	Name  string
	Value []float32
	Grad  []float32 // of the last Run, same length
	Kind  Kind

	graph *Graph // that node belongs to
	node  *G.Node
	grad  *tensor.Dense
}

// Kind tells parameters apart that optimizers treat differently.
type Kind int

// The kinds.
const (
	Matrix  Kind = iota
	FactorA      // of a low-rank change: takes its input
	FactorB      // makes its output
	Vector       // one value for each feature
)

// Graph is a model under construction and, once compiled, what its operators share.
type Graph struct {
	graph  *G.ExprGraph
	batch  Batch
	blocks int // of the current batch
	tick   *G.Node
	params []*Param

	Options
	mem     shared
	kept    []*buffer // activations that layers keep for the backward pass
	attn    attentionScratch
	loss    *crossEntropy
	watched bool // values must be whole, for somebody looks at them
	nothing *tensor.Dense
	sizes

	again    cost // of what is computed once more
	remaking bool
	result   Result
}

// Options says what a graph is for.
type Options struct {
	// Training keeps what a backward pass needs; without it layers share their memory.
	Training bool
	// Checkpointing keeps no more than each layer's input, and computes the layer again during the backward pass: less
	// memory for a third more time (Chen et al. 2016). The results are the same.
	Checkpointing bool
	// HalfActivations keeps the widest activations, attention's and SwiGLU's inputs, in bfloat16 for the backward pass.
	HalfActivations bool
	// Noise on the embeddings, in training.
	Noise Noise
}

// NewGraph returns an empty graph.
func NewGraph(o Options) *Graph {
	g := &Graph{graph: G.NewGraph(), Options: o}
	// The embedding has no input that changes (the batch is in the closure), but an operator needs one.
	g.tick = G.NewScalar(g.graph, G.Float32, G.WithName("batch"), G.WithValue(float32(0)))
	return g
}

// Var is an activation in the graph.
type Var struct {
	node     *G.Node
	rows     int
	needGrad bool // depends on a trained parameter
	act      activation
	// residual is the gradient that reaches this variable around a block, set when the block's closing sum is
	// differentiated. The block's norm adds it to its own: gorgonia would insert an allocating sum otherwise.
	residual *G.Node
}

// param makes p a trained input of the graph.
func (g *Graph) param(p *Param) *G.Node {
	if p.graph != g {
		p.graph = g
		n := len(p.Value)
		p.Grad = make([]float32, n)
		p.grad = tensor.New(tensor.WithShape(n), tensor.WithBacking(p.Grad))
		p.node = G.NewVector(g.graph, tensor.Float32, G.WithShape(n), G.WithName(p.Name),
			G.WithValue(tensor.New(tensor.WithShape(n), tensor.WithBacking(p.Value))))
		g.params = append(g.params, p)
	}
	return p.node
}

// trained returns p where this graph trains it, and nil otherwise.
func (g *Graph) trained(p *Param) *Param {
	if g.Training {
		return p
	}
	return nil
}

// gradPrefix begins the names of the operators that only pass a gradient on.
const gradPrefix = "grad "

// gradOf is the node of p's gradient, which the backward operator after has already written to p.Grad.
func (g *Graph) gradOf(p *Param, after *G.Node) (*G.Node, error) {
	o := newOp(gradPrefix+p.Name, vectorType, tensor.Shape{len(p.Value)}, func([]G.Value) (G.Value, error) { return p.grad, nil })
	return o.apply(after)
}

// hollow is the graph's value for an activation whose values are elsewhere.
func (g *Graph) hollow() G.Value {
	if g.nothing == nil {
		g.nothing = tensor.New(tensor.WithShape(nominal(1)...), tensor.WithBacking(make([]float32, kernel.Block)))
	}
	return g.nothing
}

func nominal(rows int) tensor.Shape { return tensor.Shape{1, rows, kernel.Block} }

// Result is what Run computed.
type Result struct {
	Loss   float64   // sum over counted tokens of the negative log-likelihood, in nats
	Tokens int       // counted tokens
	NLL    []float32 // per counted token, in order; valid until the next Run
}

// Machine runs a compiled graph.
type Machine struct {
	g  *Graph
	vm interface {
		RunAll() error
		Reset()
		Close() error
	}
}

// Compile differentiates the loss with respect to every trained parameter and compiles the graph.
func (g *Graph) Compile(loss *Var) (*Machine, error) {
	if g.Training {
		if len(g.params) == 0 {
			return nil, errors.New("nothing to train")
		}
		wrt := make(G.Nodes, len(g.params))
		for i, p := range g.params {
			wrt[i] = p.node
		}
		if _, err := G.Grad(loss.node, wrt...); err != nil {
			return nil, fmt.Errorf("differentiating the model: %w", err)
		}
	}
	for _, n := range g.graph.AllNodes() {
		if o, ok := n.Op().(*op); ok {
			o.again = &g.again
		}
	}
	return &Machine{g: g, vm: G.NewTapeMachine(g.graph)}, nil
}

// Params returns the trained parameters in the order of the graph.
func (m *Machine) Params() []*Param { return m.g.params }

// Run computes the loss of b and, in training, every parameter's gradient.
func (m *Machine) Run(b Batch) (*Result, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	m.g.batch, m.g.blocks = b, kernel.Blocks(len(b.IDs))
	err := m.vm.RunAll()
	m.vm.Reset() // after a failure too: the tape machine stands at the failed instruction and would go on from there
	if err != nil {
		return nil, err
	}
	return &m.g.result, nil
}

// Close frees the machine.
func (m *Machine) Close() error { return m.vm.Close() }

func (b *Batch) check() error {
	n := 0
	for _, l := range b.Lengths {
		if l <= 0 {
			return fmt.Errorf("a sequence of length %d", l)
		}
		n += l
	}
	if n != len(b.IDs) || n != len(b.Targets) {
		return fmt.Errorf("%d ids, %d targets, sequences of %d tokens in all", len(b.IDs), len(b.Targets), n)
	}
	if math.IsNaN(b.Scale) || math.IsInf(b.Scale, 0) {
		return fmt.Errorf("loss scale %v", b.Scale)
	}
	return nil
}
