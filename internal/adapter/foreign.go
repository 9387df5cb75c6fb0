package adapter

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// role is what a tensor is to the low-rank delta of its module.
type role int

const (
	factorA   role = iota // (r, in), or (in, r) where a layout is transposed
	factorB               // (out, r), or (r, out)
	alphaRole             // a number
	magnitude             // (out), or (out, 1)
	extra                 // no change of a weight
)

// layout is how a program other than PEFT names and stores low-rank adapters.
type layout struct {
	name       string
	transposed bool // factors are stored as (in, r) and (r, out)

	// split says whose tensor a name is, and what; false for a name that is none of the layout's.
	split func(name string) (module string, part role, ok bool)

	flat     bool // modules' names have underscores for dots
	numbered bool // modules have numbers instead of names

	// alpha returns the alpha of a module of rank r, where own is what the file has for it, NaN for none.
	alpha func(f *foreign, module string, r int, own float64) (float64, error)
}

// foreign is a file of a layout.
type foreign struct {
	layout *layout
	file   *checkpoint.File
	mlx    object // lora_parameters of adapter_config.json, of MLX alone
}

var mlx = layout{name: "MLX", transposed: true, split: suffixes(map[string]role{".lora_a": factorA, ".lora_b": factorB, ".m": magnitude}), alpha: alphaOfMLX}

// layouts are those that tensors' names tell apart. MLX is known by its configuration.
var layouts = []layout{
	{name: "kohya", flat: true, split: splitKohya, alpha: alphaOrRank},
	{name: "diffusers", split: splitDiffusers, alpha: alphaOfDiffusers},
	{name: "cloneofsimo", split: splitNumbered, numbered: true, alpha: alphaOrRank},
}

// layoutOf finds the layout of tensors; nil when they are of none.
func layoutOf(tensors []checkpoint.Tensor) *layout {
	for i := range layouts {
		for _, t := range tensors {
			if layouts[i].factor(t.Name) {
				return &layouts[i]
			}
		}
	}
	return nil
}

// factor reports whether name is that of an A or a B.
func (l *layout) factor(name string) bool {
	_, part, ok := l.split(name)
	return ok && (part == factorA || part == factorB)
}

// suffixes splits a name where one of the given endings begins.
func suffixes(roles map[string]role) func(string) (string, role, bool) {
	return func(name string) (string, role, bool) {
		for ending, part := range roles {
			if module, ok := strings.CutSuffix(name, ending); ok && module != "" {
				return module, part, true
			}
		}
		return "", 0, false
	}
}

