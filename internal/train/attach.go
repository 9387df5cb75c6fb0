package train

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"shira/internal/adapter"
	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/nn"
)

// attach makes what the run trains a part of the model: everything, or for each target a delta, new or of init_adapter, whose
// values are then those that training changes.
func (s *session) attach(ctx context.Context) error {
	if s.cfg.Method == "full" {
		attachDense(s.model, s.cfg.Half())
		return nil
	}
	var err error
	if s.cfg.InitAdapter != "" {
		err = s.startFrom(s.cfg.InitAdapter)
	} else {
		err = s.newDeltas(ctx)
	}
	if err != nil {
		return err
	}
	for _, d := range s.deltas {
		if err := s.attachDelta(d); err != nil {
			return err
		}
	}
	s.model.Release()
	return nil
}

// newDeltas makes a delta for each target, which changes nothing yet.
func (s *session) newDeltas(ctx context.Context) error {
	targets, err := matchTargets(s.model, s.cfg)
	if err != nil {
		return err
	}
	if s.cfg.UsesMask() {
		entries, err := s.selectEntries(ctx, targets)
		if err != nil {
			return err
		}
		for _, e := range entries {
			s.deltas = append(s.deltas, e)
		}
	}
	if err := s.setRanks(targets); err != nil {
		return err
	}
	switch {
	case s.cfg.Method == "shira-dora" && s.cfg.Direction == config.DirectionSparse:
		for i, d := range s.deltas {
			s.deltas[i] = &adapter.ShiraDora{S: d.(*adapter.Sparse)}
		}
	case s.cfg.UsesMask():
	default:
		if err := s.factorsFit(targets); err != nil {
			return err
		}
		for _, w := range targets {
			d, err := s.newFactors(w)
			if err != nil {
				return err
			}
			s.deltas = append(s.deltas, d)
		}
	}
	return s.addWhole()
}

// setRanks takes rank and alpha of the configuration to that of the adapter.
func (s *session) setRanks(targets []*nn.Weight) error {
	cfg := s.cfg
	s.ranks = adapter.Config{Method: cfg.Method, R: cfg.R, Dropout: cfg.LoraDropout, UseRSLoRA: cfg.UseRSLoRA || cfg.Method == "rslora"}
	if !cfg.UsesFactors() {
		return nil
	}
	s.ranks.R, s.ranks.Alpha = cfg.Rank(), cfg.Alpha()
	s.ranks.RankPattern, s.ranks.AlphaPattern = overrides(cfg.RankPattern), overrides(cfg.AlphaPattern)
	for key, list := range map[string]adapter.Overrides{"rank_pattern": s.ranks.RankPattern, "alpha_pattern": s.ranks.AlphaPattern} {
		for _, o := range list {
			only := adapter.Config{R: 1, RankPattern: adapter.Overrides{{Pattern: o.Pattern, Value: 2}}}
			if !slices.ContainsFunc(targets, func(w *nn.Weight) bool { r, _, err := only.Rank(w.Name); return err == nil && r == 2 }) {
				return fault.New(fault.Usage, "", "%s: %s matches no target", key, fault.Quote(o.Pattern))
			}
		}
	}
	return nil
}

// overrides sorts patterns, as PEFT does when it saves them: of several that match, the first counts.
func overrides(patterns map[string]float64) adapter.Overrides {
	var list adapter.Overrides
	for _, p := range slices.Sorted(maps.Keys(patterns)) {
		list = append(list, adapter.Override{Pattern: p, Value: patterns[p]})
	}
	return list
}

// newFactors makes a low-rank delta of w: A at random and B zero, as PEFT does.
func (s *session) newFactors(w *nn.Weight) (adapter.Delta, error) {
	r, alpha, err := s.ranks.Rank(w.Name)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "", err, "%s", fault.Quote(w.Name))
	}
	scale := s.ranks.Scale(r, alpha)
	if s.cfg.Method != "foura" {
		d := &adapter.LowRank{Name: w.Name, Out: w.Out, In: w.In, R: r, Alpha: alpha, Scale: scale, B: make([]float32, w.Out*r)}
		d.A = s.uniform(w.Name+".lora_A", r*w.In, w.In)
		return d, nil
	}
	basis := adapter.BasisOf(cmp.Or(s.cfg.Transform, config.TransformDCT))
	a, b := basis.Sizes(r, w.Out, w.In)
	d := &adapter.FouRA{Name: w.Name, Out: w.Out, In: w.In, R: r, Basis: basis, Alpha: alpha, Scale: scale, B: make([]float32, b)}
	d.A = s.uniform(w.Name+".foura_A", a, w.In)
	if kind := s.gate(); kind != config.GateNone {
		d.Gate = s.newGate(w.Name+".foura_gate", basis.Components(r), r)
	}
	return d, nil
}

