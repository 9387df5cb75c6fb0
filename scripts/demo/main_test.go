package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

func TestInitWritesASmallModel(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	var out strings.Builder
	for _, dir := range []string{first, second} {
		if err := run([]string{"init", "--out", dir}, &out); err != nil {
			t.Fatal(err)
		}
	}
	var others int64
	for _, name := range []string{"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"} {
		a, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs between two runs of one seed", name)
		}
		if name != "model.safetensors" {
			others += int64(len(a))
		}
	}
	m, err := checkpoint.OpenModel(first)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	parameters := 0
	for _, tensor := range m.Tensors() {
		values, err := tensor.Float32s(nil)
		if err != nil {
			t.Fatal(err)
		}
		parameters += len(values)
		checkInitial(t, shaped{tensor.Name, tensor.Shape}, values)
	}
	if size := int64(2*parameters) + others; size > 4_000_000 {
		t.Errorf("the base would take %d bytes in bf16 with its tokenizer, want at most 4 MB", size)
	}
}

// checkInitial checks mean and deviation of a matrix and that a norm is all ones.
func checkInitial(t *testing.T, tensor shaped, values []float32) {
	t.Helper()
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(values))
	mean, rms := sum/n, math.Sqrt(squares/n)
	if len(tensor.shape) == 1 {
		if mean != 1 || rms != 1 {
			t.Errorf("%s: mean %g, want all ones", tensor.name, mean)
		}
		return
	}
	if math.Abs(mean) > 0.001 || math.Abs(rms-initStd) > 0.001 {
		t.Errorf("%s: mean %g and deviation %g, want 0 and %g", tensor.name, mean, rms, initStd)
	}
}

func TestWorldPrintsSamples(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"world", "--print", "1"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Mia, ", "\nportrait: ", "\ngossip: ", "\nplot tale: ", "\npirate: ", "\nquiz: Question: ", "\nending: ", "  + "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in what world prints", want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		want fault.Kind
	}{
		{"no command", nil, fault.Usage},
		{"an unknown command", []string{"dance"}, fault.Usage},
		{"an unknown flag", []string{"tasks", "--colour", "red"}, fault.Usage},
		{"an argument", []string{"tasks", "now"}, fault.Usage},
		{"a folder that is a file", []string{"tasks", "--out", blocked}, fault.Environment},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := run(tc.args, io.Discard); fault.KindOf(err) != tc.want {
				t.Errorf("error %v of kind %d, want kind %d", err, fault.KindOf(err), tc.want)
			}
		})
	}
}
