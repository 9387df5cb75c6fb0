package switcher

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/fsx/crashfs"
)

// explorer counts crashes and what they broke.
type explorer struct {
	mutant
	states int
	wrong  map[string]int
}

func (e *explorer) bend(f fsx.FS, how func(fsx.FS) fsx.FS) fsx.FS {
	if how == nil {
		return f
	}
	return how(f)
}

// failing makes the n-th sync of weights fail.
func failing(n int) func(op, name string) error {
	return func(op, name string) error {
		if op == "datasync" && weights(name) {
			if n--; n == 0 {
				return syscall.EIO
			}
		}
		return nil
	}
}

// explore switches from one state to another with a crash at every stride-th operation, and every loss.
func (e *explorer) explore(seed uint64, stride, workers int) {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := newToy(rng)
	w.workers = workers
	from, to := rng.IntN(len(w.changes)), rng.IntN(len(w.changes))
	start := w.disk()
	if from > 0 {
		if err := w.to(start, from); err != nil {
			e.wrong["the start: "+err.Error()]++
			return
		}
	}
	eio := 0
	if seed%3 == 1 {
		eio = 1 + rng.IntN(3)
	}
	ended := false
	for die := 1 + rng.IntN(stride); !ended; die += stride {
		for _, loss := range crashfs.Losses {
			f := start.Crash(crashfs.All, nil)
			f.Die = die
			if eio > 0 {
				f.Fail = failing(eio)
			}
			err := w.to(e.bend(f, e.switching), to)
			ended = ended || f.Ops < die
			e.states++
			if msg := e.after(w, f, loss, rng, from, to, err == nil); msg != "" {
				e.wrong[msg]++
			}
		}
	}
}

// after crashes, recovers with more crashes on the way, and says what is wrong then.
func (e *explorer) after(w *toy, f *crashfs.FS, loss crashfs.Loss, rng *rand.Rand, from, to int, done bool) string {
	f = f.Crash(loss, rng)
	var err error
	for try := range 4 {
		if try < 2 {
			f.Die = 1 + rng.IntN(20)
			if rng.IntN(3) == 0 {
				f.Fail = failing(1 + rng.IntN(2))
			}
		}
		err = w.repair(e.bend(f, e.mend))
		if err == nil {
			break
		}
		e.states++
		f = f.Crash(crashfs.Losses[rng.IntN(len(crashfs.Losses))], rng)
	}
	if err != nil {
		return "the recovery fails: " + err.Error()
	}
	state, msg := e.check(w, f, from, to, done)
	if msg != "" {
		return msg
	}
	f.Die, f.Fail = 0, nil
	f = f.Crash(crashfs.Losses[1+rng.IntN(3)], rng) // and the power fails after the recovery
	if n, err := w.store(f).scan(); err != nil || len(n.hot) > 0 {
		return "what was recovered must be recovered again"
	}
	if err := w.repair(e.bend(f, e.mend)); err != nil {
		return "the second recovery fails: " + err.Error()
	}
	later, msg := e.check(w, f, from, to, done)
	if msg == "" && later != state {
		msg = "the state changed after the recovery"
	}
	if msg != "" {
		return msg
	}
	if err := w.to(f, 0); err != nil {
		return "the revert fails: " + err.Error()
	}
	for name := range w.base {
		if !bytes.Equal(f.Get(name), w.base[name]) {
			return "the revert is not the base"
		}
	}
	return ""
}

func (e *explorer) check(w *toy, f *crashfs.FS, from, to int, done bool) (int, string) {
	state, err := w.holds(f)
	switch {
	case err != nil:
		return 0, "the weights are not what the record says: " + err.Error()
	case state != from && state != to:
		return 0, "the state is neither the old one nor the new one"
	case done && state != to:
		return 0, "a switch that succeeded is lost"
	}
	return state, ""
}

func (e *explorer) violations() int {
	n := 0
	for _, k := range e.wrong {
		n += k
	}
	return n
}

// TestCrashes crashes a switch at every operation, and its recovery too: what is there then is always the old state or the
// new one, a success stays one, and the base comes back to the bit.
func TestCrashes(t *testing.T) {
	e := &explorer{wrong: map[string]int{}}
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		e.explore(seed, 3, []int{1, 3}[seed%2]) // the order of what several write is another each time
	}
	t.Logf("%d crashes", e.states)
	for msg, n := range e.wrong {
		t.Errorf("%d times: %s", n, msg)
	}
	if e.states < 1000 {
		t.Errorf("only %d crashes", e.states)
	}
}

// TestMutants holds the test above to what it is for: a protocol without one of its steps must fail in it.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			e := &explorer{mutant: m, wrong: map[string]int{}}
			for seed := uint64(0); seed < 200 && e.violations() == 0; seed++ {
				e.explore(seed, 2, 1)
			}
			if e.violations() == 0 {
				t.Errorf("%s: %d crashes, and nothing is lost", m.name, e.states)
			}
			t.Logf("%d crashes, %s", e.states, fmt.Sprint(e.wrong))
		})
	}
}

// TestDirectoryFound: a process that is killed once it has made the directory of journals leaves a name that may still be
// lost. The switch that finds it must make it durable.
func TestDirectoryFound(t *testing.T) {
	w := newToy(rand.New(rand.NewPCG(1, 1)))
	f := w.disk()
	f.Die = 2 // the sync of the name
	if err := w.to(f, 1); err == nil {
		t.Fatal("it was not killed")
	}
	f = f.Crash(crashfs.Nothing, nil)
	if err := w.to(f, 1); err != nil {
		t.Fatal(err)
	}
	f = f.Crash(crashfs.All, nil)
	if got, err := w.holds(f); err != nil || got != 1 {
		t.Errorf("after a power failure it is in state %d, %v; want 1", got, err)
	}
}

// TestFailedWhileCanceled: an error of the disk is told though the user stops the switch in that moment, and the failed sync
// is not tried again.
func TestFailedWhileCanceled(t *testing.T) {
	w := newToy(rand.New(rand.NewPCG(1, 1)))
	f := w.disk()
	ctx, cancel := context.WithCancel(t.Context())
	syncs := 0
	f.Fail = func(op, name string) error {
		if op != "datasync" || !weights(name) {
			return nil
		}
		syncs++
		cancel()
		return syscall.EIO
	}
	err := w.switchTo(ctx, f, 1)
	if fault.KindOf(err) != fault.Environment || syncs != 1 {
		t.Errorf("%v after %d syncs", err, syncs)
	}
	if n, err := w.store(f).scan(); err != nil || len(n.hot) != 1 {
		t.Errorf("journals %+v, %v; want a hot one", n, err)
	}
}
