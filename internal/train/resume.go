package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// saved is a checkpoint that has been read.
type saved struct {
	dir string
	state
	tensors *checkpoint.File
	metrics []byte
}

func (s *saved) close() { s.tensors.Close() }

// openCheckpoint reads and checks the checkpoint at dir. One that is not whole is a Malformed fault.
func openCheckpoint(dir string) (*saved, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fsx.Wrap(err, dir, "read")
	}
	if err := checkSums(dir); err != nil {
		return nil, err
	}
	f, err := checkpoint.Open(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	s := &saved{dir: dir, tensors: f}
	if err := s.read(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// maxSums and maxMetrics bound what is read whole.
const (
	maxSums    = 1 << 20
	maxMetrics = 1 << 30
)

// checkSums compares the files that a run goes on from with their hashes.
func checkSums(dir string) error {
	b, err := fsx.ReadFile(filepath.Join(dir, sumsFile), maxSums)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err := fault.New(fault.Malformed, dir, "is no whole checkpoint: it has no %s", sumsFile)
		if steps, e := checkpoints(dir); e == nil && len(steps) > 0 {
			return err.WithHint("it holds checkpoints: the last is %s", filepath.Join(dir, checkpointPrefix+strconv.Itoa(steps[len(steps)-1])))
		}
		return err
	case err != nil:
		return err
	}
	want := map[string]string{}
	for line := range strings.Lines(string(b)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			return fault.New(fault.Malformed, filepath.Join(dir, sumsFile), "a line that is no hash and name: %s", fault.Quote(line))
		}
		want[name] = sum
	}
	for _, name := range []string{stateFile, metricsFile} {
		path := filepath.Join(dir, name)
		sum, err := fileSum(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.Malformed, dir, "is no whole checkpoint: it has no %s", name)
		case err != nil:
			return err
		case sum != want[name]:
			return fault.New(fault.Malformed, path, "is damaged: its hash is not that of %s", sumsFile)
		}
	}
	return nil
}

func (s *saved) read() error {
	path := s.tensors.Path()
	text, ok := s.tensors.Metadata()[stateKey]
	if !ok {
		return fault.New(fault.Malformed, path, "has no metadata %q: it is no state of a run", stateKey)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return fault.Wrap(fault.Malformed, path, err, "metadata %q", stateKey)
	}
	if head.Version != stateVersion {
		return fault.New(fault.Incompatible, path, "the state has version %d, this program reads version %d", head.Version, stateVersion)
	}
	if err := json.Unmarshal([]byte(text), &s.state); err != nil {
		return fault.Wrap(fault.Malformed, path, err, "metadata %q", stateKey)
	}
	if s.Step < 1 || s.Evaluated < -1 || s.Evaluated > s.Step || s.BestStep < 0 || s.BestStep > s.Step {
		return fault.New(fault.Malformed, path, "metadata %q: step %d, evaluated after step %d, best step %d", stateKey, s.Step, s.Evaluated, s.BestStep)
	}
	var err error
	s.metrics, err = fsx.ReadFile(filepath.Join(s.dir, metricsFile), maxMetrics)
	return err
}

// resumeFrom opens the checkpoint that the configuration says to go on from: the one named, or for auto the newest one in
// the output directory that is whole. It returns nil where the run is to start at the beginning.
func resumeFrom(cfg *config.Train, notice func(string)) (*saved, error) {
	switch cfg.ResumeFromCheckpoint {
	case "":
		return nil, nil
	case config.ResumeAuto:
	default:
		return openCheckpoint(cfg.ResumeFromCheckpoint)
	}
	steps, err := checkpoints(cfg.OutputDir)
	if err != nil {
		return nil, err
	}
	for _, step := range slices.Backward(steps) {
		s, err := openCheckpoint(filepath.Join(cfg.OutputDir, checkpointPrefix+strconv.Itoa(step)))
		if err == nil {
			return s, nil
		}
		if fault.KindOf(err) != fault.Malformed {
			return nil, err
		}
		notice(fmt.Sprintf("this checkpoint is not used: %v", err))
	}
	notice("no checkpoint to go on from in " + cfg.OutputDir + ": the run starts at its first step")
	return nil, nil
}

