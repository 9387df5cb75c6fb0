package fuse

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/merge"
	"shira/internal/svd"
)

// AdapterResult describes the adapter that AdapterOnly makes.
type AdapterResult struct {
	Method     string  `json:"method"`
	Parameters int64   `json:"parameters"`
	Rank       int     `json:"rank"`  // of a LoRA adapter
	Error      float64 `json:"error"` // ‖merged change − its product‖ / ‖merged change‖, over all weights
}

// maxRank bounds the rank of an adapter, and so the memory of finding it.
const maxRank = 1024

// writeAdapter makes the report of fusing into the base, then the adapter, and writes that.
func (j *job) writeAdapter(ctx context.Context, accept func() error, report **Report) error {
	if err := j.pass(ctx, nil); err != nil {
		return err
	}
	if err := accept(); err != nil {
		return err
	}
	a, result, err := j.adapter(ctx)
	if err != nil {
		return err
	}
	if (*report).Adapter = result; j.DryRun {
		return nil
	}
	return saveAdapter(a, j.Out)
}

// adapter merges the adapters into one: entries stay entries, LoRA changes that are summed are set side by side, which is
// exact, and with Rank anything becomes the nearest product of that rank.
func (j *job) adapter(ctx context.Context) (*adapter.Adapter, *AdapterResult, error) {
	base, err := j.identity.base()
	if err != nil {
		return nil, nil, err
	}
	out := &adapter.Adapter{Config: adapter.Config{BaseFingerprint: base, BaseName: j.Base, Method: "lora"}}
	r := &AdapterResult{}
	squares, rest := 0.0, 0.0
	form := j.form()
	for _, t := range j.tensors {
		if err := fault.Canceled(ctx, j.Out, "not written"); err != nil {
			return nil, nil, err
		}
		if len(t.Terms) == 0 {
			continue
		}
		var d adapter.Delta
		switch form {
		case asEntries:
			d = t.asEntries()
		case asFactors:
			d = t.asFactors(j.factorRank())
		case asProduct:
			var f *svd.Factors
			if f, err = t.asProduct(ctx, j.Rank); err == nil {
				d = &adapter.LowRank{
					Name: moduleOf(t.Name), Out: t.Shape[0], In: t.Shape[1], R: j.Rank, A: f.A, B: f.B, Alpha: float64(j.Rank), Scale: 1,
				}
				squares += f.Squares
				rest += f.Rest
			}
		}
		if err != nil {
			return nil, nil, err
		}
		j.release(t)
		if s, ok := d.(*adapter.Sparse); ok && len(s.Values) == 0 {
			continue // merged to nothing
		}
		out.Deltas = append(out.Deltas, d)
		out.Config.TargetModules = append(out.Config.TargetModules, d.Module())
	}
	if len(out.Deltas) == 0 {
		return nil, nil, fault.New(fault.Incompatible, j.Out, "the adapters merge to no change at all")
	}
	switch form {
	case asEntries:
		out.Config.Method = "shira"
		out.Config.Density = density(out)
	case asFactors:
		r.Rank = j.factorRank()
	case asProduct:
		r.Rank = j.Rank
	}
	out.Config.R, out.Config.Alpha = r.Rank, float64(r.Rank)
	if r.Method, r.Parameters = out.Config.Method, out.Parameters(); squares > 0 {
		r.Error = math.Sqrt(rest / squares)
	}
	return out, r, nil
}

// density is the share of the adapted weights that an adapter of entries changes.
func density(a *adapter.Adapter) float64 {
	all := 0.0
	for _, d := range a.Deltas {
		out, in := d.Shape()
		all += float64(out) * float64(in)
	}
	return float64(a.Parameters()) / all
}

// form is how several changes become one.
type form int

const (
	noForm    form = iota
	asEntries      // all are of entries
	asFactors      // all are plain products, and are summed
	asProduct      // the nearest product of a given rank
)

func (j *job) form() form {
	if j.Rank > 0 {
		return asProduct
	}
	entries, factors := true, j.method.Name == "linear"
	for _, t := range j.tensors {
		for _, term := range t.Terms {
			_, isEntries := term.Delta.(adapter.Entries)
			l, isProduct := term.Delta.(*adapter.LowRank)
			entries = entries && isEntries
			factors = factors && isProduct && l.Magnitude == nil
		}
	}
	switch {
	case entries:
		return asEntries
	case factors:
		return asFactors
	}
	return noForm
}

