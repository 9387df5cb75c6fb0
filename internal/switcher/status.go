package switcher

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// State says what a model has.
type State struct {
	Model       string    `json:"model"`
	Applied     []Applied `json:"applied"`          // empty for the base
	Base        string    `json:"base_fingerprint"` // of the model without them; "" where nothing is applied
	Interrupted bool      `json:"interrupted"`      // a switch did not end: the weights are between two states
	Busy        bool      `json:"busy"`             // another process is at it
	Lost        bool      `json:"lost"`             // no record says what the weights are, though a switch began
	Journal     int64     `json:"journal_bytes"`    // of what the base comes back from
}

// statusTries is how often a status looks again when switches change what it looks at. Each takes them much longer than that.
const statusTries = 100

// Status reads what a model has, or the one that a link stands for. It changes nothing, waits for nobody, and makes no switch
// fail.
func Status(model string) (*State, error) {
	s, closeFS, err := openStore(fsx.Follow(model))
	if err != nil {
		return nil, err
	}
	defer closeFS()
	for range statusTries {
		st, still, err := s.status()
		if still || err != nil {
			st.Model = model
			return st, err
		}
	}
	return nil, fault.New(fault.Locked, model, "is switched all the time").WithHint("try again")
}

// status looks once, and reports whether what it looked at is still there.
func (s *store) status() (st *State, still bool, err error) {
	st = &State{Applied: []Applied{}}
	n, err := s.scan()
	if err != nil {
		return st, false, err
	}
	if len(n.hot) > 0 {
		if st.Busy, err = s.fs.Locked(s.dir + "/lock"); err != nil {
			return st, false, err
		}
		st.Interrupted = !st.Busy
	}
	j, c, err := s.current(n)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return st, false, err
	}
	if j != nil {
		c.Close()
		if st.Applied = j.Applied; len(j.Applied) > 0 {
			st.Base, st.Journal = j.Base, j.size
		}
	}
	if j == nil && len(n.hot)+len(n.tmp) == 0 && err == nil {
		marked, err := s.marked()
		if err != nil {
			return st, false, err
		}
		st.Lost = marked != ""
	}
	again, e := s.scan()
	return st, e == nil && err == nil && n.equal(again), e
}

// Recover undoes a switch that did not end, and reports whether there was one. It follows links as Status does.
func Recover(model string) (bool, error) {
	s, closeFS, err := openStore(fsx.Follow(model))
	if err != nil {
		return false, err
	}
	defer closeFS()
	n, err := s.scan()
	if err != nil || len(n.tmp)+len(n.hot)+len(n.applied) == 0 {
		return false, err // never switched: nothing to lock
	}
	lock, err := s.lock()
	if err != nil {
		return false, err
	}
	defer lock.Close()
	return s.restore()
}

// Check is the result of [Verify].
type Check struct {
	Model    string    `json:"model"`
	Applied  []Applied `json:"applied"`
	Entries  int64     `json:"entries"`          // whose bytes were compared with what the switch wrote
	Base     string    `json:"base_fingerprint"` // computed, of the model without adapters
	Expected string    `json:"expected_base_fingerprint"`
}

// Verify reads all of a model and its record, and fails with an Unrecoverable error where the weights are not what the last
// switch left, or where a revert would not give the base.
func Verify(ctx context.Context, model string) (*Check, error) {
	s, closeFS, err := openStore(model)
	if err != nil {
		return nil, err
	}
	defer closeFS()
	w, err := s.open(model, false)
	if err != nil {
		return nil, err
	}
	defer w.close()
	r := &Check{Model: model, Applied: w.applied()}
	if w.record == nil {
		r.Base, err = w.model.Fingerprint()
		if r.Expected = r.Base; err == nil {
			err = w.checkMark(r.Base)
		}
		return r, err
	}
	r.Expected = w.record.Base
	if err := w.record.verify(); err != nil {
		return nil, err
	}
	var files []io.ReaderAt
	for _, f := range w.shards.open {
		files = append(files, f)
	}
	if r.Entries, err = w.record.compare(files, s.workers); err != nil {
		return nil, err
	}
	over := newOverlay(w.record)
	r.Base, err = w.model.FingerprintOver(func(t checkpoint.Tensor, off int64, chunk []byte) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return over.restore(t, off, chunk)
	})
	if err != nil {
		return nil, canceled(ctx, err)
	}
	if r.Base != r.Expected {
		return r, fault.New(fault.Unrecoverable, model, "without its adapters the model has the fingerprint %s, but the base had %s",
			r.Base, r.Expected).WithHint("weights that no adapter touches have changed; fetch the base again")
	}
	return r, nil
}
