package train

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"shira/internal/adapter"
	"shira/internal/buildinfo"
	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/tbevents"
)

const (
	metricsFile = "metrics.jsonl"
	// openMetrics is its name until the run's result is there. Empty it is no run in progress: a start that was killed leaves it so.
	openMetrics = "metrics.jsonl.part"
)

// writtenFiles are those that a run writes into its directory besides checkpoints.
var writtenFiles = []string{adapter.TensorsFile, adapter.ConfigFile, checkpoint.StagedName, ReportFile, cardFile, trainerStateFile}

// output is a run's directory.
type output struct {
	dir     string
	made    []string // directories that were not there before, the deepest first
	metrics *os.File
	release func() // of a model that is to be replaced
	text    []byte // what metrics holds

	steps []StepInfo // what text says
	evals []EvalInfo

	events *tbevents.Writer // nil without report_to: tensorboard
}

// checkOutput refuses a directory that holds a result or checkpoints already, but for a run that goes on, or a result of
// another kind than cfg's, which overwriting would leave beside the new one.
func checkOutput(cfg *config.Train) error {
	holds := func(name string) bool {
		_, err := os.Lstat(filepath.Join(cfg.OutputDir, name))
		return err == nil
	}
	release, err := reserve(cfg)
	if err != nil {
		return err
	}
	release()
	resuming := cfg.ResumeFromCheckpoint != ""
	results := []string{adapter.TensorsFile, checkpoint.ModelFile, checkpoint.IndexFile, checkpoint.StagedName, metricsFile}
	if info, err := os.Lstat(filepath.Join(cfg.OutputDir, openMetrics)); resuming && err == nil && info.Size() > 0 {
		results = nil // the run was stopped while it wrote them, or they are those it was to replace
	}
	for _, name := range results {
		if holds(name) && !cfg.OverwriteOutputDir {
			err := fault.New(fault.Usage, cfg.OutputDir, "the output directory holds a run already: %s", name)
			if resuming {
				return err.WithHint("that run has ended; with overwrite_output_dir: true one goes on from its checkpoint and replaces its result")
			}
			return err.WithHint("choose another output_dir, or set overwrite_output_dir: true")
		}
	}
	steps, err := checkpoints(cfg.OutputDir)
	if err != nil {
		return err
	}
	if n := len(steps); n > 0 && !resuming && !cfg.OverwriteOutputDir {
		return fault.New(fault.Usage, cfg.OutputDir, "the output directory holds the checkpoints of a run: the last is %s%d", checkpointPrefix, steps[n-1]).
			WithHint("go on from there with --resume auto, or start over with overwrite_output_dir: true")
	}
	for _, other := range []struct {
		full bool
		name string
		what string
	}{
		{false, checkpoint.ModelFile, "a model"}, {false, checkpoint.StagedName, "a model"}, {false, checkpoint.IndexFile, "a model"}, {true, checkpoint.IndexFile, "a model in shards"},
		{true, adapter.TensorsFile, "an adapter"},
	} {
		if other.full == (cfg.Method == "full") && holds(other.name) {
			return fault.New(fault.Usage, cfg.OutputDir, "the output directory holds %s, which method %s would not replace: %s", other.what, cfg.Method, other.name).
				WithHint("choose another output_dir")
		}
	}
	return nil
}

// reserve keeps switches from a model that the run is to replace, until release.
func reserve(cfg *config.Train) (release func(), err error) {
	if cfg.Method != "full" {
		return func() {}, nil
	}
	return checkpoint.Reserve(filepath.Join(cfg.OutputDir, checkpoint.ModelFile))
}

