package fuse

import (
	"math"
	"slices"

	"shira/internal/fault"
)

// Trial is one evaluation of a search.
type Trial struct {
	Weights []float64 `json:"weights"`
	Loss    float64   `json:"loss"`
	Best    bool      `json:"best"` // better than all before
}

// Search looks for the weights of least loss by a pattern search (Hooke and Jeeves, 1961): from the start, each weight and
// then all of them together are raised and lowered by a step, what is better is kept, and a round that improves nothing
// halves the step, from 1/2 to 1/32. Weights stay in 0 … MaxWeight. It ends there, or when budget evaluations are made, of
// which none is made twice. It is deterministic.
//
// tell, which may be nil, hears of each trial. A loss that is not a number counts as infinite.
func Search(start []float64, budget int, score func(weights []float64) (float64, error), tell func(Trial)) (best Trial, trials []Trial, err error) {
	if budget < 1 {
		return Trial{}, nil, fault.New(fault.Usage, "", "a budget of %d evaluations", budget)
	}
	best.Loss = math.Inf(1)
	// try evaluates weights unless it did so before, and says whether they are the best.
	try := func(weights []float64) (bool, error) {
		if len(trials) == budget || slices.ContainsFunc(trials, func(t Trial) bool { return slices.Equal(t.Weights, weights) }) {
			return false, nil
		}
		loss, err := score(weights)
		if err != nil {
			return false, err
		}
		if loss != loss {
			loss = math.Inf(1)
		}
		t := Trial{slices.Clone(weights), loss, loss < best.Loss || len(trials) == 0}
		trials = append(trials, t)
		if tell != nil {
			tell(t)
		}
		if t.Best {
			best = t
		}
		return t.Best, nil
	}
	if _, err := try(start); err != nil {
		return best, trials, err
	}
	for step := 0.5; step >= 1.0/32 && len(trials) < budget; {
		improved := false
		for _, direction := range directions(len(start)) {
			for _, sign := range []float64{1, -1} {
				next := slices.Clone(best.Weights)
				for i, d := range direction {
					next[i] = min(max(next[i]+sign*step*d, 0), MaxWeight)
				}
				better, err := try(next)
				if err != nil {
					return best, trials, err
				}
				if better {
					improved = true
					break
				}
			}
		}
		if !improved {
			step /= 2
		}
	}
	return best, trials, nil
}

// MaxWeight is the largest weight that a search tries.
const MaxWeight = 2

// directions returns one for each weight, and one for all where there are several.
func directions(n int) [][]float64 {
	var list [][]float64
	for i := range n {
		d := make([]float64, n)
		d[i] = 1
		list = append(list, d)
	}
	if n > 1 {
		list = append(list, slices.Repeat([]float64{1}, n))
	}
	return list
}
