package fuse

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// modelDir writes the world's base as a directory of two shards, with what else lies in such directories.
func (w *world) modelDir(name string) string {
	w.t.Helper()
	dir := w.path(name)
	must(w.t, os.Mkdir(dir, 0o755))
	entries := worldEntries(checkpoint.BF16)
	weights := map[string]string{}
	for i, shard := range []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
		part := entries[2*i : 2*i+2]
		must(w.t, checkpoint.Write(filepath.Join(dir, shard), part, map[string]string{"format": "pt"}))
		for _, e := range part {
			weights[e.Name] = shard
		}
	}
	index, err := json.MarshalIndent(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": weights}, "", "  ")
	must(w.t, err)
	w.write(name+"/"+checkpoint.IndexFile, string(index))
	w.write(name+"/config.json", `{"model_type": "llama"}`)
	w.write(name+"/tokenizer.json", "{}")
	w.write(name+"/tokenizer.model", "\x00binary")
	w.write(name+"/README.md", "# Base")
	w.write(name+"/modeling_custom.py", "pass")
	for _, unwanted := range []string{"optimizer.pt", "pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_config.json",
		"adapter_model.safetensors", "model.gguf", ".gitattributes", "training_args.bin"} {
		w.write(name+"/"+unwanted, "x")
	}
	must(w.t, os.Mkdir(filepath.Join(dir, "onnx"), 0o755))
	return dir
}

func (w *world) write(name, content string) string {
	w.t.Helper()
	must(w.t, os.WriteFile(w.path(name), []byte(content), 0o644))
	return w.path(name)
}

func TestDirectory(t *testing.T) {
	w := newWorld(t, checkpoint.BF16)
	dir := w.modelDir("model")
	a := w.adapter("a.st", 1, 300, 1)
	report, err := Run(t.Context(), Options{Base: dir + "/", Adapters: []Source{{Path: a.Path, Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	out := w.path("model-fused")
	if report.Output != out {
		t.Errorf("output %q, want %q", report.Output, out)
	}
	var names []string
	entries, err := os.ReadDir(out)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"README.md", "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
		"model.safetensors.index.json", "modeling_custom.py", "tokenizer.json", "tokenizer.model"}
	if !slices.Equal(names, want) {
		t.Errorf("the output holds %q, want %q", names, want)
	}
	leftOut := []string{".gitattributes", "adapter_config.json", "adapter_model.safetensors", "model.gguf", "onnx",
		"optimizer.pt", "pytorch_model.bin", "pytorch_model.bin.index.json", "training_args.bin"}
	if !slices.Equal(report.LeftOut, leftOut) {
		t.Errorf("left out %q, want %q", report.LeftOut, leftOut)
	}
	for _, name := range []string{"config.json", "tokenizer.model", checkpoint.IndexFile} {
		x, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		y, err := os.ReadFile(filepath.Join(out, name))
		must(t, err)
		if !bytes.Equal(x, y) {
			t.Errorf("%s is no copy", name)
		}
	}

	// The same tensors from a single file come out the same.
	if _, err := Run(t.Context(), Options{Base: w.base, Adapters: []Source{{Path: a.Path, Weight: 1}}}); err != nil {
		t.Fatal(err)
	}
	single, sharded := read(t, w.path("base-fused.st")), read(t, out)
	for name, data := range single {
		if !bytes.Equal(data, sharded[name]) {
			t.Errorf("%s differs between a file and a directory", name)
		}
	}
	if len(single) != len(sharded) {
		t.Errorf("%d tensors in the file, %d in the directory", len(single), len(sharded))
	}
}

func TestDirectoryIsReplacedOnlyWithForce(t *testing.T) {
	w := newWorld(t, checkpoint.BF16)
	a := w.adapter("a.st", 1, 30, 1)
	o := Options{Base: w.modelDir("model"), Adapters: []Source{{Path: a.Path, Weight: 1}}, Out: w.path("out")}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	w.write("out/notes.txt", "mine")
	before := snapshot(t, w.dir)
	if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.Usage {
		t.Errorf("an output that exists: %v, want a Usage error", err)
	}
	compare(t, before, snapshot(t, w.dir))
	o.Force = true
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if exists(w.path("out/notes.txt")) {
		t.Error("the directory was not replaced as a whole")
	}

	must(t, os.Mkdir(w.path("photos"), 0o755))
	w.write("photos/cat.jpg", "cat")
	o.Out = w.path("photos")
	if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.Usage || !exists(w.path("photos/cat.jpg")) {
		t.Errorf("a directory without a model was replaced, or: %v", err)
	}
}

// TestLinks copies through the links of a hub cache, and refuses those that lead elsewhere.
func TestLinks(t *testing.T) {
	w := newWorld(t, checkpoint.BF16)
	a := w.adapter("a.st", 1, 30, 1)
	must(t, os.MkdirAll(w.path("hub/blobs"), 0o755))
	must(t, os.MkdirAll(w.path("hub/snapshots/r1"), 0o755))
	must(t, os.Rename(w.base, w.path("hub/blobs/1")))
	w.write("hub/blobs/2", `{"model_type": "llama"}`)
	must(t, os.Symlink("../../blobs/1", w.path("hub/snapshots/r1/model.safetensors")))
	must(t, os.Symlink("../../blobs/2", w.path("hub/snapshots/r1/config.json")))
	o := Options{Base: w.path("hub/snapshots/r1"), Adapters: []Source{{Path: a.Path, Weight: 1}}, Out: w.path("out")}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(w.path("out/config.json")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("config.json: %v %v, want a copy", info, err)
	}
	secret := w.write("secret", "key")
	must(t, os.Symlink(secret, w.path("hub/snapshots/r1/tokenizer.json")))
	o.Out = w.path("out2")
	before := snapshot(t, w.dir)
	if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.Malformed {
		t.Errorf("a link out of the directory: %v, want a Malformed error", err)
	}
	compare(t, before, snapshot(t, w.dir))
}

// compare fails when any file appeared, vanished or changed.
func compare(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, content := range before {
		if now, ok := after[path]; !ok || now != content {
			t.Errorf("%s changed or vanished (there: %v)", path, ok)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s was left behind", path)
		}
	}
}
