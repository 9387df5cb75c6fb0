package nn

import (
	"errors"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"

	"shira/internal/kernel"
)

// watch looks for the first operator of a run whose value is not finite.
type watch struct {
	tokens int
	layer  string // of the last operator that names one
	found  string
}

// errFound ends the run that the watch is for.
var errFound = errors.New("a value is not finite")

// FirstNotFinite runs b again and names the first operator whose value is not finite, in the order of computation, or
// returns "".
func (m *Machine) FirstNotFinite(b Batch) string {
	w := &watch{tokens: len(b.IDs)}
	m.watch(w)
	defer m.watch(nil)
	_, _ = m.Run(b) // ends with errFound where there is something to say
	return w.found
}

func (m *Machine) watch(w *watch) {
	m.g.watched = w != nil
	for _, n := range m.g.graph.AllNodes() {
		if o, ok := n.Op().(*op); ok {
			o.watch = w
		}
	}
}

// see looks at an operator's value.
func (w *watch) see(o *op, v G.Value) error {
	kind, module, named := strings.Cut(o.name, " ")
	if rest, ok := strings.CutPrefix(module, "backward"); ok {
		kind, module = "gradient behind the "+kind, strings.TrimPrefix(rest, " ")
		named = module != ""
	}
	if named {
		w.layer = module
	}
	if w.finite(v) {
		return nil
	}
	w.found = kind + " " + module
	if !named && w.layer != "" {
		w.found = kind + " after " + w.layer
	}
	return errFound
}

func (w *watch) finite(v G.Value) bool {
	switch d := v.Data().(type) {
	case float32:
		return d-d == 0
	case []float32:
		if shape := v.Shape(); len(shape) == 3 { // an activation: the last block's padding is nobody's
			return finiteTokens(kernel.NewTensor(d, shape[1]), w.tokens)
		}
		return Finite(d)
	}
	return true
}

// Finite says whether no value is infinite or NaN.
func Finite(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool { return v-v != 0 })
}

// Finite says whether no value, as products read it, is infinite or NaN.
func (w *Weight) Finite() bool {
	return Finite(w.Data) && !slices.ContainsFunc(w.Half, func(h uint16) bool { v := kernel.FromHalf(h); return v-v != 0 })
}

// Finite says whether no value is infinite or NaN.
func (n *Gain) Finite() bool { return Finite(n.Data) }

func finiteTokens(x kernel.Tensor, tokens int) bool {
	for b := range x.N() {
		n := min(kernel.Block, tokens-b*kernel.Block)
		for i, v := range x.Blk(b) {
			if i%kernel.Block < n && v-v != 0 {
				return false
			}
		}
	}
	return true
}