// kohyaPrefixes stand before the module's name, in which dots have become underscores. They say which model of a pipeline
// it is in.
var kohyaPrefixes = []string{"lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "lora_te3_", "lora_transformer_", "lycoris_"}

var kohyaParts = suffixes(map[string]role{
	".lora_down.weight": factorA, ".lora_up.weight": factorB, ".alpha": alphaRole, ".dora_scale": magnitude,
})

func splitKohya(name string) (module string, part role, ok bool) {
	if !slices.ContainsFunc(kohyaPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
		return "", 0, false
	}
	return kohyaParts(name)
}

// components are the models of a diffusers pipeline, whose names stand before those of modules.
var components = []string{"unet", "text_encoder", "text_encoder_2", "text_encoder_3", "transformer", "prior"}

var diffusersParts = suffixes(map[string]role{
	".lora.down.weight": factorA, ".lora.up.weight": factorB, "_lora.down.weight": factorA, "_lora.up.weight": factorB,
	".lora_linear_layer.down.weight": factorA, ".lora_linear_layer.up.weight": factorB, ".lora_A.weight": factorA,
	".lora_B.weight": factorB, ".alpha": alphaRole, ".lora_magnitude_vector": magnitude,
})

// textNames are the modules of a text encoder whose attention an older diffusers names like those of a UNet.
var textNames = map[string]string{"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}

// splitDiffusers reads all that diffusers has written over time: modules' own names, and names of attention processors.
func splitDiffusers(name string) (module string, part role, ok bool) {
	if strings.HasPrefix(name, keyPrefix) {
		return "", 0, false
	}
	module, part, ok = diffusersParts(name)
	if !ok {
		return "", 0, false
	}
	head, last := module[:max(0, strings.LastIndexByte(module, '.'))], ShortName(module)
	if strings.HasSuffix(head, ".self_attn") && textNames[last] != "" {
		return head + "." + textNames[last], part, true
	}
	if head, ok := strings.CutSuffix(head, ".processor"); ok {
		if last == "to_out" {
			last = "to_out.0"
		}
		return head + "." + last, part, true
	}
	return module, part, true
}

// splitNumbered reads the first files of LoRA for diffusion models, which number the layers of a model: "unet:12:up".
// Trained tokens have names in angle brackets.
func splitNumbered(name string) (module string, part role, ok bool) {
	if strings.HasPrefix(name, "<") && strings.HasSuffix(name, ">") {
		return name, extra, true
	}
	fields := strings.Split(name, ":")
	if len(fields) != 3 || !slices.Contains(components, fields[0]) || strings.Trim(fields[1], "0123456789") != "" || fields[1] == "" {
		return "", 0, false
	}
	part, ok = map[string]role{"down": factorA, "up": factorB}[fields[2]]
	return fields[0] + ":" + fields[1], part, ok
}

// alphaOrRank takes the alpha that the file has; without one the scale is 1.
func alphaOrRank(_ *foreign, _ string, r int, alpha float64) (float64, error) {
	if math.IsNaN(alpha) {
		return float64(r), nil
	}
	return alpha, nil
}

// alphaOfDiffusers also knows the configuration that newer versions of diffusers put into the metadata.
func alphaOfDiffusers(f *foreign, module string, r int, alpha float64) (float64, error) {
	text, ok := f.file.Metadata()["lora_adapter_metadata"]
	if !ok || !math.IsNaN(alpha) {
		return alphaOrRank(f, module, r, alpha)
	}
	o, err := parseObject([]byte(text))
	component, name, _ := strings.Cut(module, ".")
	get := func(key string, v any) { o.get(component+"."+key, v, &err) }
	c := Config{R: r, Alpha: float64(r), Method: "lora"}
	var rs bool
	get("lora_alpha", &c.Alpha)
	get("alpha_pattern", &c.AlphaPattern)
	get("use_rslora", &rs)
	if err != nil {
		return 0, fmt.Errorf("metadata lora_adapter_metadata: %w", err)
	}
	if _, alpha, err = c.Rank(name); err == nil && rs {
		alpha *= math.Sqrt(float64(r)) // as the alpha of a scale alpha/r
	}
	return alpha, err
}

// alphaOfMLX returns scale·r: the scale multiplies B·A as it is. Versions of mlx-lm up to 0.15 also have an alpha, and
// multiply by scale·alpha/r.
func alphaOfMLX(f *foreign, _ string, r int, _ float64) (float64, error) {
	var err error
	scale, alpha := math.NaN(), float64(r)
	f.mlx.get("scale", &scale, &err)
	f.mlx.get("alpha", &alpha, &err)
	if err == nil && math.IsNaN(scale) {
		err = fmt.Errorf("lora_parameters have no scale")
	}
	return scale * alpha, err
}

// parts are the tensors of one module.
type parts map[role]checkpoint.Tensor

// read makes an adapter of the file.
func (f *foreign) read(a *Adapter) (*Adapter, error) {
	a.Format, a.layout = f.layout.name, f.layout
	directed := a.Config.Method == "dora" // says the configuration, where there is one
	a.Config.Method = "lora"
	modules := map[string]parts{}
	var p problems
	for _, t := range f.file.Tensors() {
		module, part, ok := f.layout.split(t.Name)
		switch {
		case !ok:
			p.Add("%s is no tensor of a LoRA adapter of %s", fault.Quote(t.Name), f.layout.name)
			continue
		case part == extra:
			a.Extras = append(a.Extras, t.Name)
			continue
		case modules[module] == nil:
			modules[module] = parts{}
		}
		if _, twice := modules[module][part]; twice {
			p.Add("%s is there under two names", fault.Quote(module))
		}
		modules[module][part] = t
		if part == magnitude {
			a.Config.Method = "dora"
		}
	}
	if len(modules) == 0 {
		p.Add("it holds no tensors of a LoRA adapter of %s", f.layout.name)
	}
	if directed && a.Config.Method != "dora" {
		p.Add("the configuration says DoRA, but there are no magnitudes")
	}
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		if l := f.delta(module, modules[module], a.Config.Method == "dora", &p); l != nil {
			a.Deltas = append(a.Deltas, l)
		}
	}
	if err := p.err(a.Path, "the adapter is not usable"); err != nil {
		return nil, err
	}
	a.Form = formOf(f.file.Tensors())
	a.describe()
	return a, nil
}

// delta reads one module.
func (f *foreign) delta(module string, t parts, dora bool, p *problems) *LowRank {
	name, transposed := fault.Quote(module), f.layout.transposed
	a, b := t[factorA], t[factorB]
	if transposed && slices.Contains(embeddingNames, ShortName(module)) { // a row of the embedding is one of A·B
		a, b, transposed = b, a, false
	}
	if !lowRankPair(module, a, b, transposed, p) {
		return nil
	}
	l := &LowRank{Name: module, R: a.Shape[0], In: a.Shape[1], Out: b.Shape[0]}
	if transposed {
		l.R, l.In, l.Out = a.Shape[1], a.Shape[0], b.Shape[1]
	}
	alpha, err := number(t[alphaRole])
	if err == nil {
		l.Alpha, err = f.layout.alpha(f, module, l.R, alpha)
	}
	l.Scale = float32(l.Alpha / float64(l.R))
	m, directed := t[magnitude]
	switch {
	case err != nil:
		p.addErr(name, err)
		return nil
	case directed != dora:
		p.Add("%s: has no magnitude, which other modules have", name)
		return nil
	case directed && (m.Len() != l.Out || len(m.Shape) == 0 || m.Shape[0] != l.Out):
		p.Add("%s: the shape of its magnitude is %v: want (%d), one for each row", name, m.Shape, l.Out)
		return nil
	}
	if !l.fill(a, b, m, transposed, p) {
		return nil
	}
	return l
}

// number reads a scalar or a tensor of one value, NaN for the zero tensor.
func number(t checkpoint.Tensor) (float64, error) {
	switch {
	case t.Name == "":
		return math.NaN(), nil
	case t.Len() != 1:
		return 0, fmt.Errorf("%s is %v: want one number", fault.Quote(t.Name), t.Shape)
	case t.DType.IsFloat():
		v, err := t.Float32s(nil)
		if err != nil || v[0]-v[0] != 0 {
			return 0, fmt.Errorf("%s is not a finite number", fault.Quote(t.Name))
		}
		return float64(v[0]), nil
	}
	v, err := t.Ints(nil)
	if err != nil {
		return 0, err
	}
	return float64(v[0]), nil
}

// describe makes the configuration of a LoRA or DoRA adapter say what its deltas are: the most frequent rank and alpha for
// all, and others by module.
func (a *Adapter) describe() {
	c, deltas := &a.Config, a.sorted()
	ranks, alphas := map[int]int{}, map[float64]int{}
	c.R, c.Alpha, c.RankPattern, c.AlphaPattern, c.TargetModules = 0, 0, nil, nil, nil
	for _, d := range deltas {
		l := d.(*LowRank)
		c.TargetModules = append(c.TargetModules, l.Name)
		if ranks[l.R]++; ranks[l.R] > ranks[c.R] {
			c.R = l.R
		}
		if alphas[l.Alpha]++; alphas[l.Alpha] > alphas[c.Alpha] {
			c.Alpha = l.Alpha
		}
	}
	for _, d := range deltas {
		l := d.(*LowRank)
		if l.R != c.R {
			c.RankPattern = append(c.RankPattern, Override{patternOf(l.Name), float64(l.R)})
		}
		if l.Alpha != c.Alpha {
			c.AlphaPattern = append(c.AlphaPattern, Override{patternOf(l.Name), l.Alpha})
		}
	}
}

// decodeMLX reads the adapter_config.json of mlx-lm, the arguments of the run.
func decodeMLX(path string, o object) (peftConfig, error) {
	c := peftConfig{Config: Config{TaskType: "CAUSAL_LM"}}
	var err error
	o.get("lora_parameters", &c.mlx, &err)
	kind, dora := "lora", false
	o.get("fine_tune_type", &kind, &err)
	o.get("use_dora", &dora, &err) // of older versions
	o.get("model", &c.BaseName, &err)
	o.get("seed", &c.Seed, &err)
	switch {
	case err != nil:
		return c, fault.Wrap(fault.Malformed, path, err, "wrong type")
	case kind == "dora" || dora:
		c.Method = "dora"
	case kind != "lora":
		return c, fault.New(fault.Incompatible, path, "fine_tune_type is %s: only lora and dora are supported", fault.Quote(kind))
	}
	return c, nil
}
