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

	compare bool // results have the loss of every example
}

// Result is a perplexity measurement.
type Result struct {
	Loss            float64 // nats per counted token
	Perplexity      float64 // exp(Loss)
	Tokens          int64   // counted
	Rows            int     // of the file
	Examples        int     // scored
	Truncated       int     // rows cut at MaxSeqLength
	NoLabels        int     // rows left out, since nothing in them counts
	TokensPerSecond float64
	PeakRSSBytes    int64

	examples []example // of a comparison
}

const defaultBatchTokens = 2048

// Perplexity scores a data file with a model and any number of adapters at their weights.
func Perplexity(ctx context.Context, o Options) (*Result, error) {
	list, err := perplexities(ctx, o, [][]adapter.Ref{o.Adapters}, nil)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// perplexities scores with one mixture of adapters after the other and tells of each, in order.
func perplexities(ctx context.Context, o Options, mixtures [][]adapter.Ref, tell func(*Result)) ([]*Result, error) {
	m, ds, err := open(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	defer ds.Close()
	s, err := newStates(m, o, mixtures)
	if err != nil {
		return nil, err
	}
	var list []*Result
	var scorer *Scorer
	defer func() {
		if scorer != nil {
			scorer.Close()
		}
	}()
	for i := range mixtures {
		if err := s.to(i); err != nil {
			return nil, err
		}
		if scorer == nil || s.gated(i) || s.gated(i-1) { // what it reserves depends on what is beside the weights
			if scorer != nil {
				scorer.Close()
			}
			if scorer, err = NewScorer(m); err != nil {
				return nil, err
			}
		}
		r, err := perplexity(ctx, scorer, ds, o)
		if err != nil {
			return nil, err
		}
		if list = append(list, r); tell != nil {
			tell(r)
		}
	}
	return list, nil
}

// perplexity scores with the model as it is.
func perplexity(ctx context.Context, scorer *Scorer, ds *data.Dataset, o Options) (*Result, error) {
	r := &Result{Rows: ds.Stats.Rows, Examples: ds.Len(), Truncated: ds.Stats.Truncated, NoLabels: ds.Stats.NoLabels}
	if o.compare {
		scorer.Example = func(nll float64, tokens int) { r.examples = append(r.examples, example{nll, tokens}) }
	}
	start := time.Now()
	score, err := scorer.Score(ctx, ds, o.BatchTokens)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.Numerical {
		e.Path = o.Model
	}
	if err != nil {
		return nil, err
	}
	r.Loss, r.Perplexity, r.Tokens = score.Loss, math.Exp(score.Loss), score.Tokens
	r.TokensPerSecond, r.PeakRSSBytes = float64(score.Read)/time.Since(start).Seconds(), procstat.PeakRSS()
	return r, nil
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
		err = fault.New(fault.Usage, "", "--max-seq-length %d is more than the %d positions of the model", o.MaxSeqLength, m.MaxPositions)
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
