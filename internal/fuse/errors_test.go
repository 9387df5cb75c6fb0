package fuse

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// TestErrors checks the kind and text of each error, and that it leaves every file as it was.
func TestErrors(t *testing.T) {
	ref := func(path string) []Source { return []Source{{Path: path, Weight: 1}} }
	cases := []struct {
		name  string
		setup func(w *world) Options
		kind  fault.Kind
		want  string
	}{
		{"no adapter", func(w *world) Options { return Options{Base: w.base} }, fault.Usage, "no adapter"},
		{"missing base", func(w *world) Options {
			return Options{Base: w.path("none.st"), Adapters: ref(w.exact("a.st", map[int]float32{1: 1}))}
		}, fault.Environment, "none.st: cannot open the base"},
		{"missing adapter", func(w *world) Options { return Options{Base: w.base, Adapters: ref(w.path("none"))} },
			fault.Environment, "cannot open"},
		{"least survival", func(w *world) Options {
			return Options{Base: w.base, Adapters: ref("a.st"), MinSurvival: math.NaN()}
		}, fault.Usage, "want a share from 0 to 1"},
		{"output exists", func(w *world) Options {
			return Options{Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: w.write("o.st", "old")}
		}, fault.Usage, "o.st: exists"},
		{"default output exists", func(w *world) Options {
			w.write("base-fused.st", "old")
			return Options{Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1}))}
		}, fault.Usage, "base-fused.st: exists"},
		{"output is the base", func(w *world) Options {
			return Options{Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: w.dir + "/./base.st", Force: true}
		}, fault.Usage, "the output is the input"},
		{"output is a link to the base", func(w *world) Options {
			must(w.t, os.Symlink(w.base, w.path("link.st")))
			return Options{Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: w.path("link.st"), Force: true}
		}, fault.Usage, "the output is the input"},
		{"output is an adapter", func(w *world) Options {
			a := w.exact("a.st", map[int]float32{1: 1})
			return Options{Base: w.base, Adapters: ref(a), Out: a, Force: true}
		}, fault.Usage, "the output is the input"},
		{"output holds an adapter", func(w *world) Options {
			a := w.adapter("a.st", 1, 10, 1)
			must(w.t, a.Save(w.path("adapter")))
			file := filepath.Join(w.path("adapter"), adapter.TensorsFile)
			return Options{Base: w.base, Adapters: ref(file), Out: w.path("adapter"), AdapterOnly: true, Force: true}
		}, fault.Usage, "the output holds the input"},
		{"output inside the base", func(w *world) Options {
			dir := w.modelDir("model")
			return Options{Base: dir, Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: filepath.Join(dir, "fused")}
		}, fault.Usage, "lies inside the input"},
		{"output around the base", func(w *world) Options {
			return Options{Base: w.modelDir("model"), Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: w.dir, Force: true}
		}, fault.Usage, "would replace the directory of the input"},
		{"output is a directory", func(w *world) Options {
			must(w.t, os.Mkdir(w.path("o"), 0o755))
			return Options{Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: w.path("o"), Force: true}
		}, fault.Usage, "is a directory, but the base is a single file"},
		{"output is a file", func(w *world) Options {
			return Options{Base: w.modelDir("model"), Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: w.write("o", "x"), Force: true}
		}, fault.Usage, "is a file, but the base is a directory"},
		{"output in no directory", func(w *world) Options {
			return Options{Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1})), Out: w.path("no/where/o.st")}
		}, fault.Environment, "cannot write"},
		{"base is an adapter", func(w *world) Options {
			a := w.adapter("a.st", 1, 10, 1)
			must(w.t, a.Save(w.path("adapter")))
			return Options{Base: w.path("adapter"), Adapters: ref(a.Path)}
		}, fault.Incompatible, "adapter"},
		{"two that do not fit", func(w *world) Options {
			a, b := w.adapter("a.st", 1, 10, 1), w.adapter("b.st", 1, 10, 1)
			a.Config.BaseFingerprint = "another"
			must(w.t, a.SaveFile(a.Path))
			b.Deltas[0].(*adapter.Sparse).Name = "layers.0.q_proj"
			must(w.t, b.SaveFile(b.Path))
			return Options{Base: w.base, Adapters: []Source{{Path: a.Path, Weight: 1}, {Path: b.Path, Weight: 1}}}
		}, fault.Incompatible, `a.st: was trained on another base|b.st: "layers.0.q_proj": the base has no such weight`},
		{"overflow", func(w *world) Options {
			must(w.t, checkpoint.Write(w.base, worldEntries(checkpoint.F16), nil))
			return Options{Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1, 40: 70000})), Out: w.path("o.st")}
		}, fault.Numerical, `"model.layers.0.q_proj.weight": entry [1, 3] would not be finite in F16`},
		{"overflow of weight and value", func(w *world) Options {
			return Options{Base: w.base, Adapters: []Source{{Path: w.exact("a.st", map[int]float32{0: 1e38}), Weight: 1e30}}}
		}, fault.Numerical, "would not be finite in F32"},
		{"gate", func(w *world) Options {
			return Options{
				Base: w.base, Adapters: ref(w.exact("a.st", map[int]float32{1: 1, 2: 1e-30, 3: 1e-30})), MinSurvival: 0.5, Out: w.path("o.st"),
			}
		}, fault.Gate, "only 33.33% of the adapters' entries"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, checkpoint.F32)
			o := c.setup(w)
			before := snapshot(t, w.dir)
			_, err := Run(t.Context(), o)
			if fault.KindOf(err) != c.kind || err == nil {
				t.Fatalf("kind %v of %v, want %v", fault.KindOf(err), err, c.kind)
			}
			for _, want := range strings.Split(c.want, "|") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
			compare(t, before, snapshot(t, w.dir))
		})
	}
}

