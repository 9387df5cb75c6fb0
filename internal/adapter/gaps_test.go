package adapter

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// packed returns the bytes of a delta's gaps.
func packed(s *Sparse) []byte {
	var b []byte
	for gap := range s.gaps() {
		b = append(b, gap...)
	}
	return b
}

// TestGaps packs entries next to each other, far apart, and at both ends of weights of several shapes.
func TestGaps(t *testing.T) {
	for _, c := range []struct {
		out, in int
		flat    []int64
		want    []byte // nil where only the way back matters
	}{
		{1, 1, []int64{0}, []byte{0}},
		{2, 3, []int64{0, 1, 2, 3, 4, 5}, []byte{0, 0, 0, 0, 0, 0}},
		{2, 3, []int64{5}, []byte{5}},
		{3, 200, []int64{254, 255, 510}, []byte{254, 0, 254}},
		{3, 200, []int64{255, 511}, []byte{255, 0, 255, 0}},
		{9, 200, []int64{255 + 127, 255 + 127 + 1 + 255 + 128}, []byte{255, 127, 255, 128, 1}},
		{1 << 20, 1 << 20, []int64{1, 1<<40 - 1}, nil},
		{math.MaxInt32, 1, []int64{math.MaxInt32 - 1}, nil},
		{1, math.MaxInt32, []int64{0, math.MaxInt32 - 1}, nil},
	} {
		s := NewSparse("m", c.out, c.in, c.flat)
		b := packed(s)
		if c.want != nil && !slices.Equal(b, c.want) {
			t.Errorf("%v: % x, want % x", c.flat, b, c.want)
		}
		rows, cols, err := readGaps(b, len(c.flat), c.out, c.in)
		if err != nil || !slices.Equal(rows, s.RowIdx) || !slices.Equal(cols, s.ColIdx) {
			t.Errorf("%v: back as %v, %v, %v", c.flat, rows, cols, err)
		}
	}
}

func TestGapsRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		k    int
		data []byte
		want string
	}{
		"short":        {3, []byte{0, 0}, "has 2 bytes for 3 entries"},
		"cut":          {2, []byte{0, 255}, "entry 1: the data ends"},
		"cut within":   {1, []byte{255, 128}, "entry 0: the data ends"},
		"too wide":     {1, append([]byte{255}, slices.Repeat([]byte{255}, 11)...), "beyond 2^63"},
		"beyond int64": {1, []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 127}, "beyond 2^63"},
		"long form":    {1, []byte{255, 128, 0}, "more bytes than it needs"},
		"outside":      {2, []byte{53, 0}, "entry 1 lies outside the weight's shape (6, 9)"},
		"far outside":  {1, []byte{255, 0}, "entry 0 lies outside"},
		"more":         {1, []byte{0, 0}, "has 1 bytes after the last of 1 entries"},
	} {
		if _, _, err := readGaps(c.data, c.k, testOut, testIn); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantError(t, fault.New(fault.Incompatible, "", "%v", err), fault.Incompatible, c.want, "")
		}
	}
}

// TestCompactRefuses loads compact files with one thing wrong each.
func TestCompactRefuses(t *testing.T) {
	const name = keyPrefix + testModule + "."
	shaped := `{"version":2,"method":"shira","shapes":{"` + testModule + `":[6,9]}}`
	gaps := func(dtype checkpoint.DType, shape []int, b ...byte) checkpoint.Entry {
		return checkpoint.Entry{Name: name + sparseGaps, DType: dtype, Shape: shape, Bytes: b}
	}
	for _, c := range []struct {
		name, config string
		entries      []checkpoint.Entry
		want         string
	}{
		{"no shape", `{"version":2,"method":"shira"}`, []checkpoint.Entry{values(1), gaps(checkpoint.U8, []int{1}, 0)}, "without the weight's shape"},
		{"both", shaped, []checkpoint.Entry{values(1), indices(i32, 0, 0), gaps(checkpoint.U8, []int{1}, 0)}, "has both shira_indices and shira_gaps"},
		{"type", shaped, []checkpoint.Entry{values(1), gaps(checkpoint.I8, []int{1}, 0)}, "shira_gaps is I8 of shape [1], want bytes"},
		{"rank", shaped, []checkpoint.Entry{values(1), gaps(checkpoint.U8, []int{1, 1}, 0)}, "want bytes"},
		{"fewer values", shaped, []checkpoint.Entry{values(1), gaps(checkpoint.U8, []int{2}, 0, 0)}, "after the last of 1 entries"},
		{"no values", shaped, []checkpoint.Entry{gaps(checkpoint.U8, []int{2}, 0, 0)}, "has no shira_weight"},
		{"NaN", shaped, []checkpoint.Entry{values(math.NaN()), gaps(checkpoint.U8, []int{1}, 0)}, "value 0 is NaN"},
	} {
		path := write(t, filepath.Join(t.TempDir(), "a.st"), c.config, c.entries...)
		_, err := Load(path)
		wantError(t, err, fault.Incompatible, path+"|"+c.want, "")
	}
}

