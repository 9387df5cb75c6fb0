package eval

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/testmodel"
)

// spoil writes a tiny model in which a value of a tensor is another.
func spoil(t *testing.T, tensor string, at int, value float32) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "base")
	must(t, testmodel.Write(dir, 3, checkpoint.F32))
	path := filepath.Join(dir, checkpoint.ModelFile)
	f, err := checkpoint.Open(path)
	must(t, err)
	info, ok := f.Lookup(tensor)
	if !ok {
		t.Fatalf("no %s", tensor)
	}
	offset := info.Offset() + 4*int64(at)
	f.Close()
	b, err := os.ReadFile(path)
	must(t, err)
	binary.LittleEndian.PutUint32(b[offset:], math.Float32bits(value))
	must(t, os.WriteFile(path, b, 0o644))
	return dir
}

// TestNotFinite wants a loss that is no number to name the weight, or the operator and the first row in which it is none.
func TestNotFinite(t *testing.T) {
	rows := []string{"the cat sat", "a dog ran to the tree", "mice", "who lives in the mill by the sea?", "rain"}
	write := func(rows ...string) string {
		path := filepath.Join(t.TempDir(), "rows.jsonl")
		var b strings.Builder
		for _, r := range rows {
			fmt.Fprintf(&b, "{\"text\": %q}\n", r)
		}
		must(t, os.WriteFile(path, []byte(b.String()), 0o644))
		return path
	}
	score := func(model, data string, half bool) error {
		_, err := Perplexity(context.Background(), Options{Model: model, Data: data, Half: half})
		return err
	}
	wants := func(err error, text string) {
		t.Helper()
		if fault.KindOf(err) != fault.Numerical || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	data := write(rows...)
	for _, half := range []bool{false, true} {
		nan := spoil(t, "model.layers.1.mlp.up_proj.weight", 5, float32(math.NaN()))
		wants(score(nan, data, half), nan+": the loss on "+data+` is NaN: the weights of "model.layers.1.mlp.up_proj" are not finite`)

		// A value whose products with features of some rows are too large.
		large := spoil(t, "model.layers.1.mlp.gate_proj.weight", 7, 1.6e38)
		first := 0
		for first < len(rows) && score(large, write(rows[first]), half) == nil {
			first++
		}
		if first == 0 || first == len(rows) {
			t.Fatalf("no row between good ones is to be found: %d", first)
		}
		wants(score(large, data, half), fmt.Sprintf("the loss on %s:%d is NaN: the first value that is not finite is that of the linear model.layers.1.mlp.gate_proj", data, first+1))
	}
}