func TestGateReports(t *testing.T) {
	w := newWorld(t, checkpoint.BF16)
	a := w.adapter("a.st", 1, 200, 1e-3)
	o := Options{Base: w.base, Adapters: []Source{{Path: a.Path, Weight: 1}}, MinSurvival: 1}
	r, err := Run(t.Context(), o)
	if fault.KindOf(err) != fault.Gate || r == nil || r.Survival.Entries != 400 || *r.Survival.Share >= 1 {
		t.Fatalf("report %+v, error %v", r, err)
	}
	o.MinSurvival = *r.Survival.Share
	if _, err := Run(t.Context(), o); err != nil {
		t.Errorf("exactly the least share is refused: %v", err)
	}
}

// TestCancel cancels at every report of progress in turn.
func TestCancel(t *testing.T) {
	for _, isDir := range []bool{false, true} {
		w := newWorld(t, checkpoint.BF16)
		a := w.adapter("a.st", 1, 30, 1)
		o := Options{Base: w.base, Adapters: []Source{{Path: a.Path, Weight: 1}}}
		if isDir {
			o.Base = w.modelDir("model")
		}
		before := snapshot(t, w.dir)
		steps := 0
		for at := 0; ; at++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			calls := 0
			o.Progress = func(done, total int64) {
				if calls++; calls == at {
					cancel(nil)
				}
			}
			if at == 0 {
				cancel(fault.New(fault.Terminated, "", "SIGTERM"))
			}
			_, err := Run(ctx, o)
			cancel(nil)
			if err == nil {
				break // canceled after the last step
			}
			steps++
			if want := map[bool]fault.Kind{true: fault.Terminated, false: fault.Interrupted}[at == 0]; fault.KindOf(err) != want {
				t.Fatalf("canceled at step %d: %v, want kind %v", at, err, want)
			}
			if at > 0 && !errors.Is(err, context.Canceled) {
				t.Errorf("canceled at step %d: the cause is lost: %v", at, err)
			}
			compare(t, before, snapshot(t, w.dir))
		}
		if steps < 5 {
			t.Errorf("only %d steps were canceled", steps)
		}
	}
}
