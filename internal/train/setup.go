package train

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"

	"shira/internal/adapter"
	"shira/internal/config"
	"shira/internal/data"
	"shira/internal/fault"
	"shira/internal/kernel"
	"shira/internal/model"
	"shira/internal/nn"
	"shira/internal/procstat"
)

// session is a run that is set up but has not taken a step.
type session struct {
	cfg      *config.Train
	model    *model.Model
	deltas   []adapter.Delta  // nil for full fine-tuning
	ranks    adapter.Config   // of the adapter, as far as it concerns ranks
	start    *adapter.Adapter // init_adapter, or nil
	train    *data.Dataset
	valid    *data.Dataset // nil without validation
	whole    *data.Dataset // that both are parts of, or nil
	loader   *data.Loader
	graph    *nn.Graph
	steps    int // optimizer steps of the run
	warmup   int
	rowLimit int // most tokens of a row

	dry    bool         // only a plan is wanted
	notice func(string) // tells the user of something at once; may be nil

	notices     []string // what the user should know of the plan
	fingerprint string   // of the base, taken before the run: in the hours of a long one the file may change
	encoded     string   // a digest of the tokens of all examples
	resident    int64    // bytes of the process once everything is loaded, 0 where unknown
	calibration int64    // bytes that calibrating the mask took besides the weights, before training
}

// maxSteps bounds the steps of a run, whose learning rates are all kept: it takes 800 MB for them.
const maxSteps = 100_000_000

// setUp loads everything a run needs and checks that it fits together.
func (s *session) setUp(ctx context.Context) error {
	var err error
	if s.model, err = loadModel(s.cfg); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		s.close()
		return err
	}
	return nil
}

// loadModel loads the base in the type that a run computes with.
func loadModel(cfg *config.Train) (*model.Model, error) {
	if err := kernel.Check(); err != nil {
		return nil, fault.Wrap(fault.Usage, "", err, "kernels")
	}
	if cfg.Threads > 0 {
		kernel.SetThreads(cfg.Threads)
	}
	// Full fine-tuning has its master values in float32.
	load := model.Load
	if cfg.Half() && cfg.Method != "full" {
		load = model.LoadHalf
	}
	return load(cfg.ModelNameOrPath)
}

// tell tells the user of something that is about to happen.
func (s *session) tell(format string, args ...any) {
	if s.notice != nil {
		s.notice(fmt.Sprintf(format, args...))
	}
}

func (s *session) close() {
	s.model.Close()
	for _, ds := range []*data.Dataset{s.train, s.valid, s.whole} {
		if ds != nil {
			_ = ds.Close() // of a temporary file, whose end loses nothing
		}
	}
}

func (s *session) load(ctx context.Context) error {
	cfg := s.cfg
	if err := s.limitRows(); err != nil {
		return err
	}
	if err := s.loadData(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if s.loader, err = data.NewLoader(s.train, data.LoaderOptions{
		BatchSize: cfg.BatchSize, MaxLength: s.rowLimit, Packing: cfg.Packing, Shuffle: cfg.Shuffle, Seed: cfg.Seed,
	}); err != nil {
		return err
	}
	if n := s.loader.BatchSize(); n < cfg.BatchSize {
		s.notices = append(s.notices, fmt.Sprintf("per_device_train_batch_size %d is more than the %d rows of %s: a batch is all of them",
			cfg.BatchSize, n, s.train.Name()))
	}
	if s.steps = cfg.MaxSteps; s.steps == 0 {
		s.steps = s.loader.Steps(cfg.NumTrainEpochs, cfg.GradientAccumulationSteps)
	}
	if s.steps > maxSteps {
		return fault.New(fault.Usage, "", "the run would have more than %d steps", maxSteps).WithHint("lower max_steps or num_train_epochs")
	}
	if s.warmup = cfg.WarmupSteps; s.warmup == 0 {
		s.warmup = int(math.Ceil(cfg.WarmupRatio * float64(s.steps)))
	}
	if err := s.attach(ctx); err != nil {
		return err
	}
	runtime.GC() // of what loading left behind
	s.resident = procstat.RSS()
	return nil
}

// limitRows takes the most tokens of a row from the configuration.
func (s *session) limitRows() error {
	if s.rowLimit = s.cfg.MaxSeqLength; s.rowLimit > s.model.MaxPositions {
		return fault.New(fault.Usage, "", "max_seq_length %d is more than the %d positions of the model", s.rowLimit, s.model.MaxPositions)
	}
	return nil
}

// compile builds the graph and differentiates it, with checkpointing where max_memory asks for that.
func (s *session) compile() (*nn.Machine, error) {
	for {
		s.graph = nn.NewGraph(nn.Options{
			Training: true, Checkpointing: s.cfg.GradientCheckpointing, HalfActivations: s.cfg.Half(),
			Noise: nn.Noise{Alpha: s.cfg.NeftuneNoiseAlpha, Seed: s.cfg.Seed},
		})
		loss, err := s.model.Loss(s.graph)
		if err != nil {
			return nil, err
		}
		machine, err := s.graph.Compile(loss)
		if err != nil {
			return nil, err
		}
		if s.cfg.GradientCheckpointing || s.overMemory() == 0 {
			return machine, nil
		}
		s.cfg.GradientCheckpointing = true
		s.notices = append(s.notices, fmt.Sprintf("gradient_checkpointing is turned on, to stay within max_memory: %g GiB", s.cfg.MaxMemory))
		if err := machine.Close(); err != nil {
			return nil, err
		}
	}
}

// checkTurnEnd notes where conversations end turns with what is no token.
func (s *session) checkTurnEnd(opt data.Options) {
	chat := func(f data.Source) bool { return f.Kind == "chat" || f.Kind == "sharegpt" }
	if opt.Template == nil || opt.Tokenizer == nil || !slices.ContainsFunc(s.train.Sources, chat) {
		return
	}
	if mark := opt.Template.UnknownTurnEnd(opt.Tokenizer); mark != "" {
		s.notices = append(s.notices, fmt.Sprintf("the chat template ends a turn with %s, which is no token of the tokenizer: the model learns to spell it",
			fault.Quote(mark)))
	}
}

func (s *session) loadData(ctx context.Context) error {
	opt, err := DataOptions(s.cfg, filepath.Dir(s.model.Checkpoint.ConfigPath()))
	if err != nil {
		return err
	}
	opt.VocabSize, opt.MaxLength = s.model.VocabSize, s.rowLimit
	if s.train, err = data.Load(ctx, opt); err != nil {
		return err
	}
	s.checkTurnEnd(opt)
	if s.cfg.ValSetSize > 0 {
		s.whole = s.train
		s.train, s.valid, err = s.whole.HoldOut(s.cfg.ValSetSize, s.cfg.Seed)
		return err
	}
	if !s.cfg.Validates() {
		return nil
	}
	s.valid, err = data.Load(ctx, forValidation(opt, s.cfg))
	return err
}
