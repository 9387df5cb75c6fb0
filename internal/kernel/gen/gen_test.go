package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	have, err := filepath.Glob("../zz_*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range have {
		if files[filepath.Base(path)] == nil {
			t.Errorf("%s is no longer generated", path)
		}
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: run go generate in internal/kernel", name)
		}
	}
}

func TestFrame(t *testing.T) {
	f := &function{name: "f", params: params("n int, x, y []float32, s float32, p *float32, flag bool")}
	for name, want := range map[string]string{
		"n": "n+0(FP)", "x": "x_base+8(FP)", "x_len": "x_len+16(FP)", "y": "y_base+32(FP)",
		"s": "s+56(FP)", "p": "p+64(FP)", "flag": "flag+72(FP)",
	} {
		if got := f.frame(name); got != want {
			t.Errorf("frame(%q) = %q, want %q", name, got, want)
		}
	}
	if got, want := f.size(), 73; got != want {
		t.Errorf("size() = %d, want %d", got, want)
	}
	if got, want := f.signature(), "n int, x, y []float32, s float32, p *float32, flag bool"; got != want {
		t.Errorf("signature() = %q, want %q", got, want)
	}
}

// The registers that Go and the linker reserve are never written.
func TestReservedRegisters(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if filepath.Ext(name) != ".s" || name == neonFile {
			continue
		}
		for _, reg := range []string{" BP", " SP", " R14", " R15", "(R14", "(R15", "(BP"} {
			if bytes.Contains(text, []byte(reg)) {
				t.Errorf("%s uses%s", name, reg)
			}
		}
		if got, want := bytes.Count(text, []byte("\tVZEROUPPER\n\tRET\n")), bytes.Count(text, []byte("\nTEXT ")); got != want {
			t.Errorf("%s: %d of %d functions end in VZEROUPPER and RET", name, got, want)
		}
	}
}
