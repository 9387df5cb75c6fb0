package train

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/kernel"
)

// loop takes the steps that are left. What is due after a step, also before the first, depends on t.progress alone, so that a
// run that goes on does what the earlier one left undone.
func (t *trainer) loop(ctx context.Context) error {
	for {
		if t.evaluationDue() {
			if err := t.evaluate(ctx); err != nil {
				return err
			}
		}
		if t.checkpointDue() {
			if err := t.checkpoint(); err != nil {
				return err
			}
		}
		if t.Step == t.steps || t.Stopped {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.advance(); err != nil {
			return err
		}
	}
}

// evaluationDue says whether the state after the last step is to be evaluated, and has not been.
func (t *trainer) evaluationDue() bool {
	if t.scorer == nil || t.Evaluated == t.Step {
		return false
	}
	return t.Step == 0 || t.Step == t.steps || t.due(t.cfg.EvalStrategy, t.cfg.EvalSteps)
}

// checkpointDue says whether there is to be a checkpoint after the last step.
func (t *trainer) checkpointDue() bool {
	if t.Step == 0 {
		return false
	}
	isBest := t.keepBest() == t.Step && t.Evaluated == t.Step
	return isBest || t.cfg.SaveStrategy != config.StrategyNo && t.due(t.cfg.SaveStrategy, t.cfg.SaveSteps)
}

func (t *trainer) due(strategy string, every int) bool {
	if strategy == config.StrategyEpoch {
		return t.EpochEnd
	}
	return every > 0 && t.Step%every == 0
}

// advance takes a step and notes it.
func (t *trainer) advance() error {
	start := time.Now()
	info, err := t.step(t.Step)
	if err != nil {
		return err
	}
	spent := time.Since(start)
	if t.Step == t.resumed { // the first step makes room for what follows
		t.machine.ResetProfile()
		boundGarbage() // more is in use now
	} else {
		t.profiled += spent
	}
	t.Step, t.TrainLoss, t.Loader = info.Step, info.Loss, t.loader.State()
	t.Epoch = float64(t.Loader.Epoch) + float64(t.Loader.Row)/float64(t.loader.Rows())
	info.Epoch = t.Epoch
	t.Seconds += spent.Seconds()
	info.TokensPerSecond = float64(info.Tokens) / spent.Seconds()
	t.Tokens += info.Tokens
	info.Tokens = t.Tokens
	t.obs.Step(info)
	if above := t.spikes.see(info.Loss); above > 0 {
		t.obs.Notice(fmt.Sprintf("step %d: the loss %.4g is far above that of the steps before, %.4g: a lower learning_rate or max_grad_norm may help", info.Step, info.Loss, above))
	}
	if info.Step%t.cfg.LoggingSteps == 0 || info.Step == t.steps {
		return t.out.step(info)
	}
	return nil
}

// boundGarbage makes the collector run once steps have left garbageBytes, until restore: it would wait until they have left as much as
// is in use, which over a long run makes the peak that much higher.
func boundGarbage() (restore func()) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	percent := max(1, int(100*garbageBytes/m.HeapAlloc))
	before := debug.SetGCPercent(percent)
	restore = func() { debug.SetGCPercent(before) }
	if before < percent { // or −1, where the collector is off
		restore()
	}
	return restore
}

// step takes optimizer step number step, from 0.
func (t *trainer) step(step int) (StepInfo, error) {
	counted := t.nextBatches(step)
	info := StepInfo{Step: step + 1, Steps: t.steps}
	var loss float64
	for i, b := range t.micro {
		// Every counted token of the step weighs the same, whichever micro-batch it is in.
		b.Scale = 1 / float64(counted)
		r, err := t.machine.Run(b)
		if err != nil {
			return info, err
		}
		loss += r.Loss
		info.Tokens += int64(len(b.IDs))
		t.accumulate(i)
	}
	params := t.machine.Params()
	info.Loss = loss / float64(counted)
	info.GradNorm = gradNorm(params)
	if math.IsNaN(info.Loss+info.GradNorm) || math.IsInf(info.Loss+info.GradNorm, 0) {
		return info, t.notFinite(info)
	}
	info.LearningRate = t.rates[step]
	t.opt.update(info.LearningRate, clipScale(info.GradNorm, t.cfg.MaxGradNorm))
	t.sync()
	return info, nil
}

