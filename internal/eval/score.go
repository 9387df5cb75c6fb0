// Package eval scores models on data files.
package eval

import (
	"context"

	"shira/internal/data"
	"shira/internal/nn"
)

// Decoder is a model whose next-token loss can be computed.
type Decoder interface {
	Loss(*nn.Graph) (*nn.Var, error)
}

// Scorer computes a decoder's loss without gradients. It reads the decoder's weights in place, so that it may be used
// between the steps of a training run.
type Scorer struct {
	// Example is told of every example, in the order of the file: its loss summed over its counted tokens. It may be nil.
	Example func(nll float64, tokens int)

	machine *nn.Machine
}

// NewScorer compiles d for scoring.
func NewScorer(d Decoder) (*Scorer, error) {
	g := nn.NewGraph(nn.Options{})
	loss, err := d.Loss(g)
	if err != nil {
		return nil, err
	}
	m, err := g.Compile(loss)
	if err != nil {
		return nil, err
	}
	return &Scorer{machine: m}, nil
}

// Score is a mean over counted tokens.
type Score struct {
	Loss   float64 // nats per token
	Tokens int64   // counted
	Read   int64   // all tokens the model saw
}

// Score returns the mean loss over ds, of which it looks at about tokens tokens at a time. The result does not depend on
// tokens: each token's loss is computed alone, and they are summed in file order.
func (s *Scorer) Score(ctx context.Context, ds *data.Dataset, tokens int) (Score, error) {
	var score Score
	var sum float64
	for _, b := range ds.Batches(tokens) {
		if err := ctx.Err(); err != nil {
			return Score{}, err
		}
		r, err := s.machine.Run(nn.Batch{IDs: b.IDs, Targets: b.Targets, Lengths: b.Lengths, Scale: 1})
		if err != nil {
			return Score{}, err
		}
		for _, l := range r.NLL {
			sum += float64(l)
		}
		if s.Example != nil {
			s.examples(b, r.NLL)
		}
		score.Tokens += int64(r.Tokens)
		score.Read += int64(len(b.IDs))
	}
	score.Loss = sum / float64(max(1, score.Tokens))
	return score, nil
}

// examples tells of the examples of a batch, whose counted tokens have the losses nll.
func (s *Scorer) examples(b data.Batch, nll []float32) {
	at := 0
	for _, length := range b.Lengths {
		sum, tokens := 0.0, 0
		for _, target := range b.Targets[at : at+length] {
			if target != data.Ignore {
				sum += float64(nll[tokens])
				tokens++
			}
		}
		s.Example(sum, tokens)
		at, nll = at+length, nll[tokens:]
	}
}

// Close frees the scorer.
func (s *Scorer) Close() error { return s.machine.Close() }
