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
	half     bool      // matrices are held in bfloat16
	buf      []float32 // for conversions
}

// New returns a binder for m, which holds matrices in bfloat16 with half, in float32 without.
func New(m *checkpoint.Model, half bool) *Binder {
	return &Binder{m: m, bound: map[string]func(checkpoint.Tensor) error{}, views: map[*nn.Weight]checkpoint.Tensor{}, half: half}
}

// Weight declares the matrix name.weight, out × in.
func (b *Binder) Weight(name string, out, in int) *nn.Weight {
	w := &nn.Weight{Name: name, Out: out, In: in}
	b.want(name+".weight", []int{out, in}, func(t checkpoint.Tensor) error {
		if b.half {
			return b.loadHalf(w, t)
		}
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

func (b *Binder) loadHalf(w *nn.Weight, t checkpoint.Tensor) error {
	if v, ok := t.BFloat16View(); ok {
		w.Half, b.views[w] = v, t
		return nil
	}
	values, err := b.read(t)
	if err != nil {
		return err
	}
	w.Half = make([]uint16, len(values))
	w.Set(values)
	t.Release()
	return nil
}

// read returns t's values, valid until the next call.
func (b *Binder) read(t checkpoint.Tensor) ([]float32, error) {
	if v, ok := t.Float32View(); ok {
		return v, nil
	}
	var err error
	b.buf, err = t.Float32s(b.buf)
	return b.buf, err
}

// Values returns w's values as the checkpoint has them, valid until the next call, and not to be written to. It is for
// before w is trained or set: what is in float32 by then is not read again.
func (b *Binder) Values(w *nn.Weight) ([]float32, error) {
	if w.Data != nil {
		return w.Data, nil
	}
	t, ok := b.m.Lookup(w.Name + ".weight")
	if !ok {
		return nil, fault.New(fault.Internal, b.m.Dir(), "no weight %s", fault.Quote(w.Name))
	}
	return b.read(t)
}

// Set gives w other values, of the checkpoint's number.
func (b *Binder) Set(w *nn.Weight, values []float32) {
	b.Own(w)
	w.Set(values)
}

// Release drops what conversions needed, and the mapped file's pages of the weights that are not read in place.
func (b *Binder) Release() {
	b.buf = nil
	for _, w := range b.weights {
		if _, ok := b.views[w]; !ok {
			if t, ok := b.m.Lookup(w.Name + ".weight"); ok {
				t.Release()
			}
		}
	}
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

// Own makes w's values writable: a weight of the file's type is a view of the mapped file until then.
func (b *Binder) Own(w *nn.Weight) {
	if t, ok := b.views[w]; ok {
		w.Data, w.Half = slices.Clone(w.Data), slices.Clone(w.Half)
		t.Release()
		delete(b.views, w)
	}
}
