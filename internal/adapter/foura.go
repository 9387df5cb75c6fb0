package adapter

import (
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/kernel"
)

// FouRA is the delta of FouRA: y += s·F⁻¹(B·(g ⊙ A·F(x))) for each token. With no gate, or one that is frozen, that is the
// matrix ΔW = s·F⁻¹·B·diag(g)·A·F; with a gate that depends on the input it is none.
type FouRA struct {
	Name       string // of the module
	Out, In, R int
	Basis      kernel.Basis // F, and the shapes of A and B
	A, B       []float32
	Alpha      float64 // of the module
	Scale      float32 // s: alpha/r
	Gate       *Gate   // g; nil for 1

	mu    sync.Mutex              // of making plain
	plain atomic.Pointer[LowRank] // what it is without F, until it is released
}

// Gate is the gate of a FouRA: one value for each component, either g = σ((h(u) − θ)/τ) with h the entropy of σ(u), u = W₂·gelu(W₁·z
// + b₁) + b₂ and z the components, or its mean over some data.
type Gate struct {
	Hidden      int // values of gelu; 0 for u = W₂·z + b₂
	Temperature float32
	Hard        bool // whether g is 1 above ½ and 0 elsewhere

	W1, B1, W2, B2, Threshold []float32 // (Hidden, inputs), (Hidden), (R, Hidden or inputs), (R), (R)

	Mean []float32 // (R) of a frozen gate, which has nothing else
}

// The values of Config.Transform and Config.Gate.
const (
	TransformNone = "none"
	TransformDCT  = "dct"
	TransformDFT  = "dft"

	GateNone   = "none"
	GateSoft   = "soft"
	GateHard   = "hard"
	GateFrozen = "frozen"
)

// Gates are the values of Config.Gate.
var Gates = []string{GateNone, GateSoft, GateHard, GateFrozen}

// bases are the transforms by name.
var bases = map[string]kernel.Basis{TransformNone: kernel.Plain, TransformDCT: kernel.Cosine, TransformDFT: kernel.Fourier}

// Transforms returns the values of Config.Transform, sorted.
func Transforms() []string { return slices.Sorted(maps.Keys(bases)) }

// BasisOf returns the basis that a transform's name stands for.
func BasisOf(transform string) kernel.Basis { return bases[transform] }

// Module returns the full name of the module.
func (f *FouRA) Module() string { return f.Name }

// Shape returns the shape of the module's weight.
func (f *FouRA) Shape() (out, in int) { return f.Out, f.In }

// Parameters returns the number of trained values.
func (f *FouRA) Parameters() int {
	n := len(f.A) + len(f.B)
	if g := f.Gate; g != nil {
		n += len(g.W1) + len(g.B1) + len(g.W2) + len(g.B2) + len(g.Threshold) + len(g.Mean)
	}
	return n
}

// InputDependent says whether the delta changes with the input, so that it is no change of the weight.
func (f *FouRA) InputDependent() bool { return f.Gate != nil && f.Gate.Mean == nil }

// InputDependent says whether what the adapter does depends on a gate that sees the input: it is then computed beside the
// weights, and cannot be added to them.
func (a *Adapter) InputDependent() bool {
	return slices.ContainsFunc(a.Deltas, func(d Delta) bool {
		f, ok := d.(*FouRA)
		return ok && f.InputDependent()
	})
}

// Freeze fixes the gate to the given values, one for each component.
func (f *FouRA) Freeze(mean []float32) {
	f.Gate = &Gate{Mean: mean}
	f.plain.Store(nil)
}