// sync makes the trained values those that products read.
func (t *trainer) sync() {
	weights := t.model.Weights()
	kernel.Parallel(len(weights), func(i int) { weights[i].Sync() })
}

// nextBatches takes the step's micro-batches from the loader and returns how many tokens count in all of them. The last step
// of an epoch has what is left of it. Random numbers are drawn by the number of the micro-batch in the run, so that a run
// that goes on draws the same.
func (t *trainer) nextBatches(step int) int {
	counted := 0
	t.micro = slices.Grow(t.micro, t.cfg.GradientAccumulationSteps)
	for i := range t.cfg.GradientAccumulationSteps {
		b := t.loader.Next()
		t.micro = t.micro[:i+1]
		m := &t.micro[i]
		m.IDs = append(m.IDs[:0], b.IDs...)
		m.Targets = append(m.Targets[:0], b.Targets...)
		m.Lengths = append(m.Lengths[:0], b.Lengths...)
		m.Number = uint64(step*t.cfg.GradientAccumulationSteps + i)
		counted += b.Labels
		if t.EpochEnd = b.EpochEnd; t.EpochEnd {
			break
		}
	}
	return max(1, counted)
}

// accumulate sums the gradients of micro-batches 0 … i; after the last one the parameters hold the sum.
func (t *trainer) accumulate(i int) {
	n := len(t.micro)
	if n == 1 {
		return
	}
	for j, p := range t.machine.Params() {
		switch {
		case i == 0 && len(t.sum) <= j:
			t.sum = append(t.sum, slices.Clone(p.Grad))
		case i == 0:
			copy(t.sum[j], p.Grad)
		default:
			for k, g := range p.Grad {
				t.sum[j][k] += g
			}
		}
		if i == n-1 {
			copy(p.Grad, t.sum[j])
		}
	}
}

// evaluate scores the validation file after the last step.
func (t *trainer) evaluate(ctx context.Context) error {
	score, err := t.score(ctx)
	if err != nil {
		return err
	}
	info := EvalInfo{Step: t.Step, Epoch: t.Epoch, Loss: score.Loss, Tokens: score.Tokens}
	t.Evaluated, t.LossNow = t.Step, &info.Loss
	if t.Step == 0 {
		t.LossBefore = &info.Loss
	} else {
		t.judge(info.Loss)
	}
	t.obs.Eval(info)
	return t.out.eval(info)
}

// score returns the loss on the validation file.
func (t *trainer) score(ctx context.Context) (eval.Score, error) {
	score, err := t.scorer.Score(ctx, t.valid, evalTokens)
	if fault.KindOf(err) == fault.Numerical {
		err = t.diverged(t.Step, t.Step, "%v", err)
	}
	return score, err
}

// judge compares a validation loss with the best so far. As in Hugging Face's EarlyStoppingCallback, one that is better by
// no more than the threshold is the best but counts as a miss.
func (t *trainer) judge(loss float64) {
	better := t.BestLoss == nil || loss < *t.BestLoss
	if better && (t.BestLoss == nil || *t.BestLoss-loss > t.cfg.EarlyStoppingThreshold) {
		t.Misses = 0
	} else {
		t.Misses++
	}
	if better {
		t.BestLoss, t.BestStep = &loss, t.Step
	}
	t.Stopped = t.outOfPatience()
}

// outOfPatience says whether the run ends early.
func (t *trainer) outOfPatience() bool {
	return t.cfg.EarlyStoppingPatience > 0 && t.Misses >= t.cfg.EarlyStoppingPatience
}
