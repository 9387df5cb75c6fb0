package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

const (
	shard1 = "model-00001-of-00002.safetensors"
	shard2 = "model-00002-of-00002.safetensors"
)

// layout builds a model directory; each method fails the test on an error.
type layout struct {
	t   *testing.T
	dir string
}

func (l layout) write(name, content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l layout) weights(name string, tensors ...string) {
	l.t.Helper()
	var entries []Entry
	for _, tensor := range tensors {
		entries = append(entries, f32(tensor, 1, 2))
	}
	put(l.t, l.dir, name, entries...)
}

// index writes an index of pairs: tensor, shard.
func (l layout) index(pairs ...string) {
	l.t.Helper()
	weights := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		weights[pairs[i]] = pairs[i+1]
	}
	if err := WriteIndex(filepath.Join(l.dir, IndexFile), weights, 0); err != nil {
		l.t.Fatal(err)
	}
}

// sharded writes a good model of two shards.
func (l layout) sharded() {
	l.t.Helper()
	l.weights(shard1, "a", "b")
	l.weights(shard2, "c")
	l.index("a", shard1, "b", shard1, "c", shard2)
}

func (l layout) mkdir(name string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Join(l.dir, name), 0o755); err != nil {
		l.t.Fatal(err)
	}
}

func (l layout) remove(name string) {
	l.t.Helper()
	if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
		l.t.Fatal(err)
	}
}

func (l layout) symlink(target, name string) {
	l.t.Helper()
	if err := os.Symlink(target, filepath.Join(l.dir, name)); err != nil {
		l.t.Skip("no symbolic links here:", err)
	}
}

func TestOpenModelSharded(t *testing.T) {
	l := layout{t, t.TempDir()}
	l.sharded()
	l.write(ConfigFile, "{}")
	l.write("consolidated.safetensors", "another format's weights do not matter")
	m := openedModel(t, l.dir)
	if got := m.Names(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("names %v", got)
	}
	if got := fmt.Sprint(m.Tensors()); got != `["a" F32 [2] "b" F32 [2] "c" F32 [2]]` {
		t.Errorf("tensors %s", got)
	}
	if want := []string{filepath.Join(l.dir, shard1), filepath.Join(l.dir, shard2)}; !slices.Equal(m.Shards(), want) {
		t.Errorf("shards %v, want %v", m.Shards(), want)
	}
	if m.Size() != 24 || m.Dir() != l.dir || m.ConfigPath() != filepath.Join(l.dir, ConfigFile) {
		t.Errorf("size %d, directory %s, config %s", m.Size(), m.Dir(), m.ConfigPath())
	}
	c, ok := m.Lookup("c")
	if !ok || c.Path() != filepath.Join(l.dir, shard2) {
		t.Errorf("c is %v in %s", c, c.Path())
	}
	if _, ok := m.Lookup("d"); ok {
		t.Error("found a tensor that is not there")
	}
}

func TestOpenModelSingle(t *testing.T) {
	l := layout{t, t.TempDir()}
	l.weights(ModelFile, "a")
	if m := openedModel(t, l.dir); m.ConfigPath() != "" || len(m.Names()) != 1 {
		t.Errorf("config %q, names %v", m.ConfigPath(), m.Names())
	}
	// The file itself, of any name, has the same directory.
	l.weights("weights.bin", "a")
	l.write(ConfigFile, "{}")
	m := openedModel(t, filepath.Join(l.dir, "weights.bin"))
	if m.Dir() != l.dir || m.ConfigPath() == "" || len(m.Shards()) != 1 {
		t.Errorf("directory %s, config %q, shards %v", m.Dir(), m.ConfigPath(), m.Shards())
	}
}

