package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/testmodel"
)

// trained is a short run with checkpoints and evaluations on a tiny model, and what it leaves.
type trained struct {
	t     *testing.T
	shira string
	dir   string            // beside the directories that runs write into
	args  []string          // of the run, whose output is out in the working directory
	want  map[string]string // what a run that was left alone has in out, by name
	parts map[string]string // and what it has there meanwhile, where it removes checkpoints
}

const crashConfig = `
output_dir: out
max_seq_length: 32
per_device_train_batch_size: 4
max_steps: 4
save_steps: 2
eval_steps: 2
learning_rate: 1e-2
`

func newTrained(t *testing.T, settings ...string) *trained {
	t.Helper()
	inMemory(t)
	dir := t.TempDir()
	r := &trained{t: t, dir: dir, shira: buildShira(t, dir)}
	r.check(testmodel.Write(filepath.Join(dir, "base"), 1, checkpoint.F32))
	data := filepath.Join(dir, "data.jsonl")
	r.check(os.WriteFile(data, []byte(strings.Repeat(`{"text":"the cat sat on the mat"}`+"\n", 12)), 0o644))
	config := filepath.Join(dir, "run.yaml")
	r.check(os.WriteFile(config, fmt.Appendf(nil, "model_name_or_path: %[1]s/base\ntrain_file: %[1]s/data.jsonl\nvalidation_file: %[1]s/data.jsonl%[2]s",
		dir, crashConfig), 0o644))
	r.args = []string{r.shira, "train", "-q", "--config", config}
	for _, s := range settings {
		r.args = append(r.args, "--set", s)
	}
	for name, results := range map[string]*map[string]string{"whole": &r.want, "all": &r.parts} {
		work := filepath.Join(dir, name)
		r.check(os.Mkdir(work, 0o755))
		more := []string{"--set", "save_total_limit=0"}
		if name == "whole" {
			more = nil
		}
		if code, out := r.run(work, more...); code != 0 {
			t.Fatalf("exit code %d: %s", code, out)
		}
		*results = r.results(work)
	}
	return r
}

func (r *trained) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// run trains in a working directory.
func (r *trained) run(dir string, more ...string) (int, string) {
	args := append([]string{"env", "-C", dir}, r.args...)
	return exitCode(append(args, more...)...)
}

var speeds = regexp.MustCompile(`"tokens_per_second":[^}]*`)

// results are the files that a run in dir has to leave alike, those of checkpoints too; metrics without speeds.
func (r *trained) results(dir string) map[string]string {
	r.t.Helper()
	files := map[string]string{}
	out := filepath.Join(dir, "out")
	if _, err := os.Lstat(out); errors.Is(err, fs.ErrNotExist) {
		return files
	}
	for name, text := range tree(r.t, out) {
		switch base := filepath.Base(name); {
		case strings.Contains(name, ".tmp-"):
			files["left behind: "+name] = ""
		case base == adapter.TensorsFile, base == adapter.ConfigFile, base == checkpoint.ModelFile, base == checkpoint.ConfigFile:
			files[name] = text
		case base == "metrics.jsonl":
			files[name] = speeds.ReplaceAllString(text, "")
		}
	}
	return files
}

// crashed wants a working directory as a crash has left it to hold what old had, or the run's own, or nothing, but nothing
// else that can be used, and the run to go on from there to its result.
func (r *trained) crashed(context, dir string, done bool, old map[string]string) {
	r.t.Helper()
	before := r.results(dir)
	for name, text := range before {
		staged, ok := strings.CutPrefix(name, checkpoint.StagedName+"/")
		whole := text == r.parts[staged] || !ok && old != nil && text == old[name]
		if !whole && !strings.HasPrefix(name, "left behind") {
			r.t.Errorf("%s: %s is neither old nor new", context, name)
		}
		for file, beside := range map[string]string{adapter.TensorsFile: adapter.ConfigFile, checkpoint.ModelFile: checkpoint.ConfigFile} {
			pair := filepath.Join(filepath.Dir(name), beside)
			config, there := before[pair]
			own := strings.TrimPrefix(pair, checkpoint.StagedName+"/")
			if filepath.Base(name) == file && there && !(text == r.parts[staged] && config == r.parts[own]) && !(text == old[name] && config == old[pair]) {
				r.t.Errorf("%s: %s goes with another's %s", context, name, beside)
			}
		}
	}
	staged := before[checkpoint.StagedName+"/"+checkpoint.ModelFile]
	if _, replaced := old[checkpoint.ModelFile]; replaced && before[checkpoint.ModelFile] == "" && staged == "" {
		r.t.Errorf("%s: there is neither the old model nor the new one", context)
	}
	if done {
		if fmt.Sprint(before) != fmt.Sprint(r.want) {
			r.t.Errorf("%s: the run has ended, but its result is not durable: there are %q", context, keys(before))
		}
		return
	}
	code, out := r.run(dir, "--resume", "auto")
	if code == 4 && old != nil { // checkpoints of the old run, which were to go
		code, out = r.run(dir)
	}
	ended := code == 2 && strings.Contains(out, "that run has ended")
	if code != 0 && !ended {
		r.t.Errorf("%s: going on: exit code %d: %s", context, code, out)
		return
	}
	if after := r.results(dir); fmt.Sprint(after) != fmt.Sprint(r.want) {
		r.t.Errorf("%s: going on ends with another result (%s): %q", context, strings.TrimSpace(out), keys(after))
	}
}