// gate is the kind of gate that foura ends with.
func (s *session) gate() string { return cmp.Or(s.cfg.Gate, config.GateSoft) }

// openThreshold is where θ starts: the entropy is near ln 2 = 0.69 at first, so that all components are open.
const openThreshold = 0.3

// newGate makes a gate of r components with as many inputs. Its maps start as those of torch.nn.Linear.
func (s *session) newGate(name string, inputs, r int) *adapter.Gate {
	g := &adapter.Gate{
		Hidden: r, Hard: s.gate() == config.GateHard, Temperature: float32(cmp.Or(s.cfg.GateTemperature, config.DefaultTemperature)),
		Threshold: slices.Repeat([]float32{openThreshold}, r),
	}
	if s.cfg.GateHidden != nil {
		g.Hidden = *s.cfg.GateHidden
	}
	if g.Hidden > 0 {
		g.W1, g.B1 = s.uniform(name+".0.weight", g.Hidden*inputs, inputs), s.uniform(name+".0.bias", g.Hidden, inputs)
		inputs = g.Hidden
	}
	g.W2, g.B2 = s.uniform(name+".2.weight", r*inputs, inputs), s.uniform(name+".2.bias", r, inputs)
	return g
}

// uniform returns n values between ±1/√in, the bounds of kaiming_uniform_(a=√5). They depend on the seed and the name alone.
func (s *session) uniform(name string, n, in int) []float32 {
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(s.cfg.Seed, h.Sum64()))
	bound := 1 / math.Sqrt(float64(in))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32((2*rng.Float64() - 1) * bound)
	}
	return v
}

// startFrom takes the deltas of the adapter at path, which must fit the model and the method.
func (s *session) startFrom(path string) error {
	a, err := adapter.Load(path)
	if err != nil {
		return err
	}
	if err := adapter.CheckAllBeside(s.model.Checkpoint, []*adapter.Adapter{a}, false); err != nil {
		return err
	}
	for _, d := range a.Deltas {
		if _, whole := d.(*adapter.Whole); !whole && s.model.Linear(d.Module()) == nil || s.weightOf(d) == nil {
			return fault.New(fault.Incompatible, path, "%s is not a linear layer of the model", fault.Quote(d.Module()))
		}
	}
	if err := s.continues(a); err != nil {
		return err
	}
	s.start, s.deltas, s.ranks = a, a.Deltas, a.Config
	s.ranks.Dropout = s.cfg.LoraDropout
	return nil
}

// continues says why the configured method cannot go on training a.
func (s *session) continues(a *adapter.Adapter) error {
	cfg, method := s.cfg, a.Config.Method
	switch {
	case cfg.Method == "shira-dora" && method == "shira":
		return fault.New(fault.Incompatible, a.Path, "is a SHiRA adapter, which does not hold the factors it may have been trained with").
			WithHint("go on with method: shira")
	case cfg.Method == "shira-dora" && cfg.Direction != config.DirectionSparse && method == cfg.Method:
		return fault.New(fault.Incompatible, a.Path, "has a sparse direction").WithHint("set direction: sparse")
	case method != cfg.Method:
		return fault.New(fault.Incompatible, a.Path, "is an adapter of method %s, the configuration says method %s", method, cfg.Method).
			WithHint("set method: %s", method)
	case method != "foura":
		return nil
	}
	has := a.Config.Gate
	if gate := s.gate(); gate != has && !(gate == config.GateFrozen && has == config.GateSoft) {
		return fault.New(fault.Incompatible, a.Path, "has a gate that is %s, the configuration says gate: %s", has, gate).WithHint("set gate: %s", has)
	}
	return nil
}

