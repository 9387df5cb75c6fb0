// Package fuse merges adapters into the weights of a base model and writes the result as a new checkpoint, or as one
// adapter. Package merge has the methods and the arithmetic.
//
// One pass over the base reads, merges and writes, in blocks of rows and on all threads. Tensors that no adapter touches
// are copied byte for byte, within the system where it can do that.
//
// Deltas smaller than half a unit in the last place of W vanish in the rounding to its type. The report says how many
// survive.
package fuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/merge"
)

// Options says what to fuse and where to.
type Options struct {
	Base     string   // a safetensors file or a model directory
	Adapters []Source // at least one
	Out      string   // where to; "" = [DefaultOut]

	Method string // a name of [merge.Lookup]; "" = linear
	Params merge.Params

	AdapterOnly  bool // the output is one adapter, a directory or with the extension .safetensors or .st a file
	Rank         int  // with AdapterOnly, it is the nearest LoRA adapter of that rank; 0 = as exact as the adapters
	Interference bool // the report has AWOM and AWOR, which take time

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
// An output that exists, without Force or DryRun, or that is, lies in or holds an input is a Usage error; adapters that do
// not fit are an Incompatible one that says it all; a sum that is not finite in the stored type is a Numerical one. A
// canceled context is an Interrupted error, unless its cause is a fault of its own. After any error all files are as they
// were.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	err = checkpoint.Guard("an adapter's file", func() error {
		j, err := prepare(o)
		if err != nil {
			return err
		}
		defer j.close()
		report, err = j.run(ctx)
		return err
	})
	return report, err
}

