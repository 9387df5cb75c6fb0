// Package bind connects the weights that an architecture declares to the tensors of a checkpoint, and reports every
// missing, misshapen or unexpected tensor in one error.
package bind

import (
	"fmt"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/nn"
)

// Binder collects what an architecture declares. Its methods record problems; Done reports them and loads the data.
type Binder struct {
	m        *checkpoint.Model
	bound    map[string]func(checkpoint.Tensor) error
	order    []string
	problems []string
	weights  []*nn.Weight
	gains    []*nn.Gain
	views    map[*nn.Weight]checkpoint.Tensor // weights that read the mapped file in place
	ignored  []func(name string) bool
}

// New returns a binder for m.
func New(m *checkpoint.Model) *Binder {
	return &Binder{m: m, bound: map[string]func(checkpoint.Tensor) error{}, views: map[*nn.Weight]checkpoint.Tensor{}}
}

// Weight declares the matrix name.weight, out × in.
func (b *Binder) Weight(name string, out, in int) *nn.Weight {
	w := &nn.Weight{Name: name, Out: out, In: in}
	b.want(name+".weight", []int{out, in}, func(t checkpoint.Tensor) error {
		if v, ok := t.Float32View(); ok {
			w.Data, b.views[w] = v, t
			return nil
		}
		var err error
		w.Data, err = t.Float32s(nil)
		t.Release()
		return err
	})
	b.weights = append(b.weights, w)
	return w
}

// Bias declares the vector name.bias as the bias of w.
func (b *Binder) Bias(w *nn.Weight) { w.Bias = b.vector(w.Name+".bias", w.Out) }

// Gain declares the vector name.weight of a norm over n features.
func (b *Binder) Gain(name string, n int) *nn.Gain { return b.vector(name+".weight", n) }

func (b *Binder) vector(name string, n int) *nn.Gain {
	g := &nn.Gain{Name: name}
	b.want(name, []int{n}, func(t checkpoint.Tensor) error {
		var err error
		g.Data, err = t.Float32s(nil)
		return err
	})
	b.gains = append(b.gains, g)
	return g
}

// Ignore declares tensors that may be in the checkpoint and are not used.
func (b *Binder) Ignore(match func(name string) bool) { b.ignored = append(b.ignored, match) }

// Problem records a mismatch that an architecture finds itself.
func (b *Binder) Problem(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

func (b *Binder) want(name string, shape []int, load func(checkpoint.Tensor) error) {
	b.order = append(b.order, name)
	t, ok := b.m.Lookup(name)
	switch {
	case !ok:
		b.Problem("missing %s", name)
	case !slices.Equal(t.Shape, shape):
		b.Problem("%s has shape %v, config.json says %v", name, t.Shape, shape)
	case !t.DType.IsFloat():
		b.Problem("%s has dtype %s, not a floating-point one", name, t.DType)
	}
	b.bound[name] = load
}

// maxListed bounds how many problems one message repeats.
const maxListed = 12

// Done loads everything declared, or reports all that is wrong with the checkpoint.
func (b *Binder) Done() error {
	for _, t := range b.m.Tensors() {
		if b.bound[t.Name] == nil && !slices.ContainsFunc(b.ignored, func(f func(string) bool) bool { return f(t.Name) }) {
			b.Problem("unexpected %s", fault.Quote(t.Name))
		}
	}
	if n := len(b.problems); n > 0 {
		list := b.problems[:min(n, maxListed)]
		more := ""
		if n > maxListed {
			more = fmt.Sprintf("; and %d more", n-maxListed)
		}
		return fault.New(fault.Incompatible, b.m.Dir(), "the weights do not fit the architecture: %s%s", strings.Join(list, "; "), more)
	}
	for _, name := range b.order {
		t, _ := b.m.Lookup(name)
		if err := b.bound[name](t); err != nil {
			return err
		}
	}
	return nil
}

// Weights returns the declared matrices, in order of declaration.
func (b *Binder) Weights() []*nn.Weight { return b.weights }

// Gains returns the declared vectors, in order of declaration.
func (b *Binder) Gains() []*nn.Gain { return b.gains }

// Own makes w's data writable: a weight in float32 is a view of the mapped file until then.
func (b *Binder) Own(w *nn.Weight) {
	if t, ok := b.views[w]; ok {
		w.Data = slices.Clone(w.Data)
		t.Release()
		delete(b.views, w)
	}
}
