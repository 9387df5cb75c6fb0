package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
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

// Run trains as cfg says and writes the adapter or model to its output directory. When ctx is cancelled it finishes the step
// it is in and writes a checkpoint; the error, which wraps that of ctx, says how to go on.
func Run(ctx context.Context, cfg *config.Train, obs Observer) (*Result, error) {
	from, err := resumeFrom(cfg, obs.Notice)
	if err != nil {
		return nil, err
	}
	if from != nil {
		defer from.close()
	}
	if err := checkOutput(cfg); err != nil { // before what takes time
		return nil, err
	}
	s := &session{cfg: cfg, notice: obs.Notice}
	if err := s.setUp(ctx); err != nil {
		return nil, err
	}
	defer s.close()
	if s.fingerprint, err = s.model.Checkpoint.Fingerprint(); err != nil {
		return nil, err
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
	t := newTrainer(s, obs, out, machine)
	if s.valid != nil {
		if t.scorer, err = eval.NewScorer(s.model.Decoder); err != nil {
			return nil, err
		}
		defer t.scorer.Close()
	}
	t.planned = s.plan()
	obs.Start(t.planned)
	if cfg.GradientCheckpointing != asked {
		obs.Notice(fmt.Sprintf("gradient_checkpointing is on, to stay within max_memory: %g GiB", cfg.MaxMemory))
	}
	if err := t.begin(from); err != nil {
		return nil, err
	}
	if err := t.loop(ctx); err != nil {
		err = t.interrupted(ctx, err)
		if e := t.writeReport(); e != nil { // the error that ended the run matters more
			obs.Notice(fmt.Sprintf("no report: %v", e))
		}
		return nil, err
	}
	return t.end(context.WithoutCancel(ctx))
}

// trainer is the loop's state.
type trainer struct {
	*session
	obs     Observer
	out     *output
	machine *nn.Machine
	opt     *adamW
	scorer  *eval.Scorer // nil without a validation file
	rates   []float64    // of all steps
	planned *Plan

	progress
	saved     int // step of the last checkpoint
	trainLoss float64
	resumed   int // step that the run went on after, 0 for none

	spikes spikes
	micro  []nn.Batch  // of one step; their memory is reused
	sum    [][]float32 // gradients summed over micro-batches, nil without accumulation

	openRanks []eval.Opening // of foura's gates, in the end

	profiled time.Duration // time of the steps since the machine's profile was reset
}

func newTrainer(s *session, obs Observer, out *output, machine *nn.Machine) *trainer {
	t := &trainer{session: s, obs: obs, out: out, machine: machine, progress: progress{Evaluated: -1}}
	t.opt = newAdamW(machine.Params(), s.cfg.AdamBeta1, s.cfg.AdamBeta2, s.cfg.AdamEpsilon, s.cfg.WeightDecay, t.groups())
	for step := range s.steps {
		t.rates = append(t.rates, rateAt(s.cfg, step, s.steps, s.warmup))
	}
	return t
}

// begin starts at the first step, or after that of a checkpoint.
func (t *trainer) begin(from *saved) error {
	if from == nil {
		if err := t.out.sweep(true); err != nil {
			return err
		}
		t.Loader = t.loader.State()
		if err := t.out.restore(nil); err != nil {
			return err
		}
		return t.out.openEvents(t.cfg, 0)
	}
	if err := t.resume(from); err != nil {
		return err
	}
	for _, s := range t.out.steps {
		t.spikes.see(s.Loss)
	}
	t.resumed = t.Step
	t.obs.Resume(t.Step)
	if err := t.out.sweep(false); err != nil {
		return err
	}
	return t.out.openEvents(t.cfg, t.Step+1)
}

// end writes the result, after the last step.
func (t *trainer) end(ctx context.Context) (*Result, error) {
	r := &Result{
		OutputDir: t.cfg.OutputDir, Steps: t.Step, TrainLoss: t.trainLoss, EvalLoss: t.LossNow, EvalLossBefore: t.LossBefore,
		TrainableParameters: t.trained(), TokensPerSecond: float64(t.Tokens) / t.Seconds, ResumedFrom: t.resumed,
		BestStep: t.BestStep, StoppedEarly: t.Stopped,
		ValidationCut: t.valid != nil && t.valid.Stats.Truncated > 0,
	}
	if best := t.keepBest(); best > 0 && best != t.Step {
		if err := t.takeBest(); err != nil {
			return nil, err
		}
		r.EvalLoss = t.BestLoss
	}
	if err := t.closeGates(ctx, r); err != nil {
		return nil, err
	}
	if err := t.write(t.out.dir); err != nil {
		return nil, err
	}
	if err := t.accounts(r); err != nil {
		return nil, err
	}
	if err := t.out.finish(); err != nil {
		return nil, err
	}
	r.PeakRSSBytes = procstat.PeakRSS()
	if t.cfg.Profile {
		r.Profile = t.profile()
	}
	return r, nil
}

// accounts writes what tells of the run beside its result.
func (t *trainer) accounts(r *Result) error {
	state, err := t.trainerState()
	if err != nil {
		return err
	}
	if err := writeText(filepath.Join(t.out.dir, trainerStateFile), state); err != nil {
		return err
	}
	if err := t.writeCard(r); err != nil {
		return err
	}
	return t.writeReport()
}

// interrupted saves a run that ctx has stopped. Other errors it returns as they are.
func (t *trainer) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) || t.Step == 0 {
		return err
	}
	if e := t.checkpoint(); e != nil {
		return e
	}
	return fault.Wrap(fault.Interrupted, "", err, "stopped after step %d of %d", t.Step, t.steps).
		WithHint("the run is saved as %s: go on with --resume auto", t.out.checkpointDir(t.Step))
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

// groups says which parameters weight decay applies to: matrices and sparse values, not biases, gains and magnitudes; and which have a
// rate of their own: as in PEFT's optimizer for LoRA+, the factors B and vectors.
func (t *trainer) groups() func(*nn.Param) group {
	gains := map[string]bool{}
	for _, g := range t.model.Gains() {
		gains[g.Name] = true
	}
	return func(p *nn.Param) group {
		g := group{rate: 1, decay: p.Kind != nn.Vector && !gains[p.Name]}
		if ratio := t.cfg.LoraPlusLRRatio; ratio > 0 && (p.Kind == nn.FactorB || p.Kind == nn.Vector) {
			g.rate = ratio
		}
		return g
	}
}

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
	} else {
		t.profiled += spent
	}
	t.Step, t.trainLoss, t.Loader = info.Step, info.Loss, t.loader.State()
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
	score, err := t.scorer.Score(ctx, t.valid, evalTokens)
	if err != nil {
		return err
	}
	if math.IsNaN(score.Loss) || math.IsInf(score.Loss, 0) {
		return t.diverged(t.Step, t.Step, "the validation loss is %v", score.Loss)
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
	t.Stopped = t.cfg.EarlyStoppingPatience > 0 && t.Misses >= t.cfg.EarlyStoppingPatience
}