// attachDelta makes d's values trained ones of its weight.
func (s *session) attachDelta(d adapter.Delta) error {
	w := s.weightOf(d)
	base, err := s.model.Values(w)
	if err != nil {
		return err
	}
	switch d := d.(type) {
	case *adapter.Sparse:
		s.model.Own(w)
		if s.cfg.Method == "shira" {
			nn.NewSparse(w, base, d.RowIdx, d.ColIdx, d.Values)
			return nil
		}
		return s.attachMasked(w, base, d)
	case *adapter.ShiraDora:
		s.model.Own(w)
		base = slices.Clone(base) // which may be the weight itself
		if d.Magnitude == nil {
			d.Magnitude = rowNorms(w, base)
		}
		nn.NewSparse(w, base, d.S.RowIdx, d.S.ColIdx, d.S.Values)
		w.SetMagnitude(d.Magnitude, base).Name = w.Name + ".shira_magnitude_vector"
	case *adapter.LowRank:
		l := &nn.LowRank{R: d.R, Scale: d.Scale}
		l.A.Value, l.B.Value = d.A, d.B
		s.add(w, l, "lora")
		if s.cfg.Method != "dora" {
			return nil
		}
		if d.Magnitude == nil {
			d.Magnitude = rowNorms(w, base)
		}
		w.SetMagnitude(d.Magnitude, base).Name = w.Name + ".lora_magnitude_vector"
	case *adapter.FouRA:
		l := eval.Beside(d, 1)
		if g := l.Gate; g != nil {
			g.Through = g.Hard
			for _, p := range []struct {
				param *nn.Param
				name  string
				kind  nn.Kind
			}{
				{&g.W1, "0.weight", nn.Matrix}, {&g.B1, "0.bias", nn.Vector}, {&g.W2, "2.weight", nn.Matrix}, {&g.B2, "2.bias", nn.Vector},
				{&g.Threshold, "threshold", nn.Vector},
			} {
				p.param.Name, p.param.Kind = w.Name+".foura_gate."+p.name, p.kind
			}
		}
		s.add(w, l, "foura")
	case *adapter.Whole:
		s.attachWhole(w, base, d)
	default:
		return fault.New(fault.Internal, "", "%s: a delta that cannot be trained", fault.Quote(d.Module()))
	}
	return nil
}

// add makes l a trained change of w.
func (s *session) add(w *nn.Weight, l *nn.LowRank, name string) {
	l.Dropout, l.Seed = s.cfg.LoraDropout, s.cfg.Seed
	l.A.Name, l.B.Name = fmt.Sprintf("%s.%s_A.weight", w.Name, name), fmt.Sprintf("%s.%s_B.weight", w.Name, name)
	w.Add(l)
}

// attachMasked trains the entries of d as DoRA would. Their values follow from the factors and the magnitude.
func (s *session) attachMasked(w *nn.Weight, base []float32, d *adapter.Sparse) error {
	factors, err := s.newFactors(w)
	if err != nil {
		return err
	}
	f := factors.(*adapter.LowRank)
	l := &nn.LowRank{R: f.R, Scale: f.Scale}
	l.A.Value, l.B.Value = f.A, f.B
	l.A.Name, l.B.Name = w.Name+".lora_A.weight", w.Name+".lora_B.weight"
	m := nn.NewMasked(w, base, d.RowIdx, d.ColIdx, d.Values, l)
	m.Magnitude.Name = w.Name + ".lora_magnitude_vector"
	return nil
}

// weightOf returns the weight that d changes, nil where the model has none.
func (s *session) weightOf(d adapter.Delta) *nn.Weight {
	for _, w := range s.model.Weights() {
		if w.Name == d.Module() {
			return w
		}
	}
	return nil
}

// addWhole makes a delta for each weight of modules_to_save.
func (s *session) addWhole() error {
	for _, name := range s.cfg.ModulesToSave {
		found := false
		for _, w := range s.model.Weights() {
			if !config.MatchesModule(w.Name, name) {
				continue
			}
			found = true
			switch taken := func(d adapter.Delta) bool { return d.Module() == w.Name }; {
			case w.Tied:
				return fault.New(fault.Incompatible, "", "modules_to_save: %s is tied: input embedding and output head are one weight", fault.Quote(w.Name))
			case slices.ContainsFunc(s.deltas, taken):
				return fault.New(fault.Usage, "", "modules_to_save: %s is adapted already, or named twice", fault.Quote(w.Name))
			}
			s.deltas = append(s.deltas, &adapter.Whole{Name: w.Name, Out: w.Out, In: w.In})
		}
		if !found && adapter.Tied(s.model.Checkpoint)(name) {
			return fault.New(fault.Incompatible, "", "modules_to_save: %s is tied to the input embedding, and is no matrix of its own", fault.Quote(name))
		}
		if !found {
			return fault.New(fault.Usage, "", "modules_to_save: %s is no matrix of the model", fault.Quote(name)).
				WithHint("the model's matrices are its embedding, its output head where that is another, and %s", strings.Join(layerKinds(s.model), ", "))
		}
	}
	return nil
}

// attachWhole trains all of w, from the values of d where it has some. In bfloat16 products read a rounded copy.
func (s *session) attachWhole(w *nn.Weight, base []float32, d *adapter.Whole) {
	if d.V == nil {
		d.V = slices.Clone(base)
	}
	s.model.Own(w)
	w.Data, w.Dense = d.V, &nn.Param{Name: w.Name + ".weight", Value: d.V}
	w.Sync()
}

// rowNorms is the magnitude that DoRA starts with.
func rowNorms(w *nn.Weight, base []float32) []float32 {
	norms := make([]float32, w.Out)
	for i := range norms {
		norms[i] = adapter.RowNorm(base[i*w.In:][:w.In], nil)
	}
	return norms
}
