package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
	s.digestTokens()
	machine, err := s.compile()
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	if err := s.checkMemory(); err != nil {
		return nil, err
	}
	t := newTrainer(s, obs, machine)
	if from != nil {
		if err := t.fits(from); err != nil {
			return nil, err
		}
	}
	if t.out, err = openOutput(cfg); err != nil {
		return nil, err
	}
	defer t.out.close()
	if s.valid != nil {
		if t.scorer, err = eval.NewScorer(s.model); err != nil {
			return nil, err
		}
		defer t.scorer.Close()
	}
	t.planned = s.plan()
	obs.Start(t.planned)
	if err := t.begin(from); err != nil {
		return nil, err
	}
	defer boundGarbage()() // of the first step, whose buffers replace smaller ones as they grow
	if err := t.loop(ctx); err != nil {
		err = t.interrupted(ctx, err)
		if t.Step > 0 {
			if e := t.writeReport(); e != nil { // the error that ended the run matters more
				obs.Notice(fmt.Sprintf("no report: %v", e))
			}
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
	saved   int // step of the last checkpoint
	resumed int // step that the run went on after, 0 for none

	spikes spikes
	micro  []nn.Batch  // of one step; their memory is reused
	sum    [][]float32 // gradients summed over micro-batches, nil without accumulation

	openRanks []eval.Opening // of foura's gates, in the end

	profiled time.Duration // time of the steps since the machine's profile was reset
}

func newTrainer(s *session, obs Observer, machine *nn.Machine) *trainer {
	t := &trainer{session: s, obs: obs, machine: machine, progress: progress{Evaluated: -1}}
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
	if err := t.out.rotate(t.cfg.SaveTotalLimit, t.Step, t.keepBest()); err != nil { // which the stop may have come before
		return err
	}
	return t.out.openEvents(t.cfg, t.Step+1)
}

// end writes the result, after the last step.
func (t *trainer) end(ctx context.Context) (*Result, error) {
	r := &Result{
		OutputDir: t.cfg.OutputDir, Steps: t.Step, TrainLoss: t.TrainLoss, EvalLoss: t.LossNow, EvalLossBefore: t.LossBefore,
		TrainableParameters: t.trained(), TokensPerSecond: float64(t.Tokens) / t.Seconds, ResumedFrom: t.resumed,
		BestStep: t.BestStep, StoppedEarly: t.Stopped,
		Cut: t.valid != nil && t.valid.Stats.Truncated > 0 || len(t.cfg.ValidationData()) == 0 && t.train.Stats.Truncated > 0,
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
	t.LossNow = r.EvalLoss // of what is written, for the report
	if err := t.out.settle(); err != nil {
		return nil, err
	}
	if err := t.result(); err != nil {
		return nil, err
	}
	if err := t.accounts(r); err != nil {
		return nil, err
	}
	if err := t.out.finish(); err != nil {
		return nil, err
	}
	r.PeakRSSBytes = procstat.PeakRSS()
	switch {
	case t.cfg.Profile && t.profiled == 0:
		t.obs.Notice("nothing to profile: the first step is not counted; take at least 2")
	case t.cfg.Profile:
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
	p.Utilisation = p.Flops / p.Seconds / p.PeakFlops
	return p
}

// groups says which parameters weight decay applies to: matrices and sparse values, not biases, gains and magnitudes; and which
// have a rate of their own: as in PEFT's optimizer for LoRA+, the factors B and vectors.
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
