package eval

import (
	"context"
	"math"

	"shira/internal/adapter"
)

// Each scores a data file with the model as it is, and then with each of several mixtures of adapters, which are switched in
// memory: model and data are loaded once. The first result is the model's; each has the bits of that of [Perplexity]. o's
// Adapters are not looked at. tell, which may be nil, is told of each result.
func Each(ctx context.Context, o Options, mixtures [][]adapter.Ref, tell func(*Result)) ([]*Result, error) {
	o.compare = true
	return perplexities(ctx, o, append([][]adapter.Ref{nil}, mixtures...), tell)
}

// example is what one example adds to a loss.
type example struct {
	nll    float64 // the sum over its counted tokens
	tokens int     // counted
}

// Change is how a loss differs from another one on the same examples.
type Change struct {
	Loss  float64
	Error float64 // standard error of Loss, were the examples others of the same kind; NaN of fewer than two
}

// Against compares two results of [Each].
//
// With d and n the difference of nats and the counted tokens of an example, the loss changes by D = Σd/Σn. Its standard error
// is that of a ratio of means over R examples: √(R/(R−1)·Σ(d − D·n)²)/Σn. The examples are the same, so that what makes them
// easy or hard is not in it.
func (r *Result) Against(base *Result) Change {
	c := Change{Loss: r.Loss - base.Loss}
	squares, rows := 0.0, float64(len(r.examples))
	for i, e := range r.examples {
		rest := e.nll - base.examples[i].nll - c.Loss*float64(e.tokens)
		squares += float64(rest * rest)
	}
	c.Error = math.NaN()
	if rows > 1 {
		c.Error = math.Sqrt(rows/(rows-1)*squares) / float64(r.Tokens)
	}
	return c
}
