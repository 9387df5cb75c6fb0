package eval

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"time"

	"shira/internal/adapter"
	"shira/internal/data"
	"shira/internal/fault"
	"shira/internal/kernel"
	"shira/internal/model"
	"shira/internal/nn"
	"shira/internal/procstat"
)

// Options says what to score.
type Options struct {
	Model        string    // directory or safetensors file
	Data         string    // file of examples
	File         data.File // how it is read; its path is not looked at
	ChatTemplate string    // for conversations: a file or name; "" is the model's
	Adapters     []adapter.Ref
	MaxSeqLength int  // rows are cut here; 0 is the model's number of positions
	BatchTokens  int  // tokens looked at together; 0 chooses. It does not change the result
	Limit        int  // first rows only; 0 is all
	ForceBase    bool // apply adapters that were made for another base
	Half         bool // matrix products in bfloat16
	Threads      int  // 0 is all cores

	Notice func(s string) // told what the user should know, one line; may be nil
}

// Result is a perplexity measurement.
type Result struct {
	Loss            float64 // nats per counted token
	Perplexity      float64 // exp(Loss)
	Tokens          int64   // counted
	Rows            int
	Truncated       int // rows cut at MaxSeqLength
	TokensPerSecond float64
	PeakRSSBytes    int64
}

const defaultBatchTokens = 2048

// Perplexity scores a data file with a model and any number of adapters at their weights.
func Perplexity(ctx context.Context, o Options) (*Result, error) {
	m, ds, err := open(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	defer ds.Close()
	if err := applyAdapters(m, o); err != nil {
		return nil, err
	}
	scorer, err := NewScorer(m.Decoder)
	if err != nil {
		return nil, err
	}
	defer scorer.Close()
	start := time.Now()
	score, err := scorer.Score(ctx, ds, o.BatchTokens)
	if err != nil {
		return nil, err
	}
	if math.IsNaN(score.Loss) || math.IsInf(score.Loss, 0) {
		return nil, fault.New(fault.Numerical, o.Model, "the loss on %s is %v", o.Data, score.Loss)
	}
	return &Result{
		Loss: score.Loss, Perplexity: math.Exp(score.Loss), Tokens: score.Tokens, Rows: ds.Stats.Rows, Truncated: ds.Stats.Truncated,
		TokensPerSecond: float64(score.Read) / time.Since(start).Seconds(), PeakRSSBytes: procstat.PeakRSS(),
	}, nil
}

// open loads the model and the data that o names, and gives o's sizes their values.
func open(ctx context.Context, o *Options) (*model.Model, *data.Dataset, error) {
	if err := kernel.Check(); err != nil {
		return nil, nil, fault.Wrap(fault.Usage, "", err, "kernels")
	}
	if o.Threads > 0 {
		kernel.SetThreads(o.Threads)
	}
	load := model.Load
	if o.Half {
		load = model.LoadHalf
	}
	m, err := load(o.Model)
	if err != nil {
		return nil, nil, err
	}
	if o.MaxSeqLength == 0 {
		o.MaxSeqLength = m.MaxPositions
	}
	if o.BatchTokens == 0 {
		o.BatchTokens = defaultBatchTokens
	}
	if o.MaxSeqLength > m.MaxPositions {
		err = fault.New(fault.Usage, "", "max-seq-length %d is more than the %d positions of the model", o.MaxSeqLength, m.MaxPositions)
	}
	var ds *data.Dataset
	if err == nil {
		ds, err = loadData(ctx, m, *o)
	}
	if err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	return m, ds, nil
}

func loadData(ctx context.Context, m *model.Model, o Options) (*data.Dataset, error) {
	dir := filepath.Dir(m.Checkpoint.ConfigPath())
	tok, err := data.OpenTokenizer(dir)
	if err != nil {
		return nil, err
	}
	template, err := data.OpenTemplate(dir, o.ChatTemplate)
	if err != nil {
		return nil, err
	}
	file := o.File
	file.Path = o.Data
	return data.Load(ctx, data.Options{Files: []data.File{file}, Tokenizer: tok, Template: template, VocabSize: m.VocabSize, MaxLength: o.MaxSeqLength, OmitEOS: true, Limit: o.Limit})
}

// applyAdapters loads o's adapters and makes them a part of the model.
func applyAdapters(m *model.Model, o Options) error {
	var adapters []*adapter.Adapter
	for _, ref := range o.Adapters {
		a, err := adapter.Load(ref.Path)
		if err != nil {
			return err
		}
		adapters = append(adapters, a)
	}
	if len(adapters) == 0 {
		return nil
	}
	return apply(m, o, adapters)
}

// apply adds the deltas of all adapters, at o's weights, to the model's weights, each of which is rounded once, if at all. Those
// that depend on the input are computed beside the weights.
func apply(m *model.Model, o Options, adapters []*adapter.Adapter) error {
	type term struct {
		adapter.Delta
		weight float32
	}
	for _, a := range adapters {
		if notice := a.Notice(); notice != "" && o.Notice != nil {
			o.Notice(notice)
		}
	}
	if err := adapter.CheckAllBeside(m.Checkpoint, adapters, o.ForceBase); err != nil {
		return err
	}
	weights := map[string]*nn.Weight{}
	for _, w := range m.Weights() {
		weights[w.Name] = w
	}
	terms, beside := map[*nn.Weight][]term{}, map[*nn.Weight][]*nn.LowRank{}
	for i, a := range adapters {
		ref := o.Adapters[i]
		for _, d := range a.Deltas {
			w := weights[d.Module()]
			if w == nil {
				return fault.New(fault.Incompatible, ref.Path, "%s is not a weight of the model's layers", fault.Quote(d.Module()))
			}
			if f, ok := d.(*adapter.FouRA); ok && f.InputDependent() {
				beside[w] = append(beside[w], Beside(f, float32(ref.Weight)))
				continue
			}
			terms[w] = append(terms[w], term{d, float32(ref.Weight)})
		}
	}
	var sum []float32
	for w, ts := range terms {
		base, err := m.Values(w)
		if err != nil {
			return err
		}
		sum = append(sum[:0], base...)
		for _, t := range ts {
			adapter.AddTo(sum, base, t.Delta, t.weight)
		}
		m.Set(w, sum)
	}
	for w, changes := range beside {
		for _, l := range changes {
			w.Add(l)
		}
	}
	m.Release()
	return nil
}