func TestOpenModelRefuses(t *testing.T) {
	index := func(content string) func(layout) {
		return func(l layout) { l.write(IndexFile, content) }
	}
	mapped := func(shard string) func(layout) {
		return index(fmt.Sprintf(`{"weight_map":{"a":%q}}`, shard))
	}
	const good = `{"weight_map":{"a":"` + shard1 + `"}}`
	tests := []struct {
		name  string
		build func(layout)
		at    string // the path of the error, below the directory
		text  string
		hint  string
		kind  fault.Kind // Malformed where not given
	}{
		{name: "empty directory", build: func(layout) {}, text: "holds neither model.safetensors nor", hint: "can be given itself"},
		{name: "only pytorch_model.bin", build: func(l layout) { l.write("pytorch_model.bin", "x"); l.write(ConfigFile, "{}") },
			text: "holds pytorch_model.bin, but no safetensors", hint: "convert it to safetensors"},
		{name: "only sharded .bin", build: func(l layout) { l.write("pytorch_model.bin.index.json", "{}") }, text: "holds pytorch_model.bin.index.json", hint: "convert"},
		{name: "an adapter", build: func(l layout) { l.weights("adapter_model.safetensors", "a"); l.write("adapter_config.json", "{}") },
			text: "holds an adapter (adapter_model.safetensors), not a model", hint: "base model", kind: fault.Incompatible},
		{name: "an MLX adapter", build: func(l layout) { l.weights("adapters.safetensors", "a") }, text: "holds an adapter", kind: fault.Incompatible},
		{name: "shards without index", build: func(l layout) { l.weights(shard1, "a") }, text: "holds shards (\"" + shard1 + "\"), but no " + IndexFile},
		{name: "file and index", build: func(l layout) { l.sharded(); l.weights(ModelFile, "a") }, text: "holds both", hint: "out of date"},

		{name: "index is empty", build: index(""), at: IndexFile, text: "ends where { is expected"},
		{name: "index is not JSON", build: index("weights"), at: IndexFile, text: "'w' where { is expected"},
		{name: "index is an array", build: index("[]"), at: IndexFile, text: "'[' where { is expected"},
		{name: "index is a Git LFS pointer", build: index("version https://git-lfs.github.com/spec/v1\n"), at: IndexFile, text: "Git LFS pointer", hint: "git lfs pull"},
		{name: "index is not UTF-8", build: index("{\"\xff\":1}"), at: IndexFile, text: "not UTF-8"},
		{name: "index without weight_map", build: index(`{"metadata":{}}`), at: IndexFile, text: "weight_map is missing or empty"},
		{name: "empty weight_map", build: index(`{"weight_map":{}}`), at: IndexFile, text: "weight_map is missing or empty"},
		{name: "weight_map is null", build: index(`{"weight_map":null}`), at: IndexFile, text: "weight_map: 'n'"},
		{name: "weight_map twice", build: index(`{"weight_map":{},"weight_map":{}}`), at: IndexFile, text: `"weight_map" twice`},
		{name: "metadata twice", build: index(`{"metadata":{},"metadata":{}}`), at: IndexFile, text: `"metadata" twice`},
		{name: "tensor twice in the index", build: index(`{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}`), at: IndexFile, text: `tensor "a" twice`},
		{name: "shard is a number", build: index(`{"weight_map":{"a":1}}`), at: IndexFile, text: "string is expected"},
		{name: "ESC in a tensor's name", build: index(`{"weight_map":{"\u001b":"x.safetensors"}}`), at: IndexFile, text: "control characters"},
		{name: "two values in the index", build: index(good + good), at: IndexFile, text: "the end is expected"},
		{name: "deep index", build: index(`{"metadata":` + strings.Repeat("[", 100_000)), at: IndexFile, text: "nested more than"},
		{name: "bad number in the index", build: index(`{"metadata":{"total_size":01},"weight_map":{}}`), at: IndexFile, text: "a value is expected"},
		{name: "huge index", build: func(l layout) {
			l.write(IndexFile, "{")
			if err := os.Truncate(filepath.Join(l.dir, IndexFile), maxIndex+1); err != nil {
				l.t.Skip("no sparse files here:", err)
			}
		}, at: IndexFile, text: "longer than the 67108864 bytes"},
		{name: "index is a directory", build: func(l layout) { l.mkdir(IndexFile) }, at: IndexFile, text: "is a directory"},

		{name: "shard in the parent", build: mapped("../x.safetensors"), at: IndexFile, text: "not the plain name"},
		{name: "shard by absolute path", build: mapped("/etc/x.safetensors"), at: IndexFile, text: "not the plain name"},
		{name: "shard in a subdirectory", build: mapped("sub/x.safetensors"), at: IndexFile, text: "not the plain name"},
		{name: "shard with a backslash", build: mapped(`..\x.safetensors`), at: IndexFile, text: "not the plain name"},
		{name: "shard on a drive", build: mapped(`C:x.safetensors`), at: IndexFile, text: "not the plain name"},
		{name: "shard with a newline", build: mapped("x\n.safetensors"), at: IndexFile, text: "not the plain name"},
		{name: "shard that is a pickle", build: mapped("pytorch_model.bin"), at: IndexFile, text: "not the plain name of a .safetensors file"},
		{name: "shard is ..", build: mapped(".."), at: IndexFile, text: "not the plain name"},
		{name: "shard without name", build: mapped(""), at: IndexFile, text: "not the plain name"},

		{name: "missing shard", build: func(l layout) { l.sharded(); l.remove(shard2) }, at: IndexFile, text: `shard "` + shard2 + `" is missing`},
		{name: "all shards missing", build: func(l layout) { l.sharded(); l.remove(shard1); l.remove(shard2) }, at: IndexFile,
			text: `shard "` + shard1 + `" is missing; shard "` + shard2 + `" is missing`},
		{name: "tensor not in its shard", build: func(l layout) { l.sharded(); l.index("a", shard1, "b", shard1, "c", shard2, "d", shard2) },
			at: IndexFile, text: `tensor "d" is not in its shard`},
		{name: "tensor in the other shard", build: func(l layout) { l.sharded(); l.index("a", shard1, "b", shard2, "c", shard2) },
			at: IndexFile, text: `tensor "b" is not in its shard "` + shard2 + `"; tensor "b" is also in shard "` + shard1 + `"`},
		{name: "tensor in two shards", build: func(l layout) { l.sharded(); l.weights(shard2, "a", "c") }, at: IndexFile,
			text: `tensor "a" is also in shard "` + shard2 + `"`},
		{name: "tensor that is not listed", build: func(l layout) { l.sharded(); l.weights(shard2, "c", "d") }, at: IndexFile,
			text: `tensor "d" of shard "` + shard2 + `" is not listed`},
		{name: "many problems", build: func(l layout) { l.sharded(); l.weights(shard2, "c", "d", "e", "f", "g", "h", "i", "j", "k", "l") }, at: IndexFile,
			text: "; and 1 more"},
		{name: "stray shard", build: func(l layout) { l.sharded(); l.weights("model-00003-of-00003.safetensors", "d") },
			text: `shard "model-00003-of-00003.safetensors" does not belong to the model`},
		{name: "stray shard beside a single file", build: func(l layout) { l.weights(ModelFile, "a"); l.weights(shard1, "a") }, text: "does not belong"},
		{name: "malformed shard", build: func(l layout) { l.sharded(); l.write(shard2, "PK\x03\x04\x00\x00\x00\x00") }, at: shard2, text: "is a zip archive"},
		{name: "weights are a directory", build: func(l layout) { l.mkdir(ModelFile) }, at: ModelFile, text: "is a directory"},
		{name: "shard is a directory", build: func(l layout) { l.sharded(); l.remove(shard2); l.mkdir(shard2) }, at: shard2, text: "is a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := layout{t, t.TempDir()}
			tt.build(l)
			if tt.kind == 0 {
				tt.kind = fault.Malformed
			}
			_, err := OpenModel(l.dir)
			checkFault(t, err, tt.kind, filepath.Join(l.dir, tt.at), tt.text)
			if hint := fault.HintOf(err); !strings.Contains(hint, tt.hint) {
				t.Errorf("hint is %q, want %q", hint, tt.hint)
			}
		})
	}
	t.Run("missing directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "no")
		_, err := OpenModel(path)
		checkFault(t, err, fault.Environment, path, "cannot open")
	})
}

