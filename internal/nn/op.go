package nn

import (
	"fmt"
	"hash"
	"hash/fnv"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"shira/internal/fault"
)

// The types of the graph's values. An activation is (blocks, features, 32), see package kernel.
var (
	activationType = G.TensorType{Dims: 3, Of: tensor.Float32}
	vectorType     = G.TensorType{Dims: 1, Of: tensor.Float32}
	scalarType     = tensor.Float32
)

var opCount atomic.Uint64

// op is a gorgonia operator made of two closures: do computes the value, diff builds the operators of the backward
// pass. What an operator knows besides its inputs (weights, the current batch, saved statistics) is in the closures:
// gorgonia sees only the dependencies.
type op struct {
	name  string
	id    uint64
	in    []hm.Type
	out   hm.Type
	shape tensor.Shape // nominal: the number of blocks changes from batch to batch
	do    func(in []G.Value) (G.Value, error)
	wrt   []bool // inputs that a gradient is built for; nil for an operator of the backward pass
	diff  func(grad *G.Node) (G.Nodes, error)
	flops func() float64 // of the current batch's matrix products; nil for none
	cost  cost
	again *cost  // of values that are computed once more on the way, which are not the operator's own; nil for none
	watch *watch // nil but for a run that looks for numbers that are none
}

func newOp(name string, out hm.Type, shape tensor.Shape, do func([]G.Value) (G.Value, error)) *op {
	return &op{name: name, id: opCount.Add(1), out: out, shape: shape, do: do}
}

// apply adds the operator to the graph of its inputs.
func (o *op) apply(in ...*G.Node) (*G.Node, error) {
	for _, n := range in {
		o.in = append(o.in, n.Type())
	}
	return G.ApplyOp(o, in...)
}

func (o *op) Arity() int { return len(o.in) }

// Type builds a new function type at each call: gorgonia returns it to a pool that the whole process shares.
func (o *op) Type() hm.Type {
	return hm.NewFnType(append(append([]hm.Type{}, o.in...), o.out)...)
}

func (o *op) InferShape(...G.DimSizer) (tensor.Shape, error) { return o.shape, nil }

// Do runs the operator. A panic would end the process without a trace of its layer, as the tape machine runs operators
// on a goroutine of its own.
func (o *op) Do(in ...G.Value) (v G.Value, err error) {
	debug.SetPanicOnFault(true) // weights may be views of a mapped file, which somebody may shorten
	defer o.account(time.Now())()
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(interface{ Addr() uintptr }); ok {
				err = fault.New(fault.Environment, "", "the model's file changed while it was in use")
				return
			}
			err = fmt.Errorf("%s: %v\n%s", o.name, r, debug.Stack())
		}
	}()
	v, err = o.do(in)
	if o.watch != nil && err == nil {
		err = o.watch.see(o, v)
	}
	return v, err
}

func (o *op) ReturnsPtr() bool     { return true }
func (o *op) CallsExtern() bool    { return false }
func (o *op) OverwritesInput() int { return -1 }

// WriteHash includes the operator's number: common-subexpression elimination compares hashes only.
func (o *op) WriteHash(h hash.Hash) { fmt.Fprintf(h, "%s#%d", o.name, o.id) }

func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *op) String() string { return o.name }

func (o *op) DiffWRT(n int) []bool {
	if o.wrt == nil {
		return make([]bool, n)
	}
	return o.wrt
}

func (o *op) SymDiff(_ G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	if o.diff == nil {
		return nil, fmt.Errorf("%s is not differentiable", o.name)
	}
	return o.diff(grad)
}
