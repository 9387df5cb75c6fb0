// Package switcher changes the adapter of a model in place: on the disk, where the base comes back to the bit and no crash
// leaves anything between two states (see docs/switch.md), and in memory.
package switcher

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// Options says which model to switch, and to what.
type Options struct {
	Model    string        // a safetensors file or a model directory
	Adapters []adapter.Ref // what it is to have; none: the base
	Force    bool          // adapters that were trained on another base may be applied
	DryRun   bool          // find out only; change nothing

	Progress func(done, total int64) // told of bytes of weights, twice; may be nil
	Notice   func(s string)          // told what the user should know, one line; may be nil
}

// Report says what a switch did.
type Report struct {
	Model     string    `json:"model"`
	Applied   []Applied `json:"applied"`  // now; empty for the base
	Previous  []Applied `json:"previous"` // before
	Changed   bool      `json:"changed"`  // false where the model had what it was to have
	Recovered bool      `json:"recovered"`
	DryRun    bool      `json:"dry_run"`
	Base      string    `json:"base_fingerprint"` // of the model without adapters
	Tensors   int       `json:"tensors"`          // that were restored or changed
	Room      int64     `json:"journal_bytes_at_most"`
	Seconds   float64   `json:"seconds"` // for all of it
	Work
}

// Switch brings the model to the base with the adapters, from whatever adapters it has, and undoes before that a switch that
// did not end. An adapter of weight 0 has to fit too, but takes no part.
//
// Adapters that do not fit and files that others share are an Incompatible error that says it all; a model that another
// process uses is a Locked one; a sum that is not finite in the stored type a Numerical one; a record that is damaged or of
// other weights an Unrecoverable one. After these the weights are as they were, and so they are when the context is canceled.
// After an error of the disk while the weights are being written, the next switch or [Recover] puts them back.
func Switch(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	adapters, err := load(o)
	if err != nil {
		return nil, err
	}
	s, closeFS, err := openStore(o.Model)
	if err != nil {
		return nil, err
	}
	defer closeFS()
	first := !s.exists()
	known := ""
	if o.DryRun || first { // a first switch that is refused leaves no directory behind
		r, err := s.plan(o, adapters)
		if err != nil || o.DryRun || !r.Changed {
			return r, err
		}
		known = r.Base
	}
	lock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	report := &Report{Model: o.Model}
	if report.Recovered, err = s.restore(); err != nil {
		return nil, err
	}
	w, err := s.open(o.Model, true)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if w.record == nil && first {
		w.base = known
	}
	tx, err := w.transaction(o, adapters)
	if err != nil {
		return nil, err
	}
	report.Base, report.Applied, report.Previous = tx.base, tx.applied, w.applied()
	h := tx.header(s.block)
	if report.Room, err = tx.most(h); err != nil {
		return nil, err
	}
	if w.marked != "" { // by a switch that did not happen: these are the base's weights
		if err := s.unmark(); err != nil {
			return nil, err
		}
	}
	if !same(report.Applied, report.Previous) {
		work, err := s.run(ctx, tx)
		if err != nil {
			return nil, canceled(ctx, err)
		}
		report.Work, report.Changed, report.Tensors = *work, true, len(h.Tensors)
	}
	report.Seconds = time.Since(start).Seconds()
	return report, nil
}

// canceled returns the cause of a canceled context in the place of err.
func canceled(ctx context.Context, err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	if cause := context.Cause(ctx); fault.KindOf(cause) != fault.Internal {
		return cause
	}
	return fault.Wrap(fault.Interrupted, "", err, "the weights are as they were")
}

// load reads the adapters.
func load(o Options) ([]*adapter.Adapter, error) {
	var list []*adapter.Adapter
	for _, ref := range o.Adapters {
		a, err := adapter.Load(ref.Path)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
		if notice := a.Notice(); notice != "" && o.Notice != nil {
			o.Notice(notice)
		}
		if ref.Weight == 0 && o.Notice != nil {
			o.Notice(fmt.Sprintf("%s takes no part: its weight is 0", ref.Path))
		}
	}
	return list, nil
}

