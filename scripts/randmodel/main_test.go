package main

import (
	"bytes"
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/model"
)

// A model with such weights knows nothing: its loss is that of guessing among the whole vocabulary.
func TestModelsLoadAndGuess(t *testing.T) {
	for _, dtype := range []string{"float32", "bfloat16"} {
		t.Run(dtype, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "model")
			rows := filepath.Join(t.TempDir(), "data", "rows.jsonl")
			args := []string{"--size", "260k", "--dtype", dtype, "--data", rows, "--rows", "5", "--length", "40", dir}
			if err := run(args, io.Discard); err != nil {
				t.Fatal(err)
			}
			m, err := model.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if n := m.Parameters(); n != 260032 {
				t.Errorf("%d parameters", n)
			}
			r, err := eval.Perplexity(context.Background(), eval.Options{Model: dir, Data: rows})
			if err != nil {
				t.Fatal(err)
			}
			if want := math.Log(512); math.Abs(r.Loss-want) > 0.1 || r.Rows != 5 || r.Tokens != 5*39 {
				t.Errorf("loss %v, want about %v; %d rows, %d tokens", r.Loss, want, r.Rows, r.Tokens)
			}
		})
	}
}

// Adapters fit the models of their size, and those of other seeds are others.
func TestAdaptersFit(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	if err := run([]string{"--size", "260k", base}, io.Discard); err != nil {
		t.Fatal(err)
	}
	m, err := checkpoint.OpenModel(base)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var digests []string
	for _, seed := range []string{"1", "2"} {
		path := filepath.Join(dir, seed)
		if err := run([]string{"--size", "260k", "--adapter", "shira", "--r", "4", "--seed", seed, path}, io.Discard); err != nil {
			t.Fatal(err)
		}
		a, err := adapter.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Check(m, false); err != nil || a.Parameters() != 15840 {
			t.Errorf("%d parameters, %v", a.Parameters(), err)
		}
		digests = append(digests, a.Digest())
	}
	if digests[0] == digests[1] {
		t.Error("two seeds gave one adapter")
	}
}

func TestParameters(t *testing.T) {
	for name, want := range map[string]int{"260k": 260032, "15m": 15191712, "110m": 109529856, "1.1b": 1100048384} {
		if s, ok := sizeNamed(name); !ok || s.parameters() != want {
			t.Errorf("%s has %d parameters, want %d", name, s.parameters(), want)
		}
	}
}

func TestValuesAreNormal(t *testing.T) {
	w := tensor{"w", []int{3, block / 2}}
	values := decode(t, w.write(t))
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(values))
	// The mean of n draws is off by 0.02/√n as a rule, their deviation by 0.02/√2n.
	mean, std := sum/n, math.Sqrt(squares/n)
	if math.Abs(mean) > 5*initStd/math.Sqrt(n) || math.Abs(std-initStd) > 5*initStd/math.Sqrt(2*n) {
		t.Errorf("mean %v, deviation %v", mean, std)
	}
	if values[0] == values[block] {
		t.Error("two blocks start with the same value")
	}
	for _, v := range decode(t, tensor{"norm", []int{7}}.write(t)) {
		if v != 1 {
			t.Errorf("a gain is %v", v)
		}
	}
}

func TestBytesDoNotDependOnCores(t *testing.T) {
	w := tensor{"w", []int{5, block/2 + 1}}
	got := w.write(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !bytes.Equal(got, w.write(t)) {
		t.Error("one core draws other values")
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"out", "--size 7b out", "--size 15m", "--size 15m --dtype int8 out", "--size 15m a b",
		"--size 15m --data f --rows 0", "--size 15m --adapter none a", "--size 15m --adapter shira", "--size 15m --adapter shira --r 0 a", "--size 15m --data f --length 1", "--frobnicate"} {
		if err := run(strings.Fields(args), io.Discard); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: error is %v", args, err)
		}
	}
	var help bytes.Buffer
	if err := run([]string{"--help"}, &help); err != nil || !strings.Contains(help.String(), "260k, 15m, 110m, 1.1b") {
		t.Errorf("help is %q, %v", help.String(), err)
	}
	if _, err := os.Stat("out"); err == nil {
		t.Error("a refused run wrote")
	}
}

func (t tensor) write(tb testing.TB) []byte {
	var b bytes.Buffer
	if err := t.entry(3, checkpoint.F32).Write(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func decode(tb testing.TB, b []byte) []float32 {
	values := make([]float32, len(b)/4)
	if err := checkpoint.DecodeFloat32(values, checkpoint.F32, b); err != nil {
		tb.Fatal(err)
	}
	return values
}