func keys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}

// crashRuns are the kinds of runs.
var crashRuns = []struct {
	name     string
	settings []string
	old      []string // settings of the run that is overwritten; nil: there is none
}{
	{"an adapter", []string{"method=shira", "mask=rand", "r=1", "target_modules=q_proj"}, nil},
	{"an adapter over another", []string{"method=shira", "mask=rand", "r=1", "target_modules=q_proj", "overwrite_output_dir=true", "save_total_limit=1"},
		[]string{"method=lora", "r=2", "target_modules=q_proj"}},
	{"the best of all", []string{"method=lora", "r=1", "target_modules=q_proj", "load_best_model_at_end=true", "learning_rate=1e-3"}, nil},
	{"without checkpoints", []string{"method=shira", "mask=rand", "r=1", "target_modules=q_proj", "save_strategy=no"}, nil},
	{"a model", []string{"method=full", "learning_rate=1e-3"}, nil},
	{"a model over one of another base", []string{"method=full", "learning_rate=1e-3", "overwrite_output_dir=true"}, []string{"method=full", "learning_rate=1e-4"}},
}

// TestCrashTrains makes every call of a run that changes files fail, or kills the run at it.
func TestCrashTrains(t *testing.T) {
	for _, c := range crashRuns[:2] {
		t.Run(c.name, func(t *testing.T) {
			r := newTrained(t, c.settings...)
			var template string
			var old map[string]string
			if c.old != nil {
				before := newTrained(t, c.old...)
				template, old = filepath.Join(before.dir, "whole"), before.want
			}
			work := ""
			before := func(int) []string {
				work = t.TempDir()
				if template != "" {
					r.check(os.CopyFS(work, os.DirFS(template)))
				}
				return append([]string{"env", "-C", work}, r.args...)
			}
			after := func(context string, code int, killed bool, out string) {
				if !killed && code != 0 && code != 5 {
					t.Errorf("%s: %s", context, out)
				}
				r.crashed(context, work, code == 0, old)
				r.check(os.RemoveAll(work))
			}
			n := inject(t, []string{"write", "fsync", "renameat", "renameat2", "mkdirat", "ftruncate", "unlinkat"}, before, after)
			t.Logf("%d faults", n)
			if n < 100 {
				t.Errorf("only %d faults", n)
			}
		})
	}
}

// TestCrashPower crashes at each call of a run that changes files, by a kill and by losing power.
func TestCrashPower(t *testing.T) {
	for _, c := range crashRuns {
		t.Run(c.name, func(t *testing.T) {
			r := newTrained(t, c.settings...)
			work := filepath.Join(r.dir, "work")
			r.check(os.Mkdir(work, 0o755))
			var old map[string]string
			if c.old != nil {
				before := newTrained(t, c.old...)
				r.check(os.CopyFS(work, os.DirFS(filepath.Join(before.dir, "whole"))))
				old = before.want
				if other, ok := old[checkpoint.ConfigFile]; ok {
					old[checkpoint.ConfigFile] = strings.Replace(other, "1e-05", "1e-06", 1)
					r.check(os.WriteFile(filepath.Join(work, "out", checkpoint.ConfigFile), []byte(old[checkpoint.ConfigFile]), 0o644))
				}
				if fmt.Sprint(old) == fmt.Sprint(r.want) {
					t.Fatal("the old result is the new one")
				}
			}
			d := newDisk(t, work)
			calls := d.record(r.args...)
			points, states := d.crashes(calls, func(context, dir string, done bool) { r.crashed(context, dir, done, old) })
			t.Logf("%d calls, %d states", points, states)
			if points < 30 || states < 30 {
				t.Errorf("only %d calls and %d states", points, states)
			}
		})
	}
}