// checkForm refuses adapters that have no common form without a rank.
func (j *job) checkForm() error {
	if j.form() != noForm {
		return nil
	}
	return fault.New(fault.Usage, "", "one adapter of these, by method %s, has to be a product of some rank", j.method.Name).
		WithHint("add --rank N; only SHiRA adapters among themselves, and sums of LoRA adapters, go without")
}

func moduleOf(weight string) string { return weight[:len(weight)-len(".weight")] }

// asEntries returns the merged change, without entries that are 0.
func (t *target) asEntries() *adapter.Sparse {
	all := &adapter.Sparse{}
	s := &adapter.Sparse{Name: moduleOf(t.Name), Out: t.Shape[0], In: t.Shape[1]}
	w := t.NewWorker(nil)
	for b := range t.Blocks() {
		first, n := t.Rows(b)
		all.RowIdx, all.ColIdx, all.Values = all.RowIdx[:0], all.ColIdx[:0], all.Values[:0]
		w.Entries(all, first, n)
		for k, v := range all.Values {
			if v != 0 {
				s.RowIdx, s.ColIdx, s.Values = append(s.RowIdx, all.RowIdx[k]), append(s.ColIdx, all.ColIdx[k]), append(s.Values, v)
			}
		}
	}
	return s
}

// factorRank is the rank that all weights' factors have side by side; where one has fewer, zeros fill it up.
func (j *job) factorRank() int {
	r := 0
	for _, t := range j.tensors {
		sum := 0
		for _, term := range t.Terms {
			sum += term.Delta.(*adapter.LowRank).R
		}
		r = max(r, sum)
	}
	return r
}

// asFactors sets A's below each other, and B's, times their scales and weights, beside each other, to a rank of r.
func (t *target) asFactors(r int) *adapter.LowRank {
	out, in := t.Shape[0], t.Shape[1]
	l := &adapter.LowRank{
		Name: moduleOf(t.Name), Out: out, In: in, R: r, A: make([]float32, r*in), B: make([]float32, out*r), Alpha: float64(r), Scale: 1,
	}
	at := 0
	for _, term := range t.Terms {
		d := term.Delta.(*adapter.LowRank)
		a, b := d.Factors()
		copy(l.A[at*in:], a)
		for row := range out {
			for k, v := range b[row*d.R : (row+1)*d.R] {
				l.B[row*r+at+k] = float32(term.Weight * float64(d.Scale) * float64(v))
			}
		}
		at += d.R
	}
	return l
}

// asProduct returns the product of rank r that is nearest to the merged change.
func (t *target) asProduct(ctx context.Context, r int) (*svd.Factors, error) {
	var w *merge.Worker
	var buf []byte
	return svd.Truncate(svd.Source{Rows: t.Shape[0], Cols: t.Shape[1], Read: func(dst []float32, first, n int) error {
		if err := fault.Canceled(ctx, t.Path(), "not written"); err != nil {
			return err
		}
		if w == nil {
			w = t.NewWorker(nil)
		}
		var err error
		if buf, err = t.Read(buf, first, n); err != nil {
			return err
		}
		return w.Merged(dst, buf, first)
	}}, r, 0)
}

// checkAdapterOutput refuses an output that would harm an input, and one that exists without Force.
func (j *job) checkAdapterOutput() error {
	if err := j.checkInputs(); err != nil {
		return err
	}
	info, err := os.Stat(j.Out)
	j.exists = err == nil
	switch {
	case errors.Is(err, fs.ErrNotExist), j.DryRun:
	case err != nil:
		return fsx.Wrap(err, j.Out, "write")
	case !j.Force:
		return fault.New(fault.Usage, j.Out, "exists").WithHint("--force replaces it; -o names another output")
	case info.IsDir() == isFileName(j.Out):
		return fault.New(fault.Usage, j.Out, "is there already, and no adapter of that form").WithHint("-o names another output")
	case info.IsDir():
		if _, err := os.Stat(filepath.Join(j.Out, checkpoint.ConfigFile)); err == nil {
			return fault.New(fault.Usage, j.Out, "holds a model: no adapter is written into it")
		}
	}
	return nil
}

// isFileName says whether an adapter of that name is a file that stands alone.
func isFileName(path string) bool {
	return slices.Contains([]string{".safetensors", ".st"}, filepath.Ext(path))
}

// saveAdapter writes an adapter as a directory of PEFT's or as a file.
func saveAdapter(a *adapter.Adapter, path string) error {
	if isFileName(path) {
		return a.SaveFile(path)
	}
	return a.Save(path)
}
