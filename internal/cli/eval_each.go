package cli

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"shira/internal/eval"
	"shira/internal/fault"
)

// runEach is eval --each.
func runEach(ctx context.Context, a *app, o evalOptions) error {
	list, err := eval.Each(ctx, o.Options, o.mixtures, a.eachProgress(o))
	if err != nil {
		return err
	}
	if o.asJSON {
		err = a.printJSON(eachObject(o, list))
	} else {
		a.printEach(o, list)
	}
	if err != nil || !o.gated {
		return err
	}
	var worse []string
	for i, r := range list[1:] {
		if !(r.Perplexity <= o.maxPerplexity) {
			worse = append(worse, fmt.Sprintf("%s with %s", perplexity(r.Loss), mixtureText(o.mixtures[i], ",")))
		}
	}
	if len(worse) > 0 {
		return fault.New(fault.Gate, o.Model, "perplexity is above --max-perplexity %v: %s", o.maxPerplexity, strings.Join(worse, ", "))
	}
	return nil
}

// eachProgress returns what tells of results as they come, where they take long.
func (a *app) eachProgress(o evalOptions) func(*eval.Result) {
	done, last := 0, time.Now()
	return func(r *eval.Result) {
		name := "no adapter"
		if done > 0 {
			name = mixtureText(o.mixtures[done-1], ",")
		}
		done++
		tell := a.log.detail
		if now := time.Now(); now.Sub(last) >= lineEvery && done <= len(o.mixtures) {
			tell, last = a.log.info, now
		}
		tell(fmt.Sprintf("%d of %d: loss %s with %s", done, len(o.mixtures)+1, lossText(r.Loss), name),
			slog.Int("done", done), slog.Int("total", len(o.mixtures)+1), slog.Float64("loss", r.Loss))
	}
}

// eachObject is the JSON of all results, the model's own first. Fields are only ever added.
func eachObject(o evalOptions, list []*eval.Result) any {
	type change struct {
		Loss  float64  `json:"loss"`
		Error *float64 `json:"standard_error"` // null of one example
	}
	type row struct {
		Adapters        []adapterObject `json:"adapters"`
		Results         resultsObject   `json:"results"`
		Change          *change         `json:"change"` // from the model; null of its own
		TokensPerSecond float64         `json:"tokens_per_second"`
	}
	base, last := list[0], list[len(list)-1]
	rows := []row{{[]adapterObject{}, newResults(base), nil, base.TokensPerSecond}}
	for i, r := range list[1:] {
		c := r.Against(base)
		change := &change{Loss: c.Loss}
		if !math.IsNaN(c.Error) {
			change.Error = &c.Error
		}
		rows = append(rows, row{adapterObjects(o.mixtures[i]), newResults(r), change, r.TokensPerSecond})
	}
	return struct {
		Model string `json:"model"`
		Data  string `json:"data"`
		scoredObject
		Each         []row `json:"each"`
		PeakRSSBytes int64 `json:"peak_rss_bytes"`
	}{o.Model, o.Data, newScored(o, base), rows, last.PeakRSSBytes}
}

func (a *app) printEach(o evalOptions, list []*eval.Result) {
	base, last := list[0], list[len(list)-1]
	fields(a.stdout,
		[2]string{"model", o.Model},
		[2]string{"data", o.Data},
		[2]string{"examples", examplesOf(base)},
		[2]string{"tokens", commas(base.Tokens)},
		[2]string{"arithmetic", arithmeticText(o)},
		[2]string{"speed", rate(last.TokensPerSecond) + " tokens/s"},
		[2]string{"memory", memoryText(last.PeakRSSBytes)})
	t := newTable("<adapter", "loss", "perplexity", "change of the loss", "standard error")
	t.add("none", exactLoss(base.Loss), perplexity(base.Loss), "", "")
	for i, r := range list[1:] {
		c, deviation := r.Against(base), "-"
		if !math.IsNaN(c.Error) {
			deviation = exactLoss(c.Error)
		}
		t.add(mixtureText(o.mixtures[i], ","), exactLoss(r.Loss), perplexity(r.Loss), fmt.Sprintf("%+.6f", c.Loss), deviation)
	}
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
}