// Links may lead around inside a model's directory, but not out of it.
func TestOpenModelLinks(t *testing.T) {
	tests := []struct {
		name  string
		build func(l layout, outside string) // outside holds a good w.safetensors
		text  string                         // of the error; "" for none
	}{
		{"to a file inside", func(l layout, _ string) { l.weights("weights", "a"); l.symlink("weights", ModelFile) }, ""},
		{"to a subdirectory", func(l layout, _ string) { l.mkdir("sub"); l.weights("sub/w", "a"); l.symlink("sub/w", ModelFile) }, ""},
		{"out by a relative path", func(l layout, outside string) {
			l.symlink(filepath.Join("..", filepath.Base(outside), "w.safetensors"), ModelFile)
		}, "symbolic link out of"},
		{"out by an absolute path", func(l layout, outside string) { l.symlink(filepath.Join(outside, "w.safetensors"), ModelFile) }, "symbolic link out of"},
		{"out by the index", func(l layout, outside string) {
			l.sharded()
			l.remove(shard1)
			l.symlink(filepath.Join(outside, "w.safetensors"), shard1)
		}, "symbolic link out of"},
		{"dangling", func(l layout, _ string) { l.symlink("nowhere", ModelFile) }, "cannot open"},
		{"loop", func(l layout, _ string) { l.symlink(ModelFile, ModelFile) }, "cannot open"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			top := t.TempDir()
			l := layout{t, filepath.Join(top, "model")}
			outside := filepath.Join(top, "outside")
			for _, dir := range []string{l.dir, outside} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			put(t, outside, "w.safetensors", f32("a", 1))
			tt.build(l, outside)
			m, err := OpenModel(l.dir)
			if tt.text == "" {
				if err != nil {
					t.Fatal(err)
				}
				m.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error is %v, want %q", err, tt.text)
			}
		})
	}
}

