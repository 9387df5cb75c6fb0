// Package eval scores models on data files.
package eval

import (
	"context"
	"math"
	"slices"

	"shira/internal/data"
	"shira/internal/fault"
	"shira/internal/model"
	"shira/internal/nn"
)

// Scorer computes a model's loss without gradients. It reads the model's weights in place, so that it may be used
// between the steps of a training run.
type Scorer struct {
	// Example is told of every example, in the order of the file: its loss summed over its counted tokens. It may be nil.
	Example func(nll float64, tokens int)

	model   *model.Model
	machine *nn.Machine
}

// NewScorer compiles m for scoring.
func NewScorer(m *model.Model) (*Scorer, error) {
	g := nn.NewGraph(nn.Options{})
	loss, err := m.Loss(g)
	if err != nil {
		return nil, err
	}
	machine, err := g.Compile(loss)
	if err != nil {
		return nil, err
	}
	return &Scorer{model: m, machine: machine}, nil
}

// Score is a mean over counted tokens.
type Score struct {
	Loss   float64 // nats per token
	Tokens int64   // counted
	Read   int64   // all tokens the model saw
}

// Score returns the mean loss over ds, of which it looks at about tokens tokens at a time. The result does not depend on
// tokens: each token's loss is computed alone, and they are summed in file order. A loss that is not finite is a Numerical fault.
func (s *Scorer) Score(ctx context.Context, ds *data.Dataset, tokens int) (Score, error) {
	var score Score
	var sum float64
	for first, b := range ds.Batches(tokens) {
		if err := ctx.Err(); err != nil {
			return Score{}, err
		}
		r, err := s.machine.Run(nn.Batch{IDs: b.IDs, Targets: b.Targets, Lengths: b.Lengths, Scale: 1})
		if err != nil {
			return Score{}, err
		}
		if math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0) {
			return Score{}, s.notFinite(ds, first, b, r)
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
	for _, own := range split(b, nll) {
		sum := 0.0
		for _, l := range own {
			sum += float64(l)
		}
		s.Example(sum, len(own))
	}
}

// split returns the losses of the counted tokens of each example of a batch.
func split(b data.Batch, nll []float32) [][]float32 {
	list := make([][]float32, 0, len(b.Lengths))
	at := 0
	for _, length := range b.Lengths {
		tokens := 0
		for _, target := range b.Targets[at : at+length] {
			if target != data.Ignore {
				tokens++
			}
		}
		list = append(list, nll[:tokens])
		at, nll = at+length, nll[tokens:]
	}
	return list
}

// notFinite names what is first not finite where a batch, whose first example is first, has the result r: a weight, or an operator's
// value and the example.
func (s *Scorer) notFinite(ds *data.Dataset, first int, b data.Batch, r *nn.Result) error {
	loss := r.Loss
	if name := s.model.NotFinite(); name != "" {
		return fault.New(fault.Numerical, "", "the loss on %s is %v: the weights of %s are not finite", ds.Name(), loss, fault.Quote(name))
	}
	i := max(0, slices.IndexFunc(split(b, r.NLL), func(nll []float32) bool {
		return slices.ContainsFunc(nll, func(l float32) bool { return l-l != 0 })
	}))
	at := 0
	for _, length := range b.Lengths[:i] {
		at += length
	}
	end := at + b.Lengths[i]
	name := s.machine.FirstNotFinite(nn.Batch{IDs: b.IDs[at:end], Targets: b.Targets[at:end], Lengths: b.Lengths[i : i+1], Scale: 1})
	if name == "" {
		name = "loss"
	}
	return fault.New(fault.Numerical, "", "the loss on %s is %v: the first value that is not finite is that of the %s", ds.Place(first+i), loss, name)
}

// Close frees the scorer.
func (s *Scorer) Close() error { return s.machine.Close() }
