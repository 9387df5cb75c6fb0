package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/kernel"
	"shira/internal/nn"
	"shira/internal/procstat"
)

// evalTokens is how many tokens an evaluation looks at together.
const evalTokens = 1024

// Run trains as cfg says and writes the adapter or model to its output directory. When ctx is cancelled it stops after
// the step it is in, and nothing but the metrics so far, metrics.jsonl.part, is written.
func Run(ctx context.Context, cfg *config.Train, obs Observer) (*Result, error) {
	s, err := setUp(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if cfg.Method != "full" {
		if s.fingerprint, err = s.model.Checkpoint.Fingerprint(); err != nil {
			return nil, err
		}
	}
	asked := cfg.GradientCheckpointing
	machine, err := s.compile()
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	out, err := openOutput(cfg)
	if err != nil {
		return nil, err
	}
	defer out.close()
	obs.Start(s.plan())
	if cfg.GradientCheckpointing != asked {
		obs.Notice(fmt.Sprintf("gradient_checkpointing is on, to stay within max_memory: %g GiB", cfg.MaxMemory))
	}
	t := &trainer{session: s, obs: obs, out: out, machine: machine}
	t.opt = newAdamW(machine.Params(), cfg.AdamBeta1, cfg.AdamBeta2, cfg.AdamEpsilon, cfg.WeightDecay, t.decays())
	if s.valid != nil {
		scorer, err := eval.NewScorer(s.model.Decoder)
		if err != nil {
			return nil, err
		}
		defer scorer.Close()
		t.scorer = scorer
	}
	if err := t.loop(ctx); err != nil {
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	t.result.OutputDir = cfg.OutputDir
	t.result.TrainableParameters = s.trained()
	t.result.ValidationCut = s.valid != nil && s.valid.Stats.Truncated > 0
	t.result.PeakRSSBytes = procstat.PeakRSS()
	if cfg.Profile {
		t.result.Profile = t.profile()
	}
	return &t.result, nil
}

// trainer is the loop's state.
type trainer struct {
	*session
	obs     Observer
	out     *output
	machine *nn.Machine
	opt     *adamW
	scorer  *eval.Scorer // nil without a validation file

	micro  []nn.Batch  // of one step; their memory is reused
	sum    [][]float32 // gradients summed over micro-batches, nil without accumulation
	tokens int64
	result Result

	profiled time.Duration // time of the steps since the machine's profile was reset
}

// profile sums up where the time went.
func (t *trainer) profile() *Profile {
	p := &Profile{Seconds: t.profiled.Seconds(), Operators: t.machine.Profile(), PeakFlops: kernel.Peak(t.cfg.Half()), Threads: kernel.Threads()}
	for _, o := range p.Operators {
		p.Flops += o.Flops
	}
	if p.Seconds > 0 {
		p.Utilisation = p.Flops / p.Seconds / p.PeakFlops
	}
	return p
}

// decays says which parameters weight decay applies to: matrices and sparse values, not biases and gains.
func (t *trainer) decays() func(*nn.Param) bool {
	vectors := map[string]bool{}
	for _, g := range t.model.Gains() {
		vectors[g.Name] = true
	}
	return func(p *nn.Param) bool { return !vectors[p.Name] }
}

func (t *trainer) loop(ctx context.Context) error {
	if err := t.evaluate(ctx, 0); err != nil {
		return err
	}
	t.result.EvalLossBefore = t.result.EvalLoss
	var busy time.Duration
	for step := range t.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		info, err := t.step(step)
		if err != nil {
			return err
		}
		spent := time.Since(start)
		if step == 0 {
			t.machine.ResetProfile()
		} else {
			t.profiled += spent
		}
		busy += spent
		info.TokensPerSecond = float64(info.Tokens) / spent.Seconds()
		t.tokens += info.Tokens
		info.Tokens = t.tokens
		t.result.Steps, t.result.TrainLoss = info.Step, info.Loss
		t.obs.Step(info)
		if info.Step%t.cfg.LoggingSteps == 0 || info.Step == t.steps {
			if err := t.out.step(info); err != nil {
				return err
			}
		}
		if info.Step < t.steps && t.cfg.EvalSteps > 0 && info.Step%t.cfg.EvalSteps == 0 {
			if err := t.evaluate(ctx, info.Step); err != nil {
				return err
			}
		}
	}
	err := t.evaluate(ctx, t.steps)
	if err != nil && ctx.Err() == nil {
		return err
	}
	// All steps are done: what interrupts the last evaluation costs no result.
	if err := errors.Join(err, t.out.save(t.session)); err != nil {
		return err
	}
	t.result.TokensPerSecond = float64(t.tokens) / busy.Seconds()
	return nil
}

// step takes optimizer step number step, from 0.
func (t *trainer) step(step int) (StepInfo, error) {
	counted := t.nextBatches()
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
	info.LearningRate = rateAt(t.cfg, step, t.steps, t.warmup)
	t.opt.update(info.LearningRate, clipScale(info.GradNorm, t.cfg.MaxGradNorm))
	weights := t.model.Weights()
	kernel.Parallel(len(weights), func(i int) { weights[i].Sync() })
	return info, nil
}

// nextBatches takes the step's micro-batches from the loader and returns how many tokens count in all of them.
func (t *trainer) nextBatches() int {
	counted := 0
	for len(t.micro) < t.cfg.GradientAccumulationSteps {
		t.micro = append(t.micro, nn.Batch{})
	}
	for i := range t.micro {
		b := t.loader.Next()
		m := &t.micro[i]
		m.IDs = append(m.IDs[:0], b.IDs...)
		m.Targets = append(m.Targets[:0], b.Targets...)
		m.Lengths = append(m.Lengths[:0], b.Lengths...)
		counted += b.Labels
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

// notFinite names what is no longer a number.
func (t *trainer) notFinite(info StepInfo) error {
	for _, p := range t.machine.Params() {
		for _, g := range p.Grad {
			if f := float64(g); math.IsNaN(f) || math.IsInf(f, 0) {
				return t.diverged(info.Step, info.Step-1, "the gradient of %s is not finite (loss %v)", p.Name, info.Loss)
			}
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
	return err.WithHint("lower learning_rate (now %g) or set max_grad_norm; no result was written", t.cfg.LearningRate)
}

// evaluate scores the validation file after the given step.
func (t *trainer) evaluate(ctx context.Context, step int) error {
	if t.scorer == nil {
		return nil
	}
	score, err := t.scorer.Score(ctx, t.valid, evalTokens)
	if err != nil {
		return err
	}
	if math.IsNaN(score.Loss) || math.IsInf(score.Loss, 0) {
		return t.diverged(step, step, "the validation loss is %v", score.Loss)
	}
	info := EvalInfo{Step: step, Loss: score.Loss, Tokens: score.Tokens}
	t.result.EvalLoss = &info.Loss
	t.obs.Eval(info)
	return t.out.eval(info)
}