// openOutput makes the directory and locks it, with a model in it that the run is to replace. Nothing that was there is changed
// yet.
func openOutput(cfg *config.Train) (*output, error) {
	if err := checkOutput(cfg); err != nil { // before a directory is made
		return nil, err
	}
	made, err := fsx.MakeDirs(cfg.OutputDir)
	if err != nil {
		return nil, err
	}
	f, err := fsx.OpenLocked(filepath.Join(cfg.OutputDir, openMetrics))
	if err != nil {
		return nil, err
	}
	release, err := reserve(cfg)
	if err != nil {
		f.Close()
		return nil, err
	}
	o := &output{dir: cfg.OutputDir, made: made, metrics: f, release: release}
	if err = checkOutput(cfg); err == nil { // another run may have ended between
		err = o.install()
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// install puts a new model in place that a run has written beside the old one, if there is one.
func (o *output) install() error {
	staged := filepath.Join(o.dir, checkpoint.StagedName)
	if _, err := os.Lstat(staged); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fsx.Unpack(staged, o.dir, checkpoint.ModelFile)
}

// close ends the run's hold on its directory. A run that came to nothing leaves no trace of its own.
func (o *output) close() {
	info, err := o.metrics.Stat()
	nothing := err == nil && info.Size() == 0 // closed, it is a result's
	if nothing {
		_ = os.Remove(o.metrics.Name()) // while it is locked; empty it does no harm
	}
	o.metrics.Close()
	o.release()
	if o.events != nil {
		_ = o.events.Close() // every event has been written
	}
	if nothing {
		for _, dir := range o.made {
			_ = os.Remove(dir) // unless something is in it
		}
	}
}

// openEvents starts a file of events where the configuration asks for one, from the given step on.
func (o *output) openEvents(cfg *config.Train, first int) (err error) {
	if !slices.Contains(cfg.ReportTo, config.TensorBoard) {
		return nil
	}
	dir := cfg.LoggingDir
	if dir == "" {
		dir = filepath.Join(o.dir, "runs")
	}
	o.events, err = tbevents.Create(dir, first)
	return err
}

// restore makes the metrics those of text.
func (o *output) restore(text []byte) error {
	if err := o.metrics.Truncate(0); err != nil {
		return fsx.Wrap(err, o.metrics.Name(), "write")
	}
	if _, err := o.metrics.WriteAt(text, 0); err != nil {
		return fsx.Wrap(err, o.metrics.Name(), "write")
	}
	if _, err := o.metrics.Seek(int64(len(text)), io.SeekStart); err != nil {
		return fsx.Wrap(err, o.metrics.Name(), "write")
	}
	o.text = text
	return o.parse()
}

// settle makes the metrics durable, so that what is written next is known to be of a run in progress whatever happens.
func (o *output) settle() error { return fsx.Settle(o.metrics) }

// finish gives the metrics, which are settled, their name, once the result is there.
func (o *output) finish() error {
	return fsx.RenameLocked(o.metrics, filepath.Join(o.dir, metricsFile))
}

// stepLine and evalLine are the lines of metrics.jsonl.
type stepLine struct {
	Step            int     `json:"step"`
	Loss            float64 `json:"loss"`
	LearningRate    float64 `json:"learning_rate"`
	GradNorm        float64 `json:"grad_norm"`
	Epoch           float64 `json:"epoch"`
	Tokens          int64   `json:"tokens"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

type evalLine struct {
	Step   int     `json:"step"`
	Loss   float64 `json:"eval_loss"`
	Epoch  float64 `json:"epoch"`
	Tokens int64   `json:"eval_tokens"`
}

// step appends a step's line to metrics.jsonl, and to the events by the names of Hugging Face's Trainer.
func (o *output) step(s StepInfo) error {
	o.steps = append(o.steps, s)
	if o.events != nil {
		if err := o.events.Write(s.Step, tbevents.Scalar{Tag: "train/loss", Value: s.Loss}, tbevents.Scalar{Tag: "train/learning_rate", Value: s.LearningRate},
			tbevents.Scalar{Tag: "train/grad_norm", Value: s.GradNorm}, tbevents.Scalar{Tag: "train/epoch", Value: s.Epoch},
			tbevents.Scalar{Tag: "train/tokens_per_second", Value: s.TokensPerSecond}); err != nil {
			return err
		}
	}
	return o.line(stepLine{s.Step, s.Loss, s.LearningRate, s.GradNorm, s.Epoch, s.Tokens, s.TokensPerSecond})
}

// eval appends an evaluation's line likewise.
func (o *output) eval(e EvalInfo) error {
	o.evals = append(o.evals, e)
	if o.events != nil {
		if err := o.events.Write(e.Step, tbevents.Scalar{Tag: "eval/loss", Value: e.Loss}); err != nil {
			return err
		}
	}
	return o.line(evalLine{e.Step, e.Loss, e.Epoch, e.Tokens})
}

func (o *output) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if _, err := o.metrics.Write(b); err != nil {
		return fsx.Wrap(err, o.metrics.Name(), "write")
	}
	o.text = append(o.text, b...)
	return nil
}

// parse reads steps and evals from text.
func (o *output) parse() error {
	o.steps, o.evals = nil, nil
	for line := range bytes.Lines(o.text) {
		var l struct {
			stepLine
			EvalLoss   *float64 `json:"eval_loss"`
			EvalTokens int64    `json:"eval_tokens"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return fault.Wrap(fault.Malformed, metricsFile, err, "a line that is no object of metrics")
		}
		if l.EvalLoss != nil {
			o.evals = append(o.evals, EvalInfo{Step: l.Step, Loss: *l.EvalLoss, Epoch: l.Epoch, Tokens: l.EvalTokens})
			continue
		}
		o.steps = append(o.steps, StepInfo{Step: l.Step, Loss: l.Loss, LearningRate: l.LearningRate, GradNorm: l.GradNorm,
			Epoch: l.Epoch, Tokens: l.Tokens, TokensPerSecond: l.TokensPerSecond})
	}
	return nil
}

