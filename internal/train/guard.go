package train

import (
	"fmt"
	"math"
	"slices"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/nn"
)

// checkFinite finds a trained value that the last update made infinite or NaN, or that the type it is stored in would: no loss
// has been computed with it.
func (s *session) checkFinite() error {
	largest := map[checkpoint.DType]float64{checkpoint.F16: 65519.99, checkpoint.BF16: 3.3961e38}
	check := func(name string, values []float32, dtype checkpoint.DType) error {
		limit, ok := largest[dtype]
		if !ok {
			limit = math.MaxFloat32
		}
		for _, v := range values {
			if !(math.Abs(float64(v)) <= limit) {
				return fault.New(fault.Numerical, "", "a step made a value of %s %v, which %s does not hold", name, v, dtype).
					WithHint("lower learning_rate (now %g); this state was not written", s.cfg.LearningRate)
			}
		}
		return nil
	}
	if s.cfg.Method != "full" {
		for _, d := range s.deltas {
			w := s.weightOf(d)
			for _, p := range w.Params() {
				if err := check(p.Name, p.Value, checkpoint.F32); err != nil {
					return err
				}
			}
			if w.Masked != nil {
				if err := check(w.Name, w.Sparse.Value, checkpoint.F32); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for name, values := range s.values() {
		t, _ := s.model.Checkpoint.Lookup(name)
		if err := check(name, values, t.DType); err != nil {
			return err
		}
	}
	return nil
}

// notFinite names what is no longer a number in a step: a weight, the first operator that computed one, or a gradient.
func (t *trainer) notFinite(info StepInfo) error {
	if name := t.model.NotFinite(); name != "" {
		return t.diverged(info.Step, info.Step-1, "the weights of %s are not finite (loss %v)", fault.Quote(name), info.Loss)
	}
	for _, b := range t.micro {
		if name := t.machine.FirstNotFinite(b); name != "" {
			return t.diverged(info.Step, info.Step-1, "the first value that is not finite is that of the %s (loss %v)", name, info.Loss)
		}
	}
	for _, p := range t.machine.Params() {
		if !nn.Finite(p.Grad) {
			return t.diverged(info.Step, info.Step-1, "the gradient of %s is not finite (loss %v)", fault.Quote(p.Name), info.Loss)
		}
	}
	return t.diverged(info.Step, info.Step-1, "the loss is %v, the gradient's norm %v", info.Loss, info.GradNorm)
}

// diverged is the error of a run whose numbers are no longer finite at a step, after so many updates. Before the first one
// that is the base's doing, or the data's.
func (t *trainer) diverged(step, updates int, format string, args ...any) error {
	err := fault.New(fault.Numerical, "", "step %d: %s", step, fmt.Sprintf(format, args...))
	if updates == 0 {
		return err.WithHint("nothing was trained yet: look for infinities and NaN in the base's weights; no result was written")
	}
	kept := "no result was written"
	if t.saved > 0 {
		kept = "the last checkpoint is " + t.out.checkpointDir(t.saved)
	}
	return err.WithHint("lower learning_rate (now %g) or set max_grad_norm; %s", t.cfg.LearningRate, kept)
}

// spikes watches losses. A loss is a spike when it lies above the median of the 50 steps before by more than half a nat and
// by more than 6 times their median distance from that median.
type spikes struct {
	last  []float64
	quiet int // steps until the next one is told
}

const (
	spikeSteps    = 50
	spikeLeast    = 10 // steps before which nothing is said
	spikeNats     = 0.5
	spikeDistance = 6
)

// see takes the next loss. For a spike it returns the median of those before, else 0. After one it says nothing for as many
// steps as it looks at.
func (s *spikes) see(loss float64) (above float64) {
	s.quiet = max(0, s.quiet-1)
	if len(s.last) >= spikeLeast && s.quiet == 0 {
		middle := median(s.last)
		distances := make([]float64, len(s.last))
		for i, v := range s.last {
			distances[i] = math.Abs(v - middle)
		}
		if over := loss - middle; over > spikeNats && over > spikeDistance*median(distances) {
			above, s.quiet = middle, spikeSteps
		}
	}
	s.last = append(s.last, loss)
	s.last = s.last[max(0, len(s.last)-spikeSteps):]
	return above
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