// lowRank returns the delta without its transform, the gate in A. A gate that depends on the input counts as open.
func (f *FouRA) lowRank() *LowRank {
	if l := f.plain.Load(); l != nil {
		return l
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.plain.Load(); l != nil {
		return l
	}
	c := f.Basis.Components(f.R)
	l := &LowRank{Name: f.Name, Out: f.Out, In: f.In, R: c, A: make([]float32, c*f.In), B: make([]float32, f.Out*c), Scale: f.Scale}
	f.Basis.Down(f.R, f.In, f.A, l.A)
	f.Basis.Up(f.R, f.Out, f.B, l.B)
	if f.Gate != nil && f.Gate.Mean != nil {
		for k := range c {
			for i := range f.In {
				l.A[k*f.In+i] *= f.Gate.Mean[k%f.R]
			}
		}
	}
	f.plain.Store(l)
	return l
}

// Norm returns that of ΔW, with a gate that depends on the input when that is open.
func (f *FouRA) Norm() float64 { return f.lowRank().Norm() }

// Rows computes rows of ΔW. Those of a delta that depends on the input are not a number, so that none of them is saved;
// [CheckAll] refuses such a delta.
func (f *FouRA) Rows(dst, base []float32, first, n int) {
	if f.InputDependent() {
		for i := range dst[:n*f.In] {
			dst[i] = float32(math.NaN())
		}
		return
	}
	f.lowRank().Rows(dst, base, first, n)
}

func (f *FouRA) belongs(c *Config) error {
	if err := c.wants("foura"); err != nil {
		return err
	}
	r, alpha, err := c.Rank(f.Name)
	switch {
	case err != nil:
		return err
	case r != f.R || alpha != f.Alpha || c.Scale(r, alpha) != f.Scale:
		return fmt.Errorf("rank %d, alpha %v and scale %v are not those of the configuration: %d, %v and %v",
			f.R, f.Alpha, f.Scale, r, alpha, c.Scale(r, alpha))
	case f.Basis != BasisOf(c.Transform):
		return fmt.Errorf("the transform is not that of the configuration, %s", fault.Quote(c.Transform))
	case f.Gate.Kind() != c.Gate:
		return fmt.Errorf("the gate is %s, by the configuration it is %s", f.Gate.Kind(), fault.Quote(c.Gate))
	case f.Gate != nil && f.Gate.Mean == nil && float64(f.Gate.Temperature) != float64(float32(c.GateTemperature)):
		return fmt.Errorf("the gate's temperature is %v, by the configuration it is %v", f.Gate.Temperature, c.GateTemperature)
	}
	return nil
}

// Kind is the gate's name in configurations.
func (g *Gate) Kind() string {
	switch {
	case g == nil:
		return GateNone
	case g.Mean != nil:
		return GateFrozen
	case g.Hard:
		return GateHard
	}
	return GateSoft
}

// part is one of the tensors of a FouRA.
type part struct {
	suffix string
	shape  []int
	values *[]float32
}

// The tensors of a FouRA delta. The gate's are named as those of a torch.nn.Sequential(Linear, GELU, Linear).
const (
	fouraA = "foura_A.weight"
	fouraB = "foura_B.weight"
	gateW1 = "foura_gate.0.weight"
	gateB1 = "foura_gate.0.bias"
	gateW2 = "foura_gate.2.weight"
	gateB2 = "foura_gate.2.bias"
	gateT  = "foura_gate.threshold"
	gateM  = "foura_gate.mean"
)

var fouraSuffixes = []string{fouraA, fouraB, gateW1, gateB1, gateW2, gateB2, gateT, gateM}

// parts returns the tensors, for the sizes that f has.
func (f *FouRA) parts() []part {
	list := []part{{fouraA, []int{f.R, f.In}, &f.A}, {fouraB, []int{f.Out, f.R}, &f.B}}
	if f.Basis == kernel.Fourier {
		list = []part{{fouraA, []int{f.R, f.In/2 + 1, 2}, &f.A}, {fouraB, []int{f.Out/2 + 1, f.R, 2}, &f.B}}
	}
	g, inputs := f.Gate, f.Basis.Components(f.R)
	switch {
	case g == nil:
		return list
	case g.Kind() == GateFrozen:
		return append(list, part{gateM, []int{f.R}, &g.Mean})
	case g.Hidden > 0:
		list = append(list, part{gateW1, []int{g.Hidden, inputs}, &g.W1}, part{gateB1, []int{g.Hidden}, &g.B1})
		inputs = g.Hidden
	}
	return append(list, part{gateW2, []int{f.R, inputs}, &g.W2}, part{gateB2, []int{f.R}, &g.B2}, part{gateT, []int{f.R}, &g.Threshold})
}

// tensors returns all parts.
func (f *FouRA) tensors(form Form) []checkpoint.Entry {
	var entries []checkpoint.Entry
	for _, p := range f.parts() {
		entries = append(entries, form.float(keyPrefix+f.Name+"."+p.suffix, p.shape, *p.values))
	}
	return entries
}

func (f *FouRA) values() [][]float32 {
	var list [][]float32
	for _, p := range f.parts() {
		list = append(list, *p.values)
	}
	return list
}

// digest writes everything that determines what the delta does.
func (f *FouRA) digest(h hash.Hash) {
	fmt.Fprintf(h, "\x00%s\x00%d\x00%d\x00%d\x00%d\x00%x\x00%s\x00", f.Name, f.Out, f.In, f.R, f.Basis, math.Float32bits(f.Scale), f.Gate.Kind())
	if f.InputDependent() {
		fmt.Fprintf(h, "%d\x00%x\x00", f.Gate.Hidden, math.Float32bits(f.Gate.Temperature))
	}
	for _, p := range f.parts() {
		digestFloats(h, *p.values)
	}
}

func (f *FouRA) fit(out, in int, _ *Config) string { return fitShape(f, out, in) }

func (f *FouRA) validate() error {
	if f.R < 1 || f.Out < 1 || f.In < 1 {
		return fault.New(fault.Incompatible, "", "is of rank %d for a weight of shape (%d, %d)", f.R, f.Out, f.In)
	}
	for _, p := range f.parts() {
		n := 1
		for _, d := range p.shape {
			n *= d
		}
		if len(*p.values) != n {
			return fault.New(fault.Incompatible, "", "%s has %d values: want %v", p.suffix, len(*p.values), p.shape)
		}
		if err := finite(p.suffix, *p.values); err != nil {
			return err
		}
	}
	if f.Scale-f.Scale != 0 {
		return fault.New(fault.Numerical, "", "the scale is %v", f.Scale)
	}
	if f.InputDependent() && !(f.Gate.Temperature > 0) {
		return fault.New(fault.Incompatible, "", "the gate's temperature is %v: want more than 0", f.Gate.Temperature)
	}
	return nil
}

// readFouRA reads the delta of one module, values of any float type.
func readFouRA(module string, parts map[string]checkpoint.Tensor, c *Config, known shapes, p *problems) Delta {
	name := fault.Quote(module)
	r, alpha, err := c.Rank(module)
	if err != nil {
		p.addErr(name, err)
		return nil
	}
	size, ok := known[module]
	if !ok {
		size = sizeOfFouRA(parts, BasisOf(c.Transform))
	}
	f := &FouRA{Name: module, Out: size[0], In: size[1], R: r, Basis: BasisOf(c.Transform), Alpha: alpha, Scale: c.Scale(r, alpha)}
	if c.Gate != GateNone {
		f.Gate = &Gate{Temperature: float32(c.GateTemperature), Hard: c.Gate == GateHard}
		if t := parts[gateW1]; len(t.Shape) > 0 {
			f.Gate.Hidden = t.Shape[0]
		}
		if c.Gate == GateFrozen {
			f.Gate = &Gate{Mean: []float32{}}
		}
	}
	wanted := f.parts()
	for _, part := range wanted {
		t, ok := parts[part.suffix]
		switch {
		case !ok:
			p.Add("%s: has no %s", name, part.suffix)
			return nil
		case !slices.Equal(t.Shape, part.shape):
			p.Add("%s: the shape of %s is %v, by the configuration it is %v", name, part.suffix, t.Shape, part.shape)
			return nil
		}
		if *part.values, err = t.Float32s(nil); err != nil {
			p.addErr(name, err)
			return nil
		}
	}
	for suffix := range parts {
		if !slices.ContainsFunc(wanted, func(p part) bool { return p.suffix == suffix }) {
			p.Add("%s: has %s, which gate %s does not have", name, suffix, fault.Quote(c.Gate))
			return nil
		}
	}
	if err := f.validate(); err != nil {
		p.addErr(name, err)
		return nil
	}
	return f
}

// sizeOfFouRA returns out and in by the factors' shapes. Half a spectrum of n values is that of 2n−2 or 2n−1; the former is
// taken, widths being even.
func sizeOfFouRA(parts map[string]checkpoint.Tensor, basis kernel.Basis) [2]int {
	dim := func(suffix string, i int) int {
		shape := parts[suffix].Shape
		switch {
		case i >= len(shape) || shape[i] == 0:
			return 0
		case basis == kernel.Fourier:
			return max(1, 2*(shape[i]-1))
		}
		return shape[i]
	}
	return [2]int{dim(fouraB, 0), dim(fouraA, 1)}
}

func decodeFouRA(o object, c *Config) error {
	var err error
	c.R, c.Alpha, c.Transform, c.Gate = defaultLoRARank, defaultLoRAAlpha, TransformDCT, GateNone
	o.get("r", &c.R, &err)
	o.get("lora_alpha", &c.Alpha, &err)
	o.get("lora_dropout", &c.Dropout, &err)
	o.get("rank_pattern", &c.RankPattern, &err)
	o.get("alpha_pattern", &c.AlphaPattern, &err)
	o.get("transform", &c.Transform, &err)
	o.get("gate", &c.Gate, &err)
	o.get("gate_temperature", &c.GateTemperature, &err)
	c.Layers = o.layers(&err)
	if err != nil {
		return fault.Wrap(fault.Malformed, "", err, "wrong type")
	}
	return nil
}

func checkFouRA(c *Config) error {
	var wrong []string
	if _, ok := bases[c.Transform]; !ok {
		wrong = append(wrong, fmt.Sprintf("transform is %s: want %s", fault.Quote(c.Transform), strings.Join(Transforms(), ", ")))
	}
	if !slices.Contains(Gates, c.Gate) {
		wrong = append(wrong, fmt.Sprintf("gate is %s: want %s", fault.Quote(c.Gate), strings.Join(Gates, ", ")))
	}
	if t := c.GateTemperature; !(t >= 0 && t <= math.MaxFloat32) {
		wrong = append(wrong, fmt.Sprintf("gate_temperature is %v", t))
	}
	if err := checkLoRA(c); err != nil {
		wrong = append(wrong, err.Error())
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

func encodeFouRA(a *Adapter, keys map[string]any) {
	encodeLoRA(a, keys)
	delete(keys, "use_dora")
	delete(keys, "use_rslora")
	delete(keys, "init_lora_weights")
	c := &a.Config
	keys["transform"], keys["gate"], keys["gate_temperature"] = c.Transform, c.Gate, c.GateTemperature
}

func differFouRA(file *Config, a *Adapter, p *problems) {
	differLoRA(file, a, p)
	c := &a.Config
	if file.Transform != c.Transform || file.Gate != c.Gate || file.GateTemperature != c.GateTemperature {
		p.Add("transform, gate and gate_temperature are %s, %s and %v, but by the safetensors file they are %s, %s and %v",
			fault.Quote(file.Transform), fault.Quote(file.Gate), file.GateTemperature, fault.Quote(c.Transform), fault.Quote(c.Gate), c.GateTemperature)
	}
}