// writeText writes a small file durably.
func writeText(path string, text []byte) error {
	return fsx.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// result writes the run's result. A model has several files, and those of an old one, which may be of another base, lie there:
// it is written whole beside them first, and an interrupted run leaves the old one, or the new one there.
func (t *trainer) result() error {
	if t.cfg.Method != "full" {
		return t.write(t.out.dir)
	}
	if err := fsx.WriteDir(filepath.Join(t.out.dir, checkpoint.StagedName), t.write); err != nil {
		return err
	}
	return t.out.install()
}

// write writes the run's result to dir durably: an adapter, or for full fine-tuning a complete model directory.
func (s *session) write(dir string) error {
	if err := s.checkFinite(); err != nil {
		return err
	}
	if s.cfg.Method == "full" {
		return s.writeModel(dir)
	}
	a, err := s.adapter()
	if err != nil {
		return err
	}
	return a.Save(dir)
}

// values returns the model's parameters by tensor, for full fine-tuning.
func (s *session) values() map[string][]float32 {
	values := map[string][]float32{}
	for _, w := range s.model.Weights() {
		values[w.Name+".weight"] = w.Data
	}
	for _, g := range s.model.Gains() {
		values[g.Name] = g.Data
	}
	return values
}

// adapter returns what is trained with what there is to say about it.
func (s *session) adapter() (*adapter.Adapter, error) {
	a := &adapter.Adapter{Config: s.ranks, Deltas: s.deltas}
	c, cfg := &a.Config, s.cfg
	c.Method, c.Seed, c.TaskType, c.BaseName = cfg.Method, cfg.Seed, "CAUSAL_LM", cfg.ModelNameOrPath
	c.ModulesToSave = cfg.ModulesToSave
	c.BaseFingerprint, c.DataHash, c.ToolVersion = s.fingerprint, s.train.SHA256, buildinfo.Version()
	if s.masked() { // what such a run leaves is a change of some entries, whatever made it
		c.Method = "shira"
		c.Alpha, c.RankPattern, c.AlphaPattern = 0, nil, nil
	}
	if cfg.Method == "foura" {
		c.Transform, c.Gate = cmp.Or(cfg.Transform, config.TransformDCT), config.GateNone
		if f, ok := s.deltas[0].(*adapter.FouRA); ok && f.Gate != nil {
			c.Gate, c.GateTemperature = f.Gate.Kind(), float64(f.Gate.Temperature)
		}
	}
	if s.start != nil {
		old := s.start.Config
		c.Mask, c.R, c.Density, c.TargetModules, c.Layers, c.Transform = old.Mask, old.R, old.Density, old.TargetModules, old.Layers, old.Transform
		c.ModulesToSave = old.ModulesToSave
		return a, nil
	}
	if cfg.UsesMask() {
		c.Mask, c.Density, c.R = cfg.Mask, cfg.Density, cfg.R
		if c.Density == 0 {
			c.R = cfg.Rank()
		} else {
			c.R = 0
		}
	}
	return a, nameTargets(a, cfg)
}

// masked says whether entries are trained by way of factors.
func (s *session) masked() bool { return s.cfg.UsesMask() && s.cfg.UsesFactors() }

// nameTargets says in a's configuration which modules it has: in the words of cfg where PEFT understands them, else one by one.
func nameTargets(a *adapter.Adapter, cfg *config.Train) error {
	t, err := newTargets(cfg)
	if err != nil {
		return err
	}
	c := &a.Config
	if c.TargetModules = cfg.TargetModules; t.named() {
		if t.layers == nil {
			return nil
		}
		if !cfg.UsesMask() {
			c.Layers = t.layers
			return nil
		}
	}
	c.TargetModules = nil
	for _, d := range a.Deltas {
		if _, whole := d.(*adapter.Whole); !whole {
			c.TargetModules = append(c.TargetModules, d.Module())
		}
	}
	return nil
}

// writeModel writes the trained weights in the base's types and order, beside copies of its configuration and tokenizer.
func (s *session) writeModel(dir string) error {
	values := s.values()
	var entries []checkpoint.Entry
	for _, t := range s.model.Checkpoint.Tensors() {
		if v, ok := values[t.Name]; ok {
			entries = append(entries, checkpoint.Float32Entry(t.Name, t.DType, t.Shape, v))
		}
	}
	names, _ := s.model.Checkpoint.Companions()
	for _, name := range names {
		if name == checkpoint.IndexFile { // what is written here is one file
			continue
		}
		if err := s.model.Checkpoint.CopyCompanion(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return checkpoint.Write(filepath.Join(dir, checkpoint.ModelFile), entries, map[string]string{"format": "pt"})
}
