// Package extract derives an adapter from two checkpoints of one model: the sparse or the low-rank change that leads from the
// one to the other.
package extract

import (
	"cmp"
	"context"
	"slices"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Options says what to extract. At most one of Threshold, TopK, Density and Rank is set; without any the adapter has every
// entry that differs.
type Options struct {
	Base, Tuned string // safetensors files or model directories

	Threshold float64 // the least magnitude of a change that is taken
	TopK      int     // how many entries of each weight are taken, the largest
	Density   float64 // the same as a share of each weight
	Rank      int     // of a LoRA adapter
	Seed      uint64  // of Rank's sketches

	Progress func(done, total int64) // told of bytes of the base; may be nil
}

// Report says what was extracted. Fields are only ever added to its JSON.
type Report struct {
	Base       string         `json:"base"`
	Tuned      string         `json:"tuned"`
	Output     string         `json:"output"`
	DryRun     bool           `json:"dry_run"`
	Method     string         `json:"method"`
	Parameters int64          `json:"parameters"`
	Changed    int64          `json:"changed"`     // entries of the adapted weights that differ between the models
	Taken      int64          `json:"taken"`       // of these, how many the adapter changes
	Inexact    int64          `json:"inexact"`     // entries that base + adapter has with other bits than the tuned model
	Exact      bool           `json:"exact"`       // fusing gives the tuned model bit for bit
	Error      float64        `json:"error"`       // ‖tuned − base − ΔW‖ / ‖tuned − base‖, over all weights
	Tensors    []TensorReport `json:"tensors"`     // the adapted weights, in the order of the base's data
	NotAdapted []string       `json:"not_adapted"` // tensors that differ but that an adapter cannot change
}

// TensorReport is one adapted weight.
type TensorReport struct {
	Name       string  `json:"name"`
	DType      string  `json:"dtype"`
	Parameters int     `json:"parameters"`
	Changed    int64   `json:"changed"`
	Taken      int64   `json:"taken"`
	Inexact    int64   `json:"inexact"`
	Norm       float64 `json:"norm"` // ‖tuned − base‖
	Error      float64 `json:"error"`

	squares, rest float64 // ‖tuned − base‖² and what of it the adapter does not have
}

// check finds options that contradict each other or have no meaning.
func (o *Options) check() error {
	given := 0
	for _, set := range []bool{o.Threshold != 0, o.TopK != 0, o.Density != 0, o.Rank != 0} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return fault.New(fault.Usage, "", "want one of a threshold, a number of entries, a density and a rank")
	case o.Threshold < 0 || o.Threshold-o.Threshold != 0:
		return fault.New(fault.Usage, "", "threshold: want a positive number, got %v", o.Threshold)
	case o.TopK < 0:
		return fault.New(fault.Usage, "", "top-k: want a positive number, got %d", o.TopK)
	case !(o.Density >= 0 && o.Density <= 1):
		return fault.New(fault.Usage, "", "density: want a share above 0 and at most 1, got %v", o.Density)
	case o.Rank < 0 || o.Rank > maxRank:
		return fault.New(fault.Usage, "", "rank: want 1 to %d, got %d", maxRank, o.Rank)
	}
	return nil
}

// maxRank bounds the sketches' size.
const maxRank = 1024

// Run returns the adapter that leads from the base to the tuned model, with a report but for its output. The models are read
// in blocks; in memory is the adapter.
//
// Models of other tensors, shapes or types are an Incompatible error that lists all of them, and so are models without a
// difference that an adapter could have; a difference that is not finite is a Numerical one.
func Run(ctx context.Context, o Options) (*adapter.Adapter, *Report, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	base, err := checkpoint.OpenModel(o.Base)
	if err != nil {
		return nil, nil, err
	}
	defer base.Close()
	tuned, err := checkpoint.OpenModel(o.Tuned)
	if err != nil {
		return nil, nil, err
	}
	defer tuned.Close()
	pairs, err := match(base, tuned, o.Tuned)
	if err != nil {
		return nil, nil, err
	}
	e := extractor{Options: o, ctx: ctx, tied: adapter.Tied(base), report: &Report{
		Base: o.Base, Tuned: o.Tuned, Method: "shira", Exact: true, Tensors: []TensorReport{}, NotAdapted: []string{},
	}}
	if o.Rank > 0 {
		e.report.Method = "lora"
	}
	for _, p := range pairs {
		if err := e.tensor(p); err != nil {
			return nil, nil, err
		}
		if e.done += p.base.Size(); o.Progress != nil {
			o.Progress(e.done, base.Size())
		}
	}
	a, err := e.adapter(base)
	return a, e.report, err
}

// pair is a tensor of both models.
type pair struct{ base, tuned checkpoint.Tensor }

// match pairs the tensors, in the order of the base's data.
func match(base, tuned *checkpoint.Model, path string) ([]pair, error) {
	var pairs []pair
	var bad fault.Problems
	for _, b := range base.Tensors() {
		t, ok := tuned.Lookup(b.Name)
		switch {
		case !ok:
			bad.Add("%s is missing", fault.Quote(b.Name))
		case !slices.Equal(b.Shape, t.Shape):
			bad.Add("%s has shape %v, but in the base %v", fault.Quote(b.Name), t.Shape, b.Shape)
		case b.DType != t.DType:
			bad.Add("%s is %s, but in the base %s", fault.Quote(b.Name), t.DType, b.DType)
		}
		pairs = append(pairs, pair{b, t})
	}
	for _, name := range tuned.Names() {
		if _, ok := base.Lookup(name); !ok {
			bad.Add("%s is not in the base", fault.Quote(name))
		}
	}
	bad.Suggest("both must be checkpoints of one architecture, in the same types")
	return pairs, bad.Err(fault.Incompatible, path, "is no tuned form of the base")
}

// adapter makes the adapter of what was found.
func (e *extractor) adapter(base *checkpoint.Model) (*adapter.Adapter, error) {
	r := e.report
	if len(e.deltas) == 0 {
		if len(r.NotAdapted) == 0 {
			return nil, fault.New(fault.Incompatible, e.Tuned, "does not differ from %s where an adapter could", e.Base)
		}
		return nil, fault.New(fault.Incompatible, e.Tuned, "differs from %s only in tensors that are no adapter's: %s", e.Base, fault.Quote(r.NotAdapted[0]))
	}
	fingerprint, err := base.Fingerprint()
	if err != nil {
		return nil, err
	}
	a := &adapter.Adapter{Config: adapter.Config{Method: r.Method, BaseName: e.Base, BaseFingerprint: fingerprint}, Deltas: e.deltas}
	total, squares, rest := int64(0), 0.0, 0.0
	for i, d := range e.deltas {
		out, in := d.Shape()
		total += int64(out) * int64(in)
		a.Config.TargetModules = append(a.Config.TargetModules, d.Module())
		t := &r.Tensors[i]
		r.Changed += t.Changed
		r.Taken += t.Taken
		r.Inexact += t.Inexact
		squares += t.squares
		rest += t.rest
		t.Norm, t.Error = root(t.squares), relative(t.rest, t.squares)
	}
	r.Parameters, r.Error = a.Parameters(), relative(rest, squares)
	r.Exact = r.Inexact == 0 && len(r.NotAdapted) == 0 && e.Rank == 0
	if e.Rank > 0 {
		a.Config.R, a.Config.Alpha = e.Rank, float64(e.Rank)
	} else {
		a.Config.Density = cmp.Or(e.Density, float64(r.Parameters)/float64(total))
	}
	return a, nil
}
