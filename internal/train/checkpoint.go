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

	TrainLoss  float64  `json:"train_loss"`            // of the last step
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
	Encoded        string            `json:"encoded,omitempty"` // of the examples of both; older states have none
	Structure      string            `json:"structure"`         // of what is trained
	Kernels        string            `json:"kernels"`
}

// identity is the part of the state that must be equal where a run goes on.
func (t *trainer) identity() state {
	st := state{
		Version: stateVersion, Config: t.cfg.Record(), Base: t.fingerprint, TrainData: t.train.SHA256, Encoded: t.encoded,
		Structure: t.structure(), Kernels: kernel.Features(),
	}
	if t.valid != nil {
		st.ValidationData = t.valid.SHA256
	}
	return st
}

// structure is a hash of the trained parameters' names and sizes, of the entries that masks chose, and of what init_adapter
// says of its factors.
func (t *trainer) structure() string {
	h := sha256.New()
	for _, p := range t.machine.Params() {
		fmt.Fprintf(h, "%q %d\n", p.Name, len(p.Value))
	}
	for _, w := range t.model.Weights() {
		if w.Sparse != nil {
			fmt.Fprintf(h, "%q %v %v\n", w.Name, w.Sparse.Ptr, w.Sparse.Cols)
		}
		if t.start == nil { // what follows is then the configuration's
			continue
		}
		for _, a := range w.LowRank {
			fmt.Fprintf(h, "%q %v %v\n", w.Name, a.Scale, a.Basis)
			if a.Gate != nil {
				fmt.Fprintf(h, "gate %v\n", a.Gate.Temperature)
			}
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
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Hint == "" && t.saved > 0 {
		e.Hint = fmt.Sprintf("the last checkpoint is %s: go on with --resume auto when this is mended", t.out.checkpointDir(t.saved))
	}
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
	fsx.Sweep(o.dir, func(name string) bool {
		return strings.HasPrefix(name, checkpointPrefix) || slices.Contains(writtenFiles, name)
	})
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