// TestCompactSize holds the compact form to its promise: at most 3.3 bytes a parameter at 1% in bfloat16, headers included.
func TestCompactSize(t *testing.T) {
	const n, density = 1024, 0.01
	g := rand.New(rand.NewPCG(1, 1))
	var flat []int64
	for i := range int64(n * n) {
		if g.Float64() < density {
			flat = append(flat, i)
		}
	}
	s := NewSparse("model.layers.0.self_attn.q_proj", n, n, flat)
	copy(s.Values, gauss(len(s.Values), 1))
	a := &Adapter{Config: Config{Method: "shira", Density: density}, Deltas: []Delta{s}, Form: Form{bf16, true}}
	_, err := a.Round(bf16)
	must(t, err)
	path := filepath.Join(t.TempDir(), "a.st")
	must(t, a.SaveFile(path))
	info, err := os.Stat(path)
	must(t, err)
	if size := float64(info.Size()) / float64(len(flat)); size > 3.3 {
		t.Errorf("%.2f bytes a parameter", size)
	} else {
		t.Logf("%.2f bytes a parameter", size)
	}
}

func TestRound(t *testing.T) {
	a := sample(t)
	a.Deltas[0].(*Sparse).Values[3] = 65519
	_, err := a.Round(f16)
	must(t, err)
	a.Deltas[1].(*Sparse).Values[2] = 65520
	before := a.Digest()
	_, err = a.Round(f16)
	wantError(t, err, fault.Numerical, otherModule+"|the value 65520 does not fit in F16", "")
	if a.Digest() != before {
		t.Error("values changed all the same")
	}
	wantError(t, a.SaveFile(filepath.Join(t.TempDir(), "a.st")), fault.Numerical, "the value 65520 does not fit in F16", "")
	a.Deltas[1].(*Sparse).Values[2] = math.Float32frombits(0x7f7f8000) // halfway between the largest bfloat16 and infinity
	_, err = a.Round(bf16)
	wantError(t, err, fault.Numerical, "does not fit in BF16", "")
	a.Deltas[1].(*Sparse).Values[2] = math.Float32frombits(0x7f7f7fff)
	_, err = a.Round(bf16)
	must(t, err)
}

// FuzzGaps decodes arbitrary bytes. What decodes is packed into the same bytes again.
func FuzzGaps(f *testing.F) {
	f.Add([]byte{0, 0, 5, 255, 3}, uint16(4), uint16(30), uint16(20))
	f.Add([]byte{255, 128, 1}, uint16(1), uint16(65535), uint16(65535))
	f.Add(binary.AppendUvarint([]byte{255}, math.MaxUint64), uint16(1), uint16(3), uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, k, out, in uint16) {
		if out == 0 || in == 0 {
			return
		}
		rows, cols, err := readGaps(data, int(k), int(out), int(in))
		if err != nil {
			return
		}
		s := &Sparse{Out: int(out), In: int(in), RowIdx: rows, ColIdx: cols, Values: make([]float32, k)}
		if err := s.validate(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(packed(s), data) {
			t.Fatalf("% x is packed as % x", data, packed(s))
		}
	})
}