// openStore opens the directory of a model and of its journals.
func openStore(model string) (s *store, closeFS func(), err error) {
	dir, name := checkpoint.StateDir(model)
	if _, err := fsx.Resolve(model); err != nil {
		return nil, nil, fsx.Wrap(err, model, "open")
	}
	f, err := fsx.OpenFS(dir)
	if err != nil {
		return nil, nil, err
	}
	single, _ := strings.CutSuffix(name, ".shira") // "" for the directory's own
	return &store{model: model, fs: f, dir: name, single: single, block: blockElements, workers: runtime.GOMAXPROCS(0)},
		func() { _ = f.Close() }, nil // it was only read
}

// opened is a locked model, and the record of what it has.
type opened struct {
	model  *checkpoint.Model
	shards *shards
	record *journal // nil for the base
	file   io.Closer
	base   string // fingerprint; "" while unknown
	state  string // the directory of the journals, as messages call it
	marked string // what [store.marked] says, where there is no record
}

// open opens the weights, to write or only to look.
func (s *store) open(path string, write bool) (*opened, error) {
	open := checkpoint.OpenModel
	if write {
		open = checkpoint.OpenToSwitch
	}
	m, err := open(path)
	if err != nil {
		return nil, err
	}
	w := &opened{model: m, state: s.fs.Path(s.dir)}
	var list []string
	for _, f := range m.Files() {
		list = append(list, filepath.Base(f.Path()))
	}
	if err = s.checkShard(list); err == nil {
		w.shards, err = s.openShards(list, write)
	}
	if err == nil {
		err = w.shards.areOf(m)
	}
	if err == nil {
		err = s.openRecord(w)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// checkShard refuses one file of a model in several.
func (s *store) checkShard(list []string) error {
	if len(list) != 1 || list[0] == checkpoint.ModelFile {
		return nil
	}
	m, err := checkpoint.OpenToSwitch(s.fs.Path("."))
	if err != nil {
		return nil // no model that it could be part of
	}
	defer m.Close()
	for _, f := range m.Files() {
		if filepath.Base(f.Path()) == list[0] && len(m.Files()) > 1 {
			return fault.New(fault.Incompatible, s.model, "is one of the %d files of a model", len(m.Files())).
				WithHint("give the directory: all files are switched together")
		}
	}
	return nil
}

// openRecord opens the record of what the weights have.
func (s *store) openRecord(w *opened) error {
	n, err := s.scan()
	if err != nil {
		return err
	}
	if w.record, w.file, err = s.current(n); err != nil {
		return err
	}
	if w.record == nil {
		w.marked, err = s.marked()
		return err
	}
	return w.record.match(w.shards, "if the weights were replaced on purpose, remove "+s.fs.Path(s.dir))
}

func (w *opened) close() {
	w.model.Close()
	if w.shards != nil {
		w.shards.close()
	}
	if w.file != nil {
		w.file.Close()
	}
}

// applied returns the adapters that the model has.
func (w *opened) applied() []Applied {
	if w.record == nil {
		return []Applied{}
	}
	return w.record.Applied
}

// fingerprint returns that of the base.
func (w *opened) fingerprint() (string, error) {
	switch {
	case w.record != nil:
		return w.record.Base, nil
	case w.base != "":
		return w.base, nil
	}
	return w.model.Fingerprint()
}

// checkMark fails where there is no record, but the weights are not the base's of the last switch: somebody removed it.
func (w *opened) checkMark(base string) error {
	if w.marked == "" || w.marked == base {
		return nil
	}
	return fault.New(fault.Unrecoverable, w.state, "the record of the last switch is gone, and the weights are not the base's").
		WithHint("put its applied-N back; or give the model its base's weights, or others, and remove this directory")
}

// transaction plans the switch to adapters that are checked against the base here.
func (w *opened) transaction(o Options, adapters []*adapter.Adapter) (*transaction, error) {
	base, err := w.fingerprint()
	if err == nil {
		err = w.checkMark(base)
	}
	if err != nil {
		return nil, err
	}
	if err := adapter.CheckWith(w.model, func() (string, error) { return base, nil }, adapters, o.Force); err != nil {
		return nil, err
	}
	tx := &transaction{number: w.record.next(), base: base, applied: []Applied{}, old: w.record, shards: w.shards, tell: o.Progress}
	files := map[string]int{}
	for i, f := range w.model.Files() {
		files[f.Path()] = i
	}
	seen := map[string]bool{}
	order, digests := canonicalOrder(adapters, o.Adapters)
	for _, i := range order {
		a, weight := adapters[i], o.Adapters[i].Weight
		if weight == 0 {
			continue
		}
		tx.applied = append(tx.applied, Applied{Adapter: strings.ToValidUTF8(o.Adapters[i].Path, "\uFFFD"), Method: a.Config.Method, Digest: digests[i], Weight: weight})
		for _, d := range a.Deltas {
			t, _ := w.model.Lookup(adapter.WeightName(d))
			target := tensor{Name: t.Name, File: files[t.Path()], DType: t.DType.String(), Offset: t.Offset(), Rows: t.Shape[0],
				Cols: t.Shape[1], size: t.DType.Size()}
			tx.room += room(d, &target, w.record != nil, blockElements)
			if !seen[t.Name] {
				seen[t.Name] = true
				tx.targets = append(tx.targets, target)
			}
		}
	}
	slices.SortFunc(tx.targets, tensor.compare)
	tx.change = newSums(order, adapters, o.Adapters, func(name string) checkpoint.Tensor {
		t, _ := w.model.Lookup(name)
		return t
	})
	return tx, nil
}

// room returns how many bytes of a journal a delta's entries take at most: heads of segments, their gaps, what they are, and
// where they may have been changed already what they are in the base.
func room(d adapter.Delta, t *tensor, changed bool, block int) int64 {
	copies := int64(1)
	if changed {
		copies = 2
	}
	n, gap := t.len(), int64(0)
	blocks := (n + t.step(block) - 1) / t.step(block)
	if _, ok := d.(adapter.Entries); ok {
		n, gap = int64(d.Parameters()), binary.MaxVarintLen32
		if t.step(block) <= 1<<20 {
			gap = 3
		}
	}
	return n*(copies*int64(t.size)+gap) + blocks*segmentHead
}

// canonicalOrder returns the adapters' indices in an order that does not depend on how they were given, that of package fuse,
// and their digests.
func canonicalOrder(adapters []*adapter.Adapter, refs []adapter.Ref) (order []int, digests []string) {
	for i, a := range adapters {
		order, digests = append(order, i), append(digests, a.Digest())
	}
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Or(strings.Compare(digests[x], digests[y]), cmp.Compare(refs[x].Weight, refs[y].Weight),
			strings.Compare(filepath.Base(refs[x].Path), filepath.Base(refs[y].Path)))
	})
	return order, digests
}

// same says whether two lists are of the same adapters at the same weights, wherever these lie.
func same(a, b []Applied) bool {
	return slices.EqualFunc(a, b, func(x, y Applied) bool { return x.Digest == y.Digest && x.Weight == y.Weight })
}

// plan is Switch without any change, not even of what a switch before it left.
func (s *store) plan(o Options, adapters []*adapter.Adapter) (*Report, error) {
	start := time.Now()
	w, err := s.open(o.Model, false)
	if err != nil {
		return nil, err
	}
	defer w.close()
	tx, err := w.transaction(o, adapters)
	if err != nil {
		return nil, err
	}
	r := &Report{Model: o.Model, DryRun: o.DryRun, Base: tx.base, Applied: tx.applied, Previous: w.applied()}
	h := tx.header(s.block)
	if r.Room, err = tx.most(h); err != nil {
		return nil, err
	}
	if r.Changed = !same(r.Applied, r.Previous); r.Changed {
		r.Tensors = len(h.Tensors)
	}
	r.Seconds = time.Since(start).Seconds()
	return r, s.checkRoom(r.Room)
}
