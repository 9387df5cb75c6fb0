package train

import (
	"context"
	"fmt"
	"math"

	"shira/internal/config"
	"shira/internal/data"
	"shira/internal/fault"
	"shira/internal/nn"
)

// tallyBytes is what the gradients that are summed in one pass over the calibration examples may take. Where those of all
// targets take more, there are several passes.
const tallyBytes = 1 << 30

// tallyLimit is tallyBytes, or a quarter of max_memory where that is less.
func (s *session) tallyLimit() int64 {
	if limit := int64(s.cfg.MaxMemory * (1 << 30) / 4); limit > 0 {
		return min(limit, tallyBytes)
	}
	return tallyBytes
}

// calibrate gives take each target's gradient of the mean, over the calibration examples, of an example's mean loss. The
// gradient is out × in, and valid during the call.
func (s *session) calibrate(ctx context.Context, targets []*nn.Weight, take func(w *nn.Weight, gradient []float32) error) error {
	examples := calibrationExamples(s.train, s.cfg.CalibrationSamples)
	passes := tallyPasses(targets, s.tallyLimit())
	often := ""
	if len(passes) > 1 {
		often = fmt.Sprintf(", in %d passes", len(passes))
	}
	s.tell("mask %s: calibrating on %d examples of %s%s", s.cfg.Mask, examples.Len(), examples.Name(), often)
	sums := make([]float32, mostEntries(passes))
	defer boundGarbage()()
	for _, pass := range passes {
		clear(sums)
		if err := s.tally(ctx, pass, sums, examples); err != nil {
			return err
		}
		at := sums
		for _, w := range pass {
			n := w.Out * w.In
			if err := take(w, at[:n]); err != nil {
				return err
			}
			at = at[n:]
		}
	}
	return nil
}

// tally adds the gradients of the weights of a pass to sums, one weight after another. The examples run one at a time, so
// that the mean of each counts the same.
func (s *session) tally(ctx context.Context, pass []*nn.Weight, sums []float32, examples *data.Dataset) error {
	return s.withTally(pass, sums, func(_ *nn.Graph, machine *nn.Machine) error {
		for i, b := range examples.Batches(0) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, err := machine.Run(nn.Batch{
				IDs: b.IDs, Targets: b.Targets, Lengths: b.Lengths, Scale: 1 / float64(examples.Len()*b.Labels),
			})
			if err != nil {
				return err
			}
			if math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0) {
				return fault.New(fault.Numerical, examples.Place(i),
					"the loss of the example is %v: it has no gradient to choose a mask by", r.Loss).
					WithHint("look for infinities and NaN in the base's weights")
			}
		}
		return nil
	})
}

// withTally calls do with a graph that adds the gradients of the weights of a pass to sums.
func (s *session) withTally(pass []*nn.Weight, sums []float32, do func(*nn.Graph, *nn.Machine) error) error {
	for _, w := range pass {
		n := w.Out * w.In
		nn.NewTally(w, sums[:n])
		sums = sums[n:]
	}
	defer func() {
		for _, w := range pass {
			w.Tally = nil
		}
	}()
	g := nn.NewGraph(nn.Options{Training: true, Checkpointing: s.cfg.GradientCheckpointing, HalfActivations: s.cfg.Half()})
	loss, err := s.model.Loss(g)
	if err != nil {
		return err
	}
	machine, err := g.Compile(loss)
	if err != nil {
		return err
	}
	defer machine.Close()
	return do(g, machine)
}

// calibrationMemory is what calibration needs besides the weights, in bytes.
func (s *session) calibrationMemory(targets []*nn.Weight) (bytes int64, err error) {
	passes := tallyPasses(targets, s.tallyLimit())
	sums := mostEntries(passes)
	longest := s.train.Stats.Longest
	err = s.withTally(passes[0][:1], make([]float32, passes[0][0].Out*passes[0][0].In), func(g *nn.Graph, _ *nn.Machine) error {
		m := g.Memory(longest, longest)
		bytes = 4*int64(sums) + m.Activations + m.Shared + m.Logits + m.Attention
		return nil
	})
	return bytes, err
}

// tallyPasses divides weights into passes whose gradients take limit bytes at most, or are of one weight.
func tallyPasses(weights []*nn.Weight, limit int64) [][]*nn.Weight {
	var passes [][]*nn.Weight
	var bytes int64
	for _, w := range weights {
		n := 4 * int64(w.Out) * int64(w.In)
		if bytes += n; len(passes) == 0 || bytes > limit {
			passes, bytes = append(passes, nil), n
		}
		last := len(passes) - 1
		passes[last] = append(passes[last], w)
	}
	return passes
}

// mostEntries returns the number of entries of the largest pass.
func mostEntries(passes [][]*nn.Weight) int {
	most := 0
	for _, pass := range passes {
		n := 0
		for _, w := range pass {
			n += w.Out * w.In
		}
		most = max(most, n)
	}
	return most
}

// calibrationExamples returns n examples, evenly spread over the dataset whatever its order, or all where there are fewer.
func calibrationExamples(d *data.Dataset, n int) *data.Dataset {
	if n == 0 {
		n = config.DefaultCalibration
	}
	n = min(n, d.Len())
	few := make([]int, n)
	for i := range few {
		few[i] = i * d.Len() / n
	}
	return d.Pick(few)
}