// In a hub cache the files of a snapshot are links to blobs.
func TestOpenModelHubCache(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "models--org--name")
	l := layout{t, repo}
	l.mkdir("blobs")
	l.mkdir("snapshots/0123abc/unet")
	l.weights("blobs/w1", "a", "b")
	l.weights("blobs/w2", "c")
	snapshot := layout{t, filepath.Join(repo, "snapshots", "0123abc")}
	snapshot.symlink("../../blobs/w1", shard1)
	snapshot.symlink("../../blobs/w2", shard2)
	snapshot.index("a", shard1, "b", shard1, "c", shard2)
	if m := openedModel(t, snapshot.dir); len(m.Names()) != 3 || m.Shards()[0] != filepath.Join(snapshot.dir, shard1) {
		t.Errorf("names %v, shards %v", m.Names(), m.Shards())
	}

	unet := layout{t, filepath.Join(snapshot.dir, "unet")}
	unet.symlink("../../../blobs/w2", ModelFile)
	if m := openedModel(t, unet.dir); len(m.Names()) != 1 {
		t.Errorf("names %v", m.Names())
	}

	// A link to the snapshot's directory is the user's own and may be anywhere.
	l.symlink(snapshot.dir, "../latest")
	if m := openedModel(t, filepath.Join(repo, "..", "latest")); len(m.Names()) != 3 {
		t.Errorf("names %v", m.Names())
	}

	// A snapshot may not reach outside its repository.
	put(t, filepath.Dir(repo), "w.safetensors", f32("c", 1))
	unet.remove(ModelFile)
	unet.symlink("../../../../w.safetensors", ModelFile)
	_, err := OpenModel(unet.dir)
	checkFault(t, err, fault.Malformed, filepath.Join(unet.dir, ModelFile), "symbolic link out of")

	// Neither may a directory that only looks like one.
	fake := layout{t, t.TempDir()}
	fake.mkdir("snapshots/1")
	fake.weights("w", "a")
	fake.symlink("../../w", "snapshots/1/"+ModelFile)
	if _, err := OpenModel(filepath.Join(fake.dir, "snapshots", "1")); err == nil {
		t.Error("a link out of a directory without blobs was followed")
	}
}

func TestWriteIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), IndexFile)
	if err := WriteIndex(path, map[string]string{"b<": shard2, "a": shard1}, 42); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"metadata\": {\n    \"total_size\": 42\n  },\n  \"weight_map\": {\n    \"a\": \"" + shard1 + "\",\n    \"b<\": \"" + shard2 + "\"\n  }\n}\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
