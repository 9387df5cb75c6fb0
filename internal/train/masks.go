package train

import (
	"cmp"
	"context"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"strings"

	"shira/internal/adapter"
	"shira/internal/adapter/mask"
	"shira/internal/buildinfo"
	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/nn"
)

// Mask is the entries that a run would train.
type Mask struct {
	Adapter *adapter.Adapter  // the entries, with values of zero: init_adapter takes it
	Empty   []*adapter.Sparse // targets of which no entry was chosen, as a scope of all together may have it
}

// ChooseMask returns the entries that a run of cfg would train. It reads the training file only where the mask calibrates on
// that.
func ChooseMask(ctx context.Context, cfg *config.Train, notice func(string)) (*Mask, error) {
	m, err := loadModel(cfg)
	if err != nil {
		return nil, err
	}
	s := &session{cfg: cfg, model: m, notice: notice}
	defer s.close()
	strategy, err := mask.Lookup(cfg.Mask)
	if err != nil {
		return nil, err
	}
	if strategy.NeedsGradients {
		if err := s.limitRows(); err != nil {
			return nil, err
		}
		if err := s.loadData(ctx); err != nil {
			return nil, err
		}
	}
	targets, err := matchTargets(m, cfg)
	if err != nil {
		return nil, err
	}
	deltas, err := s.selectEntries(ctx, targets)
	if err != nil {
		return nil, err
	}
	a := &adapter.Adapter{Config: adapter.Config{
		Method: "shira", Mask: cfg.Mask, R: cfg.R, Density: cfg.Density, Seed: cfg.Seed,
		TaskType: "CAUSAL_LM", BaseName: cfg.ModelNameOrPath, ToolVersion: buildinfo.Version(),
	}}
	if s.train != nil {
		a.Config.DataHash = s.train.SHA256
	}
	chosen := &Mask{Adapter: a}
	for _, w := range targets {
		if i := slices.IndexFunc(deltas, func(d *adapter.Sparse) bool { return d.Name == w.Name }); i >= 0 {
			a.Deltas = append(a.Deltas, deltas[i])
		} else {
			chosen.Empty = append(chosen.Empty, adapter.NewSparse(w.Name, w.Out, w.In, nil))
		}
	}
	if err := nameTargets(a, cfg); err != nil {
		return nil, err
	}
	a.Config.BaseFingerprint, err = m.Checkpoint.Fingerprint()
	return chosen, err
}

// selectEntries returns the entries of the target weights that the configured mask chooses, at zero, in the order of the
// targets; a weight of which it chooses none is left out.
func (s *session) selectEntries(ctx context.Context, targets []*nn.Weight) ([]*adapter.Sparse, error) {
	c, err := s.newChooser(targets)
	if err != nil {
		return nil, err
	}
	if c.strategy.NeedsGradients { // not in a dry run
		err = s.calibrate(ctx, c.targets, c.choose)
		debug.FreeOSMemory() // of the gradients: training needs memory of other sizes
	} else {
		for _, w := range c.targets {
			if err = cmp.Or(err, ctx.Err()); err == nil {
				err = c.choose(w, nil)
			}
		}
	}
	if err == nil && c.global != nil {
		c.masks, err = c.global.Masks()
	}
	if err != nil {
		return nil, err
	}
	var deltas []*adapter.Sparse
	for _, w := range targets {
		if flat := c.masks[w.Name+".weight"]; len(flat) > 0 {
			deltas = append(deltas, adapter.NewSparse(w.Name, w.Out, w.In, flat))
		}
	}
	return deltas, nil
}

// chooser chooses the entries of weight after weight.
type chooser struct {
	s        *session
	strategy mask.Strategy
	targets  []*nn.Weight       // in the order in which entries of equal rank are taken
	exclude  map[string][]int64 // by module
	global   *mask.Global       // nil where each weight has a budget of its own
	masks    map[string][]int64 // by weight
}

