// Package mask chooses which entries of a weight a sparse adapter trains.
//
// A strategy is a pure function of the request: the same request gives the same mask on every machine, for any number of
// threads and in any order of layers. It puts the entries of a weight in an order, of which a mask is a stretch: the first
// K, or with an offset the next. To add one, write its file and add its line to the table below.
package mask

import (
	"slices"
	"strings"

	"shira/internal/fault"
)

// Request says for which weight a mask is wanted.
type Request struct {
	Name    string // of the weight, e.g. "model.layers.0.self_attn.q_proj.weight"; part of the seed of random masks
	Out, In int    // the weight's shape
	K       int    // entries to select, 1 … Out·In

	Offset  int     // entries to pass over, so that masks that follow each other share none
	Exclude []int64 // ascending flat indices that are neither selected nor passed over; may be nil

	Seed      uint64    // of the run; read by random strategies only
	Axis      Axis      // read by struct only
	Weights   []float32 // the weight itself, Out×In row-major; may be nil where the strategy does not need it
	Gradients []float32 // ∂L/∂W, likewise
}

// Strategy is one way to choose a mask.
type Strategy struct {
	Name           string
	NeedsWeights   bool // Request.Weights must be set
	NeedsGradients bool // Request.Gradients must be set

	order func(*walk) // visits the entries in the strategy's order; nil with a score
	score *score      // ranks the entries, the largest first; nil with an order
}

var strategies = []Strategy{
	{Name: "struct", order: structure},
	{Name: "rand", order: random},
	{Name: "wm", NeedsWeights: true, score: &magnitude},
	{Name: "grad", NeedsGradients: true, score: &gradient},
	{Name: "snip", NeedsWeights: true, NeedsGradients: true, score: &sensitivity},
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

// Scored says whether the strategy gives each entry a score, by which entries of several weights compare.
func (s Strategy) Scored() bool { return s.score != nil }

// Select returns r.K distinct flat indices row·In + column in ascending order.
//
// A budget that does not fit the weight is a Usage error, scores that cannot be compared a Numerical one; both name the
// weight.
func (s Strategy) Select(r Request) ([]int64, error) {
	if r.K < 1 {
		return nil, fault.New(fault.Usage, "", "%s: a mask of %d entries selects nothing", fault.Quote(r.Name), r.K)
	}
	if err := s.check(&r); err != nil {
		return nil, err
	}
	if left := r.entries() - int64(len(r.Exclude)); int64(r.K) > left-int64(r.Offset) {
		return nil, r.tooMany(left)
	}
	if s.score != nil {
		return s.score.top(&r)
	}
	w := newWalk(r)
	s.order(w)
	slices.Sort(w.picked)
	return w.picked, nil
}

func (r *Request) entries() int64 { return int64(r.Out) * int64(r.In) }

// check finds a request that no caller should make.
func (s Strategy) check(r *Request) error {
	n := r.entries()
	for _, v := range []struct {
		needed bool
		what   string
		values []float32
	}{{s.NeedsWeights, "weights", r.Weights}, {s.NeedsGradients, "gradients", r.Gradients}} {
		if v.needed && int64(len(v.values)) != n {
			return fault.New(fault.Internal, "", "%s: mask %s got %d %s for %d×%d", fault.Quote(r.Name), s.Name, len(v.values), v.what, r.Out, r.In)
		}
	}
	if k := len(r.Exclude); r.Offset < 0 || k > 0 && (r.Exclude[0] < 0 || r.Exclude[k-1] >= n) {
		return fault.New(fault.Internal, "", "%s: an offset of %d and %d excluded entries in %d×%d", fault.Quote(r.Name), r.Offset, k, r.Out, r.In)
	}
	return nil
}

// tooMany is the error of a budget beyond the entries that are left.
func (r *Request) tooMany(left int64) error {
	const hint = "lower r or density, or leave this module out of target_modules"
	n := r.entries()
	if r.Offset == 0 && left == n {
		return fault.New(fault.Usage, "", "%s: a mask of %d entries exceeds the weight's %d×%d = %d", fault.Quote(r.Name), r.K, r.Out, r.In, n).WithHint(hint)
	}
	return fault.New(fault.Usage, "", "%s: a mask of %d entries after an offset of %d exceeds the %d of the weight's %d×%d = %d that are not excluded",
		fault.Quote(r.Name), r.K, r.Offset, left, r.Out, r.In, n).WithHint(hint)
}
