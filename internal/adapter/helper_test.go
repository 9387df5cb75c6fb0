package adapter

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/adapter/mask"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

const (
	testOut, testIn = 6, 9
	testModule      = "model.layers.0.self_attn.q_proj"
	otherModule     = "model.layers.1.self_attn.q_proj"
)

// sample returns a trained adapter over the two modules of testBase.
func sample(t testing.TB) *Adapter {
	t.Helper()
	a := &Adapter{Config: Config{
		Method: "shira", Mask: "rand", R: 1, TargetModules: []string{"q_proj"}, Seed: math.MaxUint64, TaskType: "CAUSAL_LM",
		BaseName: "tiny", DataHash: "sha256:1", ToolVersion: "v1 <test>",
	}}
	s, err := mask.Lookup("rand")
	must(t, err)
	g := rand.New(rand.NewPCG(1, 1))
	for _, module := range []string{testModule, otherModule} {
		flat, err := s.Select(mask.Request{Name: module, Out: testOut, In: testIn, K: mask.BudgetR(1, testOut, testIn)})
		must(t, err)
		d := NewSparse(module, testOut, testIn, flat)
		for k := range d.Values {
			d.Values[k] = float32(g.NormFloat64())
		}
		a.Deltas = append(a.Deltas, d)
	}
	return a
}

// testBase opens a base with those modules, and without an output head.
func testBase(t testing.TB, extra ...checkpoint.Entry) *checkpoint.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base.st")
	weight := func(module string) checkpoint.Entry {
		return checkpoint.Float32Entry(module+".weight", checkpoint.F32, []int{testOut, testIn}, make([]float32, testOut*testIn))
	}
	entries := append([]checkpoint.Entry{
		weight(testModule), weight(otherModule), weight("model.embed_tokens"),
		{Name: "model.layers.0.quantized.weight", DType: checkpoint.I8, Shape: []int{testOut, testIn}, Bytes: make([]byte, testOut*testIn)},
		{Name: "model.norm.weight", DType: checkpoint.F32, Shape: []int{2}, Bytes: make([]byte, 8)},
	}, extra...)
	must(t, checkpoint.Write(path, entries, nil))
	m, err := checkpoint.OpenModel(path)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// tensor is one tensor of a handmade adapter file.
func tensor(name string, dtype checkpoint.DType, shape []int, values ...float64) checkpoint.Entry {
	var b []byte
	le := binary.LittleEndian
	for _, v := range values {
		switch dtype {
		case checkpoint.F64:
			b = le.AppendUint64(b, math.Float64bits(v))
		case checkpoint.F32:
			b = le.AppendUint32(b, math.Float32bits(float32(v)))
		case checkpoint.I64, checkpoint.U64:
			b = le.AppendUint64(b, uint64(int64(v)))
		case checkpoint.I32, checkpoint.U32:
			b = le.AppendUint32(b, uint32(int64(v)))
		default:
			p := make([]byte, 2)
			if err := checkpoint.EncodeFloat32(p, dtype, []float32{float32(v)}); err != nil {
				panic(err)
			}
			b = append(b, p...)
		}
	}
	return checkpoint.Entry{Name: name, DType: dtype, Shape: shape, Bytes: b}
}

// values and indices are tensors of testModule as PEFT writes them; indices come as rows, then columns.
func values(v ...float64) checkpoint.Entry {
	return tensor(keyPrefix+testModule+".shira_weight", checkpoint.F32, []int{len(v)}, v...)
}

func indices(dtype checkpoint.DType, v ...float64) checkpoint.Entry {
	return tensor(keyPrefix+testModule+".shira_indices", dtype, []int{2, len(v) / 2}, v...)
}

// write writes a file of tensors with a configuration in the metadata; "" for none.
func write(t testing.TB, path, config string, entries ...checkpoint.Entry) string {
	t.Helper()
	metadata := map[string]string{"format": "pt"}
	if config != "" {
		metadata[metadataKey] = config
	}
	must(t, checkpoint.Write(path, entries, metadata))
	return path
}

const plainConfig = `{"version": 1, "method": "shira", "alpha": 1, "target_modules": ["q_proj"]}`

func writeText(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// wantError checks an error's kind, that its one line holds every part of want (separated by |), and its hint.
func wantError(t *testing.T, err error, kind fault.Kind, want, hint string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want kind %d with %q", kind, want)
	}
	if fault.KindOf(err) != kind {
		t.Errorf("kind %d of %q, want %d", fault.KindOf(err), err, kind)
	}
	for _, part := range strings.Split(want, "|") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
		t.Errorf("%q is not one clean line", err)
	}
	if hint != "" && !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("hint %q of %q lacks %q", fault.HintOf(err), err, hint)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replaceOnce returns text with the first old, which must be there, replaced.
func replaceOnce(t *testing.T, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%s lacks %s", text, old)
	}
	return strings.Replace(text, old, new, 1)
}
