package fuse

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDefaultOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "llama")
	must(t, os.Mkdir(dir, 0o755))
	t.Chdir(dir)
	for _, c := range []struct {
		base  string
		isDir bool
		want  string
	}{
		{"base.st", false, "base-fused.st"},
		{"a/model.v2.safetensors", false, "a/model.v2-fused.safetensors"},
		{"base", false, "base-fused"},
		{"models/llama", true, "models/llama-fused"},
		{"models/llama/", true, "models/llama-fused"},
		{"llama-3.2", true, "llama-3.2-fused"},
		{".", true, dir + "-fused"},
	} {
		if got := DefaultOut(c.base, c.isDir); got != filepath.FromSlash(c.want) {
			t.Errorf("DefaultOut(%q, %v) = %q, want %q", c.base, c.isDir, got, c.want)
		}
	}
}