// resume makes the run, which fits, what it was when the checkpoint was written.
func (t *trainer) resume(s *saved) error {
	if err := t.opt.restore(s.tensors, s.Step); err != nil {
		return err
	}
	t.sync()
	if err := t.loader.Restore(s.Loader); err != nil {
		return err
	}
	t.progress = s.progress
	t.Stopped = t.outOfPatience() // of which there may be more now, or less
	if filepath.Clean(s.dir) == filepath.Clean(t.out.checkpointDir(s.Step)) {
		t.saved = s.Step
	}
	if err := t.bringBest(s); err != nil {
		return err
	}
	return t.out.restore(s.metrics)
}

// refuse is the error of a run that cannot go on from s.
func (s *saved) refuse(wrong []string) error {
	return fault.New(fault.Incompatible, s.dir, "the run cannot go on from here: %s", strings.Join(wrong, "; ")).
		WithHint("put the configuration back, or start another run: init_adapter takes the adapter of a checkpoint")
}

// bringBest copies the checkpoint of the best step so far, where the end will need it, from beside the one that the run goes
// on from into the output directory.
func (t *trainer) bringBest(s *saved) error {
	best := t.keepBest()
	dir := t.out.checkpointDir(best)
	if best == 0 || checkSums(dir) == nil {
		return nil
	}
	old := filepath.Join(filepath.Dir(filepath.Clean(s.dir)), filepath.Base(dir))
	if err := checkSums(old); err != nil {
		return fault.Wrap(fault.KindOf(err), old, err, "load_best_model_at_end needs the best checkpoint so far")
	}
	return fsx.WriteDir(dir, func(into string) error {
		return fsx.Wrap(os.CopyFS(into, os.DirFS(old)), dir, "copy "+old)
	}, fsx.Replace(true))
}

// takeBest puts back the values of the best step.
func (t *trainer) takeBest() error {
	s, err := openCheckpoint(t.out.checkpointDir(t.BestStep))
	if err != nil {
		return err
	}
	defer s.close()
	if err := t.opt.restore(s.tensors, s.Step); err != nil {
		return err
	}
	t.sync()
	return nil
}

// fits says in one error why the run cannot go on from the checkpoint as if it had never stopped.
func (t *trainer) fits(s *saved) error {
	now := t.identity()
	wrong := t.cfg.Changed(s.Config)
	for _, c := range []struct{ what, was, is string }{
		{"the base's content", s.Base, now.Base}, {"the training data", s.TrainData, now.TrainData},
		{"the validation data", s.ValidationData, now.ValidationData},
	} {
		if c.was != c.is {
			wrong = append(wrong, c.what+" changed")
		}
	}
	if len(wrong) == 0 && s.Encoded != "" && s.Encoded != now.Encoded {
		wrong = append(wrong, "the tokenizer or the chat template makes other tokens of the data")
	}
	if s.Step > t.steps {
		wrong = append(wrong, fmt.Sprintf("the run has %d steps, the checkpoint is after step %d", t.steps, s.Step))
	} else if s.Schedule != t.schedule(s.Step) {
		wrong = append(wrong, fmt.Sprintf("the learning rates of the steps taken are others: in step %d it was %g, is %g", s.Step, s.LastRate, t.rates[s.Step-1]))
	}
	if len(wrong) == 0 && s.Structure != now.Structure {
		wrong = append(wrong, "the trained entries or factors are others")
	}
	if len(wrong) > 0 {
		return s.refuse(wrong)
	}
	if s.Kernels != now.Kernels {
		t.obs.Notice(fmt.Sprintf("%s was computed with the kernels %s, this run has %s: the last bits of the result will differ", s.dir, s.Kernels, now.Kernels))
	}
	return nil
}
