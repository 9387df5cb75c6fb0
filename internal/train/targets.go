package train

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"shira/internal/adapter"
	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/model"
	"shira/internal/nn"
)

// matchTargets finds the linear layers that the configuration names, as PEFT does: by a module's full name, its last
// components, or a regular expression for the whole of it, and by the number of the layer. What matches nothing is an error.
func matchTargets(m *model.Model, cfg *config.Train) ([]*nn.Weight, error) {
	targets, err := newTargets(cfg)
	if err != nil {
		return nil, err
	}
	var out []*nn.Weight
	layers := map[int]bool{}
	for _, w := range m.Linears() {
		if n, ok := layerNumber(w.Name); ok {
			layers[n] = true
		}
		if targets.find(w.Name) >= 0 {
			out = append(out, w)
		}
	}
	if err := targets.unmatched(m, layers); err != nil {
		return nil, err
	}
	return out, nil
}

// targets is target_modules and layers_to_transform.
type targets struct {
	names    []string
	patterns []*regexp.Regexp // nil for a name
	layers   []int            // nil for all
	hit      []bool
}

func newTargets(cfg *config.Train) (*targets, error) {
	t := &targets{
		names: cfg.TargetModules, layers: cfg.LayersToTransform, hit: make([]bool, len(cfg.TargetModules)),
		patterns: make([]*regexp.Regexp, len(cfg.TargetModules)),
	}
	for i, name := range t.names {
		if name == config.AllLinear {
			name = ".*"
		}
		if !config.IsPattern(name) {
			continue
		}
		var err error
		if t.patterns[i], err = regexp.Compile("^(?:" + name + ")$"); err != nil {
			return nil, fault.Wrap(fault.Usage, "", err, "target_modules: %s", fault.Quote(name))
		}
	}
	return t, nil
}

// find returns which of the names the module has first, -1 for none.
func (t *targets) find(module string) int {
	if t.layers != nil {
		if n, ok := layerNumber(module); !ok || !slices.Contains(t.layers, n) {
			return -1
		}
	}
	first := -1
	for i, name := range t.names {
		if p := t.patterns[i]; p != nil && p.MatchString(module) || p == nil && config.MatchesModule(module, name) {
			t.hit[i] = true
			if first < 0 {
				first = i
			}
		}
	}
	return first
}

// unmatched names what no module has. layers are those of the model.
func (t *targets) unmatched(m *model.Model, layers map[int]bool) error {
	var none, missing []string
	for i, name := range t.names {
		if !t.hit[i] {
			none = append(none, fault.Quote(name))
		}
	}
	for _, n := range t.layers {
		if !layers[n] {
			missing = append(missing, strconv.Itoa(n))
		}
	}
	switch {
	case len(missing) > 0:
		return fault.New(fault.Usage, "", "layers_to_transform: the model has no layer %s", strings.Join(missing, ", ")).
			WithHint("its layers are 0 to %d", len(layers)-1)
	case len(none) > 0:
		return fault.New(fault.Usage, "", "target_modules match nothing in the model: %s", strings.Join(none, ", ")).
			WithHint("the model's linear layers are %s", strings.Join(layerKinds(m), ", "))
	}
	return nil
}

// named says whether PEFT finds the same modules by the configuration's own words: with lists of names, but not of patterns.
func (t *targets) named() bool {
	return !slices.ContainsFunc(t.patterns, func(p *regexp.Regexp) bool { return p != nil })
}

// layerNumber returns the number of the layer that a module is in.
func layerNumber(module string) (int, bool) {
	m := layerOf.FindStringSubmatch(module)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil
}

// layerKinds returns the distinct last components of the model's linear layers, sorted.
func layerKinds(m *model.Model) []string {
	var names []string
	for _, w := range m.Linears() {
		names = append(names, adapter.ShortName(w.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// attachDense makes every parameter trainable; with half, products read a copy in bfloat16.
func attachDense(m *model.Model, half bool) {
	for _, w := range m.Weights() {
		m.Own(w)
		if half {
			w.Half = make([]uint16, len(w.Data))
		}
		w.Dense = &nn.Param{Name: w.Name + ".weight", Value: w.Data}
		w.Sync()
	}
	for _, g := range m.Gains() {
		g.Dense = &nn.Param{Name: g.Name, Value: g.Data}
	}
}
