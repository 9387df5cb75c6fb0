package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/data"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/kernel"
)

// A checkpoint is a directory checkpoint-<step> with the result as it would be written after that step, the metrics so far,
// and in stateFile everything else that the steps after it depend on. It is put in place by one rename; sumsFile, in the
// format of sha256sum, tells later damage.
const (
	checkpointPrefix = "checkpoint-"
	stateFile        = "training_state.safetensors"
	sumsFile         = "SHA256SUMS"
	// stateKey is the key of stateFile's metadata that holds the state.
	stateKey = "state"
	// stateVersion rises when older programs would misread a state.
	stateVersion = 1
)

// The tensors of a parameter in stateFile: its values and AdamW's moments, by PyTorch's names.
const (
	valueSuffix  = ":value"
	firstSuffix  = ":exp_avg"
	secondSuffix = ":exp_avg_sq"
)

// progress is how far a run has come, besides the trained values and their moments.
type progress struct {
	Step      int        `json:"step"`      // optimizer steps taken
	Evaluated int        `json:"evaluated"` // the step after which the last evaluation was, -1 before the first
	Tokens    int64      `json:"tokens"`
	Seconds   float64    `json:"seconds"` // of all steps
	Loader    data.State `json:"loader"`
	Epoch     float64    `json:"epoch"`     // passes over the data
	EpochEnd  bool       `json:"epoch_end"` // whether the last step ended one

	LossBefore *float64 `json:"loss_before,omitempty"` // validation losses before the first step
	LossNow    *float64 `json:"loss_now,omitempty"`    // and of the last evaluation
	BestLoss   *float64 `json:"best_loss,omitempty"`
	BestStep   int      `json:"best_step,omitempty"`
	Misses     int      `json:"misses,omitempty"` // evaluations since one that counted as better
	Stopped    bool     `json:"stopped,omitempty"`
}

// state is what stateFile says besides tensors.
type state struct {
	Version int `json:"version"`
	progress
	Config         map[string]string `json:"config"`   // of the keys that decide what is computed
	Schedule       string            `json:"schedule"` // of the learning rates of the steps taken
	LastRate       float64           `json:"last_rate"`
	Base           string            `json:"base"` // fingerprint
	TrainData      string            `json:"train_data"`
	ValidationData string            `json:"validation_data,omitempty"`
	Structure      string            `json:"structure"` // of what is trained
	Kernels        string            `json:"kernels"`
}

// identity is the part of the state that must be equal where a run goes on.
func (t *trainer) identity() state {
	st := state{
		Version: stateVersion, Config: t.cfg.Record(), Base: t.fingerprint, TrainData: t.train.SHA256,
		Structure: t.structure(), Kernels: kernel.Features(),
	}
	if t.valid != nil {
		st.ValidationData = t.valid.SHA256
	}
	return st
}

