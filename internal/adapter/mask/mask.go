// Package mask chooses which entries of a weight a sparse adapter trains.
//
// A strategy is a pure function of the request: the same request gives the same mask on every machine, for any number of
// threads and in any order of layers. To add one, write its file and add its line to the table below.
package mask

import (
	"strings"

	"shira/internal/fault"
)

// Request says for which weight a mask is wanted.
type Request struct {
	Name    string    // of the weight, e.g. "model.layers.0.self_attn.q_proj.weight"; part of the seed of random masks
	Out, In int       // the weight's shape
	K       int       // entries to select, 1 … Out·In
	Seed    uint64    // of the run; read by random strategies only
	Weights []float32 // the weight itself, Out×In row-major; may be nil where the strategy does not need it
}

// Strategy is one way to choose a mask.
type Strategy struct {
	Name         string
	NeedsWeights bool // Request.Weights must be set
	pick         func(Request) ([]int64, error)
}

var strategies = []Strategy{
	{Name: "rand", pick: pickRandom},
	{Name: "wm", NeedsWeights: true, pick: pickMagnitude},
}

// Names returns the names of all strategies, as configuration files spell them.
func Names() []string {
	names := make([]string, len(strategies))
	for i, s := range strategies {
		names[i] = s.Name
	}
	return names
}

// Lookup returns the strategy of that name, or a Usage error that lists those there are.
func Lookup(name string) (Strategy, error) {
	for _, s := range strategies {
		if s.Name == name {
			return s, nil
		}
	}
	return Strategy{}, fault.New(fault.Usage, "", "unknown mask %s: want one of %s",
		fault.Quote(name), strings.Join(Names(), ", "))
}

// Select returns r.K distinct flat indices row·In + column in ascending order.
//
// A budget that does not fit the weight is a Usage error, weights that cannot be compared a Numerical one; both name the
// weight.
func (s Strategy) Select(r Request) ([]int64, error) {
	n := int64(r.Out) * int64(r.In)
	switch {
	case r.K < 1:
		return nil, fault.New(fault.Usage, "", "%s: a mask of %d entries selects nothing", fault.Quote(r.Name), r.K)
	case int64(r.K) > n:
		return nil, fault.New(fault.Usage, "", "%s: a mask of %d entries exceeds the weight's %d×%d = %d",
			fault.Quote(r.Name), r.K, r.Out, r.In, n).WithHint("lower r or density, or leave this module out of target_modules")
	case s.NeedsWeights && int64(len(r.Weights)) != n:
		return nil, fault.New(fault.Internal, "", "%s: mask %s got %d weights for %d×%d",
			fault.Quote(r.Name), s.Name, len(r.Weights), r.Out, r.In)
	}
	return s.pick(r)
}
