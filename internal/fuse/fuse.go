// Package fuse adds adapters into the weights of a base model and writes the result as a new checkpoint.
//
// Each weight becomes W' = W + Σ αᵢSᵢ. The sum over the adapters is formed in float64 in an order that depends on the
// adapters alone, so that the order in which they are given does not matter; it is rounded to float32 and added to W in
// float32, and that is rounded once to the type in which W is stored. For a float64 weight all of it is in float64.
// Tensors that no adapter touches are copied byte for byte.
//
// Deltas smaller than half a unit in the last place of W vanish in that rounding. The report says how many survive.
package fuse

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Options says what to fuse and where to.
type Options struct {
	Base     string        // a safetensors file or a model directory
	Adapters []adapter.Ref // at least one; weight 0 leaves the base as it is
	Out      string        // where to; "" = [DefaultOut]

	Force     bool // an output that exists may be replaced
	ForceBase bool // adapters trained on another base may be applied
	DryRun    bool // report only; nothing is written, and an output that exists is no error

	// MinSurvival is the least share of entries that must change stored bits, 0 … 1; a lower one is a Gate error. Where no
	// entry has anything to add, nothing can be lost.
	MinSurvival float64

	Progress func(done, total int64) // told of bytes processed, at most; may be nil
	Notice   func(s string)          // told what the user should know, one line; may be nil
}

// Run fuses adapters into a base. Its report is complete also when the error is of kind Gate, which means that
// MinSurvival was missed and nothing was written.
//
// An output that exists, without Force or DryRun, or that is, lies in or holds an input is a Usage error; adapters that do not fit
// are an Incompatible one that says it all; a sum that is not finite in the stored type is a Numerical one. A canceled
// context is an Interrupted error, unless its cause is a fault of its own. After any error all files are as they were.
func Run(ctx context.Context, o Options) (*Report, error) {
	j, err := prepare(o)
	if err != nil {
		return nil, err
	}
	defer j.model.Close()
	if err := j.measure(ctx); err != nil {
		return nil, err
	}
	report := j.report()
	if share := report.Survival.Share; share != nil && *share < o.MinSurvival {
		return report, fault.New(fault.Gate, o.Base,
			"only %.2f%% of the adapters' entries change its stored bits: at least %.2f%% are wanted", 100**share, 100*o.MinSurvival).
			WithHint("nothing was written; store the base in a wider type, or raise the adapters' weights")
	}
	if o.DryRun {
		return report, nil
	}
	if err := j.write(ctx); err != nil {
		return nil, err
	}
	return report, nil
}

// DefaultOut returns where the fusion of base goes when the user does not say: "<base>-fused" beside it, with the
// extension of a single file.
func DefaultOut(base string, isDir bool) string {
	base = filepath.Clean(base)
	if isDir {
		if name := filepath.Base(base); name == "." || name == ".." { // no names to put anything beside
			if abs, err := filepath.Abs(base); err == nil {
				base = abs
			}
		}
		return base + "-fused"
	}
	ext := filepath.Ext(base)
	return strings.TrimSuffix(base, ext) + "-fused" + ext
}

// job is one run of the command.
type job struct {
	Options
	isDir    bool
	exists   bool // there is something at Out
	model    *checkpoint.Model
	adapters []*adapter.Adapter // in the order given
	tensors  []*target          // those that change, in the order of the model's data
	byName   map[string]*target
	progress meter
}

// prepare opens and checks all inputs and decides on the output.
func prepare(o Options) (*job, error) {
	if len(o.Adapters) == 0 {
		return nil, fault.New(fault.Usage, "", "no adapter to fuse")
	}
	if !(o.MinSurvival >= 0 && o.MinSurvival <= 1) {
		return nil, fault.New(fault.Usage, "", "the least survival is %v: want a share from 0 to 1", o.MinSurvival)
	}
	j := &job{Options: o}
	var err error
	if j.isDir, err = isDir(o.Base); err != nil {
		return nil, err
	}
	if j.Out = filepath.Clean(o.Out); o.Out == "" {
		j.Out = DefaultOut(o.Base, j.isDir)
	}
	if err := j.checkOutput(); err != nil {
		return nil, err
	}
	for _, ref := range o.Adapters {
		a, err := adapter.Load(ref.Path)
		if err != nil {
			return nil, err
		}
		j.adapters = append(j.adapters, a)
		if notice := a.Notice(); notice != "" && o.Notice != nil {
			o.Notice(notice)
		}
	}
	if j.model, err = checkpoint.OpenModel(o.Base); err != nil {
		return nil, err
	}
	if err := adapter.CheckAll(j.model, j.adapters, o.ForceBase); err != nil {
		j.model.Close()
		return nil, err
	}
	j.collect()
	return j, nil
}

// collect finds the tensors that change, and which deltas change them.
func (j *job) collect() {
	j.byName = map[string]*target{}
	for _, i := range j.canonicalOrder() {
		for _, d := range j.adapters[i].Deltas {
			name := adapter.WeightName(d)
			if j.byName[name] == nil {
				j.byName[name] = &target{}
			}
			t := j.byName[name]
			t.terms = append(t.terms, term{delta: d, weight: j.Adapters[i].Weight, adapter: i})
		}
	}
	for _, t := range j.model.Tensors() {
		if target := j.byName[t.Name]; target != nil {
			target.Tensor = t
			j.tensors = append(j.tensors, target)
			j.progress.total += t.Size() // the measuring
		}
	}
	if !j.DryRun {
		j.progress.total += j.model.Size() // the writing
	}
	j.progress.tell = j.Progress
}

// canonicalOrder returns the adapters' indices in an order that does not depend on how they were given.
func (j *job) canonicalOrder() []int {
	keys := make([]string, len(j.adapters))
	order := make([]int, len(j.adapters))
	for i, a := range j.adapters {
		keys[i], order[i] = a.Digest(), i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		if c := strings.Compare(keys[x], keys[y]); c != 0 {
			return c
		}
		switch wx, wy := j.Adapters[x].Weight, j.Adapters[y].Weight; {
		case wx < wy:
			return -1
		case wx > wy:
			return 1
		}
		return strings.Compare(filepath.Base(j.Adapters[x].Path), filepath.Base(j.Adapters[y].Path))
	})
	return order
}

// interrupted returns the error of a canceled context, nil while it is not.
func interrupted(ctx context.Context, path string) error {
	if ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if fault.KindOf(cause) != fault.Internal {
		return cause
	}
	return fault.Wrap(fault.Interrupted, path, cause, "not written")
}

// meter adds up progress.
type meter struct {
	done, total int64
	tell        func(done, total int64)
}

func (m *meter) add(n int64) {
	m.done += n
	if m.tell != nil {
		m.tell(m.done, m.total)
	}
}