// structure is a hash of the trained parameters' names and sizes, and of the entries that masks chose.
func (t *trainer) structure() string {
	h := sha256.New()
	for _, p := range t.machine.Params() {
		fmt.Fprintf(h, "%q %d\n", p.Name, len(p.Value))
	}
	for _, w := range t.model.Weights() {
		if w.Sparse != nil {
			fmt.Fprintf(h, "%q %v %v\n", w.Name, w.Sparse.Ptr, w.Sparse.Cols)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// schedule is a hash of the first n learning rates. A run goes on exactly where the steps it has taken would be taken at the
// same rates again, whatever the configuration calls them.
func (t *trainer) schedule(n int) string {
	h := sha256.New()
	for _, r := range t.rates[:n] {
		_ = binary.Write(h, binary.LittleEndian, r) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkpointDir returns the place of the checkpoint after a step.
func (o *output) checkpointDir(step int) string {
	return filepath.Join(o.dir, checkpointPrefix+strconv.Itoa(step))
}

// checkpoint writes the state after the last step.
func (t *trainer) checkpoint() error {
	if t.saved == t.Step {
		return nil
	}
	if err := t.checkFinite(); err != nil {
		return err
	}
	st := t.identity()
	st.progress = t.progress
	st.Schedule, st.LastRate = t.schedule(t.Step), t.rates[t.Step-1]
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	dir := t.out.checkpointDir(t.Step)
	err = fsx.WriteDir(dir, func(into string) error {
		if err := t.write(into); err != nil {
			return err
		}
		if err := checkpoint.Write(filepath.Join(into, stateFile), t.opt.entries(), map[string]string{stateKey: string(text)}); err != nil {
			return err
		}
		if err := writeText(filepath.Join(into, metricsFile), t.out.text); err != nil {
			return err
		}
		progress, err := t.trainerState()
		if err != nil {
			return err
		}
		if err := writeText(filepath.Join(into, trainerStateFile), progress); err != nil {
			return err
		}
		return writeSums(into)
	}, fsx.Replace(true))
	if err != nil {
		return err
	}
	t.saved = t.Step
	t.obs.Saved(dir)
	return t.out.rotate(t.cfg.SaveTotalLimit, t.Step, t.keepBest())
}

// keepBest is the step whose checkpoint must stay for the end, 0 for none.
func (t *trainer) keepBest() int {
	if t.cfg.LoadBestModelAtEnd {
		return t.BestStep
	}
	return 0
}

// writeSums lists the files of dir with their hashes.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fsx.Wrap(err, dir, "read")
	}
	var b strings.Builder
	for _, e := range entries {
		sum, err := fileSum(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, e.Name())
	}
	return writeText(filepath.Join(dir, sumsFile), []byte(b.String()))
}

func fileSum(path string) (string, error) {
	f, err := fsx.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fsx.Wrap(err, path, "read")
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// checkpoints returns the steps of the checkpoints in dir, ascending.
func checkpoints(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fsx.Wrap(err, dir, "read")
	}
	var steps []int
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), checkpointPrefix)
		if step, err := strconv.Atoi(digits); ok && err == nil && e.IsDir() && step > 0 && strconv.Itoa(step) == digits {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, nil
}

// rotate removes the oldest checkpoints beyond limit, but not that of the step best nor that of the last step.
func (o *output) rotate(limit, last, best int) error {
	if limit == 0 {
		return nil
	}
	steps, err := checkpoints(o.dir)
	if err != nil {
		return err
	}
	// One with a higher number is of no run that this one goes on with.
	steps = slices.DeleteFunc(steps, func(s int) bool { return s > last })
	for _, step := range steps[:max(0, len(steps)-limit)] {
		if step == best {
			continue
		}
		if err := fsx.RemoveDir(o.checkpointDir(step)); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what a process that was killed left unfinished in the directory, and with all its checkpoints too.
func (o *output) sweep(all bool) error {
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return fsx.Wrap(err, o.dir, "read")
	}
	for _, e := range entries {
		if name, _, ok := strings.Cut(e.Name(), ".tmp-"); ok && (strings.HasPrefix(name, checkpointPrefix) || slices.Contains(writtenFiles, name)) {
			if err := os.RemoveAll(filepath.Join(o.dir, e.Name())); err != nil {
				return fsx.Wrap(err, o.dir, "remove "+e.Name())
			}
		}
	}
	if !all {
		return nil
	}
	steps, err := checkpoints(o.dir)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := fsx.RemoveDir(o.checkpointDir(step)); err != nil {
			return err
		}
	}
	return nil
}

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
		return fault.New(fault.Malformed, dir, "is no whole checkpoint: it has no %s", sumsFile)
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
func resumeFrom(cfg *config.Train, obs Observer) (*saved, error) {
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
		obs.Notice(fmt.Sprintf("this checkpoint is not used: %v", err))
	}
	obs.Notice("no checkpoint to go on from in " + cfg.OutputDir + ": the run starts at its first step")
	return nil, nil
}

// resume makes the run what it was when the checkpoint was written.
func (t *trainer) resume(s *saved) error {
	if err := t.fits(s); err != nil {
		return err
	}
	if err := t.opt.restore(s.tensors, s.Step); err != nil {
		return err
	}
	t.sync()
	if err := t.loader.Restore(s.Loader); err != nil {
		return err
	}
	t.progress = s.progress
	if filepath.Clean(s.dir) == filepath.Clean(t.out.checkpointDir(s.Step)) {
		t.saved = s.Step
	}
	if best := t.keepBest(); best > 0 {
		if dir := t.out.checkpointDir(best); checkSums(dir) != nil {
			return fault.New(fault.Environment, dir, "load_best_model_at_end needs the best checkpoint so far, which is not whole or not there").
				WithHint("copy it there from where the run was")
		}
	}
	return t.out.restore(s.metrics)
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
	if s.Step > t.steps {
		wrong = append(wrong, fmt.Sprintf("the run has %d steps, the checkpoint is after step %d", t.steps, s.Step))
	} else if s.Schedule != t.schedule(s.Step) {
		wrong = append(wrong, fmt.Sprintf("the learning rates of the steps taken are others: in step %d it was %g, is %g", s.Step, s.LastRate, t.rates[s.Step-1]))
	}
	if len(wrong) == 0 && s.Structure != now.Structure {
		wrong = append(wrong, "the trained entries are others")
	}
	if len(wrong) > 0 {
		return fault.New(fault.Incompatible, s.dir, "the run cannot go on from here: %s", strings.Join(wrong, "; ")).
			WithHint("put the configuration back, or start another run: init_adapter takes the adapter of a checkpoint")
	}
	if s.Kernels != now.Kernels {
		t.obs.Notice(fmt.Sprintf("%s was computed with the kernels %s, this run has %s: the last bits of the result will differ", s.dir, s.Kernels, now.Kernels))
	}
	return nil
}
