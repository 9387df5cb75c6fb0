package eval

import (
	"context"

	"shira/internal/adapter"
	"shira/internal/data"
	"shira/internal/fault"
	"shira/internal/kernel"
	"shira/internal/nn"
)

// Opening is how far the gate of a module is open.
type Opening struct {
	Module string  `json:"module"`
	Rank   int     `json:"rank"`
	Open   float64 `json:"open_rank"` // the sum over components of their mean over tokens
}

// OpeningOf describes a gate by its mean.
func OpeningOf(module string, mean []float32) Opening {
	o := Opening{Module: module, Rank: len(mean)}
	for _, g := range mean {
		o.Open += float64(g)
	}
	return o
}

// MeanGates returns the mean over the tokens of ds of every gate that the weights have beside them, by module.
func (s *Scorer) MeanGates(ctx context.Context, weights []*nn.Weight, ds *data.Dataset, tokens int) (map[string][]float32, error) {
	seen := map[string]*nn.Opening{}
	for _, w := range weights {
		for _, l := range w.LowRank {
			if l.Gate == nil {
				continue
			}
			seen[w.Name] = nn.NewOpening(l.R)
			l.Gate.Seen = seen[w.Name]
			defer func() { l.Gate.Seen = nil }()
		}
	}
	if _, err := s.Score(ctx, ds, tokens); err != nil {
		return nil, err
	}
	means := map[string][]float32{}
	for module, o := range seen {
		means[module] = o.Mean()
	}
	return means, nil
}

// FreezeGates returns the adapter of o, which has gates that depend on the input, with each fixed to its mean over the
// tokens of o.Data: a change of weights, which can be fused. It reports how far each is open.
func FreezeGates(ctx context.Context, o Options) (*adapter.Adapter, []Opening, error) {
	if err := kernel.Check(); err != nil {
		return nil, nil, fault.Wrap(fault.Usage, "", err, "kernels")
	}
	m, ds, err := open(ctx, &o)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	defer ds.Close()
	a, err := adapter.Load(o.Adapters[0].Path)
	if err != nil {
		return nil, nil, err
	}
	if !a.InputDependent() {
		return nil, nil, fault.New(fault.Incompatible, a.Path, "has no gate that depends on the input: there is nothing to freeze")
	}
	s, err := newStates(m, o, [][]adapter.Ref{o.Adapters})
	if err != nil {
		return nil, nil, err
	}
	if err := s.to(0); err != nil {
		return nil, nil, err
	}
	scorer, err := NewScorer(m)
	if err != nil {
		return nil, nil, err
	}
	defer scorer.Close()
	means, err := scorer.MeanGates(ctx, m.Linears(), ds, o.BatchTokens)
	if err != nil {
		return nil, nil, err
	}
	return a, Freeze(a, means), nil
}

// Freeze fixes the gates of a to the given means, by module, and reports how far each is open.
func Freeze(a *adapter.Adapter, means map[string][]float32) []Opening {
	var list []Opening
	for _, d := range a.Deltas {
		if f, ok := d.(*adapter.FouRA); ok && means[f.Name] != nil {
			f.Freeze(means[f.Name])
			list = append(list, OpeningOf(f.Name, means[f.Name]))
		}
	}
	a.Config.Gate, a.Config.GateTemperature = adapter.GateFrozen, 0
	return list
}