// run is Run once all is open.
func (j *job) run(ctx context.Context) (*Report, error) {
	for _, t := range j.tensors {
		if err := t.Prepare(ctx); err != nil {
			if e := fault.Canceled(ctx, j.Out, "not written"); e != nil {
				return nil, e
			}
			return nil, err
		}
		j.release(t)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wait := j.identify(cancel)
	var report *Report
	accept := func() (err error) {
		if err := wait(); err != nil {
			return err
		}
		if report, err = j.report(ctx); err != nil {
			return err
		}
		share := report.Survival.Share
		if share == nil || *share >= j.MinSurvival {
			return nil
		}
		return fault.New(fault.Gate, j.Base,
			"only %.2f%% of the adapters' entries change its stored bits: at least %.2f%% are wanted", 100**share, 100*j.MinSurvival).
			WithHint("nothing was written; store the base in a wider type, or raise the adapters' weights")
	}
	var err error
	switch {
	case j.AdapterOnly:
		err = j.writeAdapter(ctx, accept, &report)
	case j.DryRun:
		if err = j.pass(ctx, nil); err == nil {
			err = accept()
		}
	default:
		err = j.write(ctx, accept)
	}
	if e := wait(); e != nil {
		err = e
	}
	if err != nil && (report == nil || fault.KindOf(err) != fault.Gate) {
		return nil, err
	}
	return report, err
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
	exists   bool   // there is something at Out
	letGo    func() // of what is at Out; nil for a dry run
	model    *checkpoint.Model
	method   *merge.Method
	adapters []*adapter.Adapter // in the order given
	identity identity
	finder   finder    // looks at the base when its fingerprint is made
	tensors  []*target // those that change, in the order of the model's data
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
	j := &job{Options: o, finder: finder{found: map[string]*Extremes{}}}
	var err error
	if o.Method == "" {
		o.Method = "linear"
	}
	if j.method, err = merge.Lookup(o.Method); err != nil {
		return nil, err
	}
	if j.Params == (merge.Params{}) {
		j.Params = merge.DefaultParams()
	}
	if err := j.method.Check(j.Params); err != nil {
		return nil, err
	}
	if o.Rank < 0 || o.Rank > maxRank || o.Rank > 0 && !o.AdapterOnly {
		return nil, fault.New(fault.Usage, "", "a rank of %d: want 1 to %d, for an output that is an adapter", o.Rank, maxRank)
	}
	if err := j.Place(); err != nil {
		return nil, err
	}
	if j.isDir, err = isDir(o.Base, "base"); err != nil {
		return nil, err
	}
	if err := j.checkOutput(); err != nil {
		j.close()
		return nil, err
	}
	j.noteTwins()
	if err := j.open(); err != nil {
		j.close()
		return nil, err
	}
	err = j.collect()
	if err == nil && o.AdapterOnly {
		err = j.checkForm()
	}
	if err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// open opens the inputs and checks what can be seen without reading all of the base.
func (j *job) open() error {
	opened, errs := make([]*adapter.Adapter, len(j.Adapters)), make([]error, len(j.Adapters))
	var group sync.WaitGroup
	for i, source := range j.Adapters { // beside each other: all of their values are checked
		group.Go(func() { opened[i], errs[i] = adapter.Open(source.Path) })
	}
	group.Wait()
	for _, a := range opened {
		if a == nil {
			continue
		}
		j.adapters = append(j.adapters, a)
		if notice := a.Notice(); notice != "" && j.Notice != nil {
			j.Notice(notice)
		}
	}
	var err error
	j.model, err = checkpoint.OpenModel(j.Base)
	if err := errors.Join(append([]error{err}, errs...)...); err != nil {
		return err
	}
	j.identity = j.newIdentity()
	if err := adapter.CheckAll(j.model, j.adapters, true); err != nil {
		return cmp.Or(adapter.CheckAll(j.model, j.adapters, j.ForceBase), err) // with another base, should it be one
	}
	return nil
}

// noteTwins notes an adapter that is given more than once, which is rarely meant.
func (j *job) noteTwins() {
	for i, source := range j.Adapters {
		same := func(other Source) bool { return sameFile(source.Path, other.Path) }
		if j.Notice != nil && slices.ContainsFunc(j.Adapters[:i], same) {
			j.Notice(fmt.Sprintf("%s is given more than once: its change counts each time", source.Path))
		}
	}
}

func (j *job) close() {
	for _, a := range j.adapters {
		a.Close()
	}
	if j.model != nil {
		j.model.Close()
	}
	if j.letGo != nil {
		j.letGo()
	}
}

// collect finds the tensors that change, and which deltas change them.
func (j *job) collect() error {
	order, salts := []int{0, 1}[:min(len(j.adapters), 2)], make([]string, len(j.adapters))
	if j.orderMatters() {
		var err error
		if order, salts, err = j.canonicalOrder(); err != nil {
			return err
		}
	}
	terms := map[string][]merge.Term{}
	for _, i := range order {
		for _, d := range j.adapters[i].Deltas {
			name := adapter.WeightName(d)
			terms[name] = append(terms[name], merge.Term{
				Delta: d, Weight: j.Adapters[i].weightOf(name), Adapter: i, Salt: salts[i],
			})
		}
	}
	j.byName = map[string]*target{}
	for _, t := range j.model.Tensors() {
		if len(terms[t.Name]) == 0 {
			continue
		}
		target := &target{Target: merge.New(t, terms[t.Name], j.method, j.Params, len(j.adapters))}
		j.tensors = append(j.tensors, target)
		j.byName[t.Name] = target
		if !j.writesModel() {
			j.progress.total += t.Size()
		}
	}
	if j.writesModel() {
		j.progress.total = j.model.Size()
	}
	j.progress.tell = j.Progress
	return nil
}

// writesModel says whether the output is a model, and not an adapter or only a report.
func (j *job) writesModel() bool { return !j.DryRun && !j.AdapterOnly }

// meter adds up progress, from any goroutine.
type meter struct {
	sync.Mutex
	done, total int64
	tell        func(done, total int64)
}

func (m *meter) add(n int64) {
	m.Lock()
	defer m.Unlock()
	m.done += n
	if m.tell != nil {
		m.tell(m.done, m.total)
	}
}
