package adapter

import (
	"fmt"
	"hash"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Whole is the delta of a module that was trained whole, as PEFT's modules_to_save are: with V the new weight, ΔW = V − W.
// At strength 1 the result is V, but for the rounding of a difference and a sum.
type Whole struct {
	Name    string // of the module
	Out, In int
	V       []float32 // (Out, In)

	lazy *lazy[[]float32] // has V instead, in an opened adapter
}

// weight returns V.
func (w *Whole) weight() []float32 {
	if w.lazy == nil {
		return w.V
	}
	return *w.lazy.get()
}

// wholeWeight is its tensor, which has the name of the base's.
const wholeWeight = "weight"

// Module returns the full name of the module.
func (w *Whole) Module() string { return w.Name }

// Shape returns the shape of the module's weight.
func (w *Whole) Shape() (out, in int) { return w.Out, w.In }

// Parameters returns the number of trained values.
func (w *Whole) Parameters() int { return w.Out * w.In }

// Norm returns 0: without the base nothing is known of the change.
func (w *Whole) Norm() float64 { return 0 }

// Rows computes rows of ΔW, with the same bits everywhere.
func (w *Whole) Rows(dst, base []float32, first, n int) {
	for i, v := range w.weight()[first*w.In : (first+n)*w.In] {
		dst[i] = v - base[i]
	}
}

func (w *Whole) values() [][]float32 { return [][]float32{w.weight()} }

func (w *Whole) belongs(c *Config) error {
	if !c.saves(w.Name) {
		return fmt.Errorf("it was trained whole, but is none of modules_to_save, %.200q", c.ModulesToSave)
	}
	return nil
}

// saves reports whether module is one of modules_to_save, by PEFT's law: its name ends in an entry.
func (c *Config) saves(module string) bool {
	return slices.ContainsFunc(c.ModulesToSave, func(s string) bool { return module == s || strings.HasSuffix(module, "."+s) })
}

// whole returns the module whose weight a tensor is, where that was trained whole. PEFT also saves an input embedding or an
// output head that was resized, without saying so; it is then one of modules_to_save from now on.
func (c *Config) whole(name string) (module string, ok bool) {
	name, ok = strings.CutPrefix(name, keyPrefix)
	if !ok {
		return "", false
	}
	module, ok = strings.CutSuffix(name, "."+wholeWeight)
	if !ok || c.saves(module) {
		return module, ok
	}
	if last := ShortName(module); slices.Contains(embeddingNames, last) || slices.Contains(headNames, last) {
		c.ModulesToSave = append(c.ModulesToSave, module)
		return module, true
	}
	return "", false
}

func (w *Whole) digest(h hash.Hash) {
	fmt.Fprintf(h, "\x00%s\x00%d\x00%d\x00whole\x00", w.Name, w.Out, w.In)
	digestFloats(h, w.weight())
}

func (w *Whole) fit(out, in int, _ *Config) string { return fitShape(w, out, in) }

func (w *Whole) validate() error {
	v := w.weight()
	if w.Out < 1 || w.In < 1 || len(v) != w.Out*w.In {
		return fault.New(fault.Incompatible, "", "has %d values: want %d×%d", len(v), w.Out, w.In)
	}
	return finite("the weight", v)
}

func (w *Whole) tensors(f Form) []checkpoint.Entry {
	return []checkpoint.Entry{f.float(keyPrefix+w.Name+"."+wholeWeight, []int{w.Out, w.In}, w.weight())}
}

// readWhole reads a weight that was trained whole.
func readWhole(module string, t checkpoint.Tensor, p *problems) Delta {
	if len(t.Shape) != 2 {
		p.Add("%s: was trained whole and has shape %v: only weights of shape (out, in) are supported", fault.Quote(module), t.Shape)
		return nil
	}
	w := &Whole{Name: module, Out: t.Shape[0], In: t.Shape[1]}
	var err error
	if w.V, err = t.Float32s(nil); err == nil {
		err = w.validate()
	}
	if err != nil {
		p.addErr(fault.Quote(module), err)
		return nil
	}
	if isLazy(true, t) {
		w.V, w.lazy = nil, &lazy[[]float32]{tensors: []checkpoint.Tensor{t}, decode: func() (*[]float32, error) {
			v, err := t.Float32s(nil)
			return &v, err
		}}
	}
	return w
}