func (s *session) newChooser(targets []*nn.Weight) (*chooser, error) {
	cfg := s.cfg
	if err := checkPatterns(cfg, targets); err != nil {
		return nil, err
	}
	c := &chooser{s: s, targets: targets, masks: map[string][]int64{}}
	var err error
	if c.strategy, err = mask.Lookup(cfg.Mask); err != nil {
		return nil, err
	}
	if c.exclude, err = s.excluded(); err != nil {
		return nil, err
	}
	if c.strategy.NeedsGradients {
		if s.calibration, err = s.calibrationMemory(targets); err != nil {
			return nil, err
		}
	}
	stand := s.dry && c.strategy.NeedsGradients
	if stand {
		// What a plan wants to know is how many entries there are, which others tell without calibration.
		if c.strategy, err = mask.Lookup("rand"); err != nil {
			return nil, err
		}
	}
	k, offset := 0, 0
	if cfg.Scope == config.ScopeGlobal {
		for _, w := range targets {
			k, offset = k+min(budget(cfg, w), w.Out*w.In+1), offset+offsetIn(cfg, w) // what is too much stays so
		}
		s.calibration += mask.GlobalMemory(k, offset)
	}
	switch {
	case cfg.Scope != config.ScopeGlobal:
	case stand:
		s.notices = append(s.notices, "scope is global: how many entries each weight has is known only after calibration; shown are equal shares")
	default:
		if c.global, err = c.strategy.NewGlobal(k, offset); err != nil {
			return nil, err
		}
		c.targets = slices.SortedFunc(slices.Values(targets), func(a, b *nn.Weight) int { return cmp.Compare(a.Name, b.Name) })
	}
	return c, nil
}

// choose takes up w, whose mean gradient is given where the strategy needs that.
func (c *chooser) choose(w *nn.Weight, gradients []float32) error {
	cfg := c.s.cfg
	r := mask.Request{
		Name: w.Name + ".weight", Out: w.Out, In: w.In, K: budget(cfg, w), Offset: offsetIn(cfg, w), Exclude: c.exclude[w.Name],
		Seed: cfg.Seed, Axis: mask.Axis(cfg.Axis), Gradients: gradients,
	}
	var err error
	if c.strategy.NeedsWeights {
		if r.Weights, err = c.s.model.Values(w); err != nil {
			return err
		}
	}
	if c.global != nil {
		return c.global.Add(r)
	}
	c.masks[r.Name], err = c.strategy.Select(r)
	return err
}

// budget is the number of entries that the configuration pays for in w.
func budget(cfg *config.Train, w *nn.Weight) int {
	if cfg.Density > 0 {
		return mask.BudgetDensity(cfg.DensityOf(w.Name), w.Out, w.In)
	}
	return mask.BudgetR(cfg.Rank(), w.Out, w.In)
}

// checkPatterns refuses a density for weights that are none of the targets.
func checkPatterns(cfg *config.Train, targets []*nn.Weight) error {
	var none []string
	for _, name := range slices.Sorted(maps.Keys(cfg.DensityPattern)) {
		if !slices.ContainsFunc(targets, func(w *nn.Weight) bool { return config.MatchesModule(w.Name, name) }) {
			none = append(none, fault.Quote(name))
		}
	}
	if len(none) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "", "density_pattern matches none of the target weights: %s", strings.Join(none, ", "))
}

// offsetIn is the number of entries of w that the configured offset passes over. An offset of twice the budget passes over
// just the entries of two masks, whatever rounding did to their size.
func offsetIn(cfg *config.Train, w *nn.Weight) int {
	unit := cfg.Density
	if unit == 0 {
		unit = float64(cfg.Rank())
	}
	return int(min(math.Round(cfg.Offset/unit*float64(budget(cfg, w))), float64(w.Out)*float64(w.In)))
}

// excluded returns the entries of the adapters that the mask must leave alone, by module.
func (s *session) excluded() (map[string][]int64, error) {
	taken := map[string][]int64{}
	for _, path := range s.cfg.Exclude {
		a, err := adapter.Load(path)
		if err != nil {
			return nil, err
		}
		if err := a.Check(s.model.Checkpoint, false); err != nil {
			return nil, err
		}
		for _, d := range a.Deltas {
			sparse, ok := d.(*adapter.Sparse)
			if !ok {
				return nil, fault.New(fault.Incompatible, path, "%s changes every entry of %s, so that a mask cannot leave them alone",
					a.Config.Method, fault.Quote(d.Module())).WithHint("exclude takes SHiRA adapters and saved masks")
			}
			taken[d.Module()] = mask.Union(taken[d.Module()], sparse.Flat())
		}
	}
	return taken, nil
}
