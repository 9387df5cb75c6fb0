package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"

	"shira/internal/checkpoint"
	"shira/internal/testmodel"
)

// The catalogue of bad inputs. Each kind has a file badinput_<kind>_test.go with one table: what is wrong, the exit code, and
// what the message says. Every case drives real commands, in a directory of its own with
//
//	base/        a tiny Llama of one file
//	sharded/     the same in two shards
//	out/         a SHiRA adapter of base, as a PEFT directory
//	train.jsonl  and run.yaml, with which a run would succeed
//
// and whatever is wrong, the command must leave all files as they were and nothing beside them, say so in one line, and need
// no more memory than the inputs' size explains.

// bad is a case of the catalogue.
type bad struct {
	name  string
	wreck func(w *world)
	code  int    // exit code
	text  string // of the message and its hint; several parts are separated by "|"
	lines string // command lines instead of those of the table, separated by newlines
}

// world is the directory of a case, which is the working directory.
type world struct{ t *testing.T }

// runBad runs the cases of a table, each with every command line.
func runBad(t *testing.T, lines string, cases []bad) {
	template := makeWorld(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			if c.wreck != nil {
				c.wreck(&world{t})
			}
			for line := range strings.Lines(or(c.lines, lines)) {
				refused(t, strings.Fields(line), c)
			}
		})
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// slackBytes is what a command may allocate besides the size of its inputs: buffers, a tiny model's graph.
const slackBytes = 96 << 20

// refused runs a command line that must fail as the case says.
func refused(t *testing.T, args []string, c bad) {
	t.Helper()
	before, size := snapshot(t)
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	code, _, stderr := run(args...)
	runtime.ReadMemStats(&end)
	at := strings.Join(args, " ")
	if code != c.code {
		t.Errorf("%s: exit code %d, want %d: %s", at, code, c.code, stderr)
	}
	message := lastError(stderr)
	for _, part := range strings.Split(c.text, "|") {
		if !strings.Contains(message, part) {
			t.Errorf("%s: the message lacks %q: %s", at, part, stderr)
		}
	}
	if strings.ContainsFunc(strings.ReplaceAll(stderr, "\n", ""), unicode.IsControl) || len(message) > 4000 {
		t.Errorf("%s: unfit for a terminal: %q", at, stderr)
	}
	if got := end.TotalAlloc - start.TotalAlloc; got > slackBytes+16*uint64(size) {
		t.Errorf("%s: allocated %d MiB for inputs of %d bytes", at, got>>20, size)
	}
	after, _ := snapshot(t)
	for path := range maps.Keys(after) {
		if _, ok := before[path]; !ok {
			t.Errorf("%s: leaves %s behind", at, path)
		}
	}
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s: %s has changed or is gone", at, path)
		}
	}
}

// lastError returns the error's lines of a standard error: the message and the hint.
func lastError(stderr string) string {
	i := strings.LastIndex("\n"+stderr, "\nshira: ")
	if i < 0 {
		return ""
	}
	return stderr[i:]
}

// snapshot returns what is at each path of the working directory, and the size of the files.
func snapshot(t *testing.T) (paths map[string]string, size int64) {
	t.Helper()
	paths = map[string]string{}
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		paths[path] = info.Mode().String()
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			paths[path] += target
			return err
		case info.Mode().IsRegular() && info.Size() < 32<<20: // larger ones are sparse
			b, err := os.ReadFile(path)
			paths[path] += string(b)
			size += int64(len(b))
			return err
		case info.Mode().IsRegular():
			paths[path] += fmt.Sprint(info.Size(), info.ModTime())
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, size
}

const goodRows = `{"text": "the cat sat on the mat"}
{"text": "a dog ran to the tree"}
{"text": "who lives in the mill?"}
`

const goodConfig = `model_name_or_path: base
train_file: train.jsonl
output_dir: new
mask: wm
r: 2
max_seq_length: 64
max_steps: 2
`

// makeWorld makes the directory that every case starts from.
func makeWorld(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	w := &world{t}
	w.must(testmodel.Write("base", 1, checkpoint.F32))
	w.write("train.jsonl", goodRows)
	w.write("run.yaml", goodConfig)
	if code, _, stderr := run("train", "--config", "run.yaml", "--set", "output_dir=out", "-q"); code != 0 {
		t.Fatal(stderr)
	}
	w.shard()
	return dir
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(path, content string) {
	w.t.Helper()
	w.must(os.WriteFile(path, []byte(content), 0o644))
}

func (w *world) read(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(path)
	w.must(err)
	return string(b)
}

func (w *world) remove(paths ...string) {
	w.t.Helper()
	for _, path := range paths {
		w.must(os.RemoveAll(path))
	}
}

// edit changes the JSON object in a file.
func (w *world) edit(path string, change func(o map[string]any)) {
	w.t.Helper()
	var o map[string]any
	d := json.NewDecoder(strings.NewReader(w.read(path)))
	d.UseNumber()
	w.must(d.Decode(&o))
	change(o)
	var b bytes.Buffer
	w.must(json.NewEncoder(&b).Encode(o))
	w.write(path, b.String())
}

// set sets a key of the JSON object in a file to a value in JSON; "" removes it.
func (w *world) set(path, key, value string) {
	w.t.Helper()
	w.edit(path, func(o map[string]any) {
		if o[key] = json.RawMessage(value); value == "" {
			delete(o, key)
		}
	})
}

// tensors rewrites a safetensors file with what change makes of its tensors and metadata.
func (w *world) tensors(path string, change func(entries []checkpoint.Entry, metadata map[string]string) []checkpoint.Entry) {
	w.t.Helper()
	f, err := checkpoint.Open(path)
	w.must(err)
	metadata := maps.Clone(f.Metadata())
	var entries []checkpoint.Entry
	for _, t := range f.Tensors() {
		entries = append(entries, checkpoint.Entry{Name: t.Name, DType: t.DType, Shape: t.Shape, Bytes: slices.Clone(t.Data())})
	}
	w.must(f.Close())
	entries = change(entries, metadata)
	w.must(checkpoint.Write(path, entries, metadata))
}

// shard writes sharded/, with the first tensors of base in one shard and the rest in another.
func (w *world) shard() {
	w.t.Helper()
	w.must(os.CopyFS("sharded", os.DirFS("base")))
	f, err := checkpoint.Open("base/model.safetensors")
	w.must(err)
	defer f.Close()
	var shards [2][]checkpoint.Entry
	weights := map[string]string{}
	for i, t := range f.Tensors() {
		n := min(1, i/4)
		shards[n] = append(shards[n], t.Entry())
		weights[t.Name] = shardName(n)
	}
	for n, entries := range shards {
		w.must(checkpoint.Write(filepath.Join("sharded", shardName(n)), entries, nil))
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": weights})
	w.must(err)
	w.write("sharded/model.safetensors.index.json", string(index))
	w.remove("sharded/model.safetensors")
}

func shardName(n int) string { return fmt.Sprintf("model-%05d-of-00002.safetensors", n+1) }
