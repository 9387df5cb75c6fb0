package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/fuse"
)

// defaultBudget is how many trials --tune makes at most.
const defaultBudget = 30

// tuneObject is the JSON of a search. Fields are only ever added.
type tuneObject struct {
	Data   []string     `json:"data"`
	Budget int          `json:"budget"`
	Best   fuse.Trial   `json:"best"`
	Trials []fuse.Trial `json:"trials"` // the path, in order
}

// tuneWeights looks for the weights of least mean loss over the data files, and sets them in o.
func (a *app) tuneWeights(ctx context.Context, o *fuseOptions) (*tuneObject, error) {
	start := make([]float64, len(o.Adapters))
	for i, s := range o.Adapters {
		if len(s.Rules) > 0 {
			return nil, fault.New(fault.Usage, o.config, "--tune looks for one weight of each adapter, but %s has several", fault.Quote(s.Path))
		}
		if start[i] = s.Weight; s.Weight < 0 || s.Weight > fuse.MaxWeight {
			return nil, fault.New(fault.Usage, s.Path, "--tune looks among weights from 0 to %d, but this one starts at %v", fuse.MaxWeight, s.Weight)
		}
	}
	t, err := newTuner(o)
	if err != nil {
		return nil, err
	}
	defer t.close()
	n := 0
	tell := func(trial fuse.Trial) {
		n++
		mark := ""
		if trial.Best {
			mark = ", the best so far"
		}
		a.log.info(fmt.Sprintf("trial %d of at most %d: weights %s, loss %s%s", n, o.budget, weightsText(trial.Weights), lossText(trial.Loss), mark),
			slog.Int("trial", n), slog.Any("weights", trial.Weights), slog.Float64("loss", trial.Loss))
	}
	best, trials, err := fuse.Search(start, o.budget, func(weights []float64) (float64, error) { return t.score(ctx, weights) }, tell)
	if err != nil {
		return nil, err
	}
	for i, w := range best.Weights {
		o.Adapters[i].Weight = w
	}
	return &tuneObject{o.tune, o.budget, best, trials}, nil
}

// tuner scores weights by the model that they give, which lies in a temporary directory meanwhile.
type tuner struct {
	options fuse.Options
	data    []string
	limit   int
	dir     string
}

func newTuner(o *fuseOptions) (*tuner, error) {
	info, err := os.Stat(o.Base)
	if err != nil {
		return nil, fsx.Wrap(err, o.Base, "open the base")
	}
	out := o.Out
	if out == "" {
		out = fuse.DefaultOut(o.Base, info.IsDir())
	}
	t := &tuner{options: o.Options, data: o.tune, limit: o.limit}
	t.options.DryRun, t.options.MinSurvival, t.options.Force, t.options.Interference = false, 0, true, false
	if t.dir, err = os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".shira-tune-"); err != nil {
		return nil, fsx.Wrap(err, out, "make a temporary directory beside it")
	}
	if t.options.Out = filepath.Join(t.dir, "model"); info.IsDir() {
		return t, nil
	}
	// A file is scored with the configuration and the tokenizer that lie beside it.
	t.options.Out = filepath.Join(t.dir, checkpoint.ModelFile)
	m, err := checkpoint.OpenModel(o.Base)
	if err != nil {
		t.close()
		return nil, err
	}
	defer m.Close()
	names, _ := m.Companions()
	for _, name := range names {
		if name == checkpoint.IndexFile {
			continue
		}
		if err := m.CopyCompanion(name, filepath.Join(t.dir, name)); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

func (t *tuner) close() { os.RemoveAll(t.dir) }

// score returns the mean of the data files' losses.
func (t *tuner) score(ctx context.Context, weights []float64) (float64, error) {
	o := t.options
	o.Adapters = append([]fuse.Source(nil), o.Adapters...)
	for i, w := range weights {
		o.Adapters[i].Weight = w
	}
	if _, err := fuse.Run(ctx, o); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, file := range t.data {
		r, err := eval.Perplexity(ctx, eval.Options{Model: o.Out, Data: file, Limit: t.limit})
		if err != nil {
			return 0, err
		}
		sum += r.Loss
	}
	return sum / float64(len(t.data)), nil
}

func weightsText(weights []float64) string {
	parts := make([]string, len(weights))
	for i, w := range weights {
		parts[i] = strconv.FormatFloat(w, 'g', 6, 64)
	}
	return strings.Join(parts, ", ")
}

// printTuned prints the path of a search: its first trial and those that were better than all before.
func (a *app) printTuned(o *tuneObject, r *fuse.Report) {
	if o == nil {
		return
	}
	t := newTable(append([]string{"trial"}, append(shortNames(r.Adapters), "loss")...)...)
	for i, trial := range o.Trials {
		if !trial.Best {
			continue
		}
		row := []string{strconv.Itoa(i + 1)}
		for _, w := range trial.Weights {
			row = append(row, strconv.FormatFloat(w, 'g', 6, 64))
		}
		t.add(append(row, lossText(trial.Loss))...)
	}
	t.write(a.stdout)
	fmt.Fprintf(a.stdout, "  %s of at most %d; mean loss over %s\n\n", plural(len(o.Trials), "trial"), o.Budget, plural(len(o.Data), "data file"))
}
