package main

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"

	"shira/internal/checkpoint"
	"shira/internal/fsx"
)

const (
	seed    = 42
	initStd = 0.02
	block   = 1 << 18 // values drawn from one generator
)

// entry is the tensor with values that are drawn as they are written: normal with a deviation of 0.02, or ones for a norm.
//
// Each block of a tensor has a generator of its own, so that all cores can draw at once and the bytes do not depend on how
// many there are, and no more blocks than cores are in memory: 1.1 billion values take seconds and a few megabytes.
func (t tensor) entry(number uint64, dtype checkpoint.DType) checkpoint.Entry {
	return checkpoint.Entry{Name: t.name, DType: dtype, Shape: t.shape, Write: func(w io.Writer) error {
		workers := make([]worker, runtime.GOMAXPROCS(0))
		blocks := (t.elements() + block - 1) / block
		for first := 0; first < blocks; first += len(workers) {
			var wait sync.WaitGroup
			round := workers[:min(len(workers), blocks-first)]
			for i := range round {
				b := first + i
				wait.Go(func() {
					source := rand.NewPCG(seed, number<<32|uint64(b))
					round[i].draw(source, min(block, t.elements()-b*block), len(t.shape) == 1, dtype)
				})
			}
			wait.Wait()
			for _, r := range round {
				if r.err != nil {
					return r.err
				}
				if _, err := w.Write(r.bytes); err != nil {
					return err
				}
			}
		}
		return nil
	}}
}

// worker holds the memory of one block.
type worker struct {
	values []float32
	bytes  []byte
	err    error
}

func (w *worker) draw(source rand.Source, n int, gain bool, dtype checkpoint.DType) {
	if w.values == nil {
		w.values = make([]float32, n)
		w.bytes = make([]byte, n*dtype.Size())
	}
	w.values, w.bytes = w.values[:n], w.bytes[:n*dtype.Size()]
	r := rand.New(source)
	for i := range w.values {
		if gain {
			w.values[i] = 1
		} else {
			w.values[i] = float32(initStd * r.NormFloat64())
		}
	}
	w.err = checkpoint.EncodeFloat32(w.bytes, dtype, w.values)
}

// reserved is how many ids at the start of a Llama's vocabulary are special tokens, which no row holds.
const reserved = 3

// writeRows writes rows of token ids to a JSONL file, making its folder if need be.
func writeRows(path string, vocab, rows, length int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fsx.Wrap(err, path, "cannot make the folder of")
	}
	r := rand.New(rand.NewPCG(seed, 0))
	return fsx.WriteFile(path, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		for range rows {
			b.WriteString(`{"input_ids":[`)
			for i := range length {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(strconv.Itoa(reserved + r.IntN(vocab-reserved)))
			}
			b.WriteString("]}\n")
		}
		return b.Flush()
	})
}
