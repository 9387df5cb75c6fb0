package train

import (
	"context"
	"slices"
	"strings"

	"shira/internal/adapter"
	"shira/internal/fault"
	"shira/internal/model"
	"shira/internal/nn"
)

// chooseEntries sets the entries to train: those of init_adapter with their values, or those of the configured mask in
// every weight that target_modules match, at zero.
func (s *session) chooseEntries(ctx context.Context) error {
	cfg, m := s.cfg, s.model
	if cfg.InitAdapter != "" {
		return s.startFrom(cfg.InitAdapter)
	}
	targets, err := matchTargets(m, cfg.TargetModules)
	if err != nil {
		return err
	}
	s.deltas, err = s.selectEntries(ctx, targets)
	return err
}

// startFrom takes the entries and values of the adapter at path, which must fit the model.
func (s *session) startFrom(path string) error {
	a, err := adapter.Load(path)
	if err != nil {
		return err
	}
	if err := a.Check(s.model.Checkpoint, false); err != nil {
		return err
	}
	for _, d := range a.Deltas {
		sparse, ok := d.(*adapter.Sparse)
		if !ok || s.model.Linear(d.Module()) == nil {
			return fault.New(fault.Incompatible, path, "%s cannot be trained sparsely", fault.Quote(d.Module()))
		}
		s.deltas = append(s.deltas, sparse)
	}
	s.start = a
	return nil
}

// matchTargets finds the linear layers that patterns name, as PEFT does: a module's full name or its last components.
// A pattern that matches nothing is an error.
func matchTargets(m *model.Model, patterns []string) ([]*nn.Weight, error) {
	hit := make([]bool, len(patterns))
	var out []*nn.Weight
	for _, w := range m.Linears() {
		found := false
		for i, p := range patterns {
			if matches(w.Name, p) {
				hit[i], found = true, true
			}
		}
		if found {
			out = append(out, w)
		}
	}
	var none []string
	for i, p := range patterns {
		if !hit[i] {
			none = append(none, fault.Quote(p))
		}
	}
	if len(none) > 0 {
		return nil, fault.New(fault.Usage, "", "target_modules match nothing in the model: %s", strings.Join(none, ", ")).
			WithHint("the model's linear layers are %s", strings.Join(layerKinds(m), ", "))
	}
	return out, nil
}

func matches(module, pattern string) bool {
	return module == pattern || strings.HasSuffix(module, "."+pattern)
}

// layerKinds returns the distinct last components of the model's linear layers, sorted.
func layerKinds(m *model.Model) []string {
	var names []string
	for _, w := range m.Linears() {
		names = append(names, lastComponent(w.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func lastComponent(module string) string { return module[strings.LastIndexByte(module, '.')+1:] }

// attachSparse makes the deltas' entries trainable.
func attachSparse(m *model.Model, deltas []*adapter.Sparse) error {
	for _, d := range deltas {
		w := m.Linear(d.Name)
		m.Own(w)
		base, err := m.Values(w)
		if err != nil {
			return err
		}
		nn.NewSparse(w, base, d.RowIdx, d.ColIdx, d.Values)
	}
	m.Release()
	return nil
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
