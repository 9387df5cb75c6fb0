package checkpoint

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
	"shira/internal/fsx"
)

func TestWriteBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w")
	entries := []Entry{
		Float32Entry("b", BF16, []int{1, 2}, []float32{1, -2}),
		{Name: "a<\"é", DType: U8, Shape: nil, Bytes: []byte{7}},
		Float32Entry("z", F32, []int{0}, nil),
	}
	if err := Write(path, entries, map[string]string{"k2": "\n", "k1": "<v>"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := `{"__metadata__":{"k1":"<v>","k2":"\n"},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]},` +
		`"a<\"é":{"dtype":"U8","shape":[],"data_offsets":[4,5]},"z":{"dtype":"F32","shape":[0],"data_offsets":[5,5]}}`
	header += strings.Repeat(" ", -len(header)&7)
	want := append(fileOf(header, 0), 0x80, 0x3f, 0x00, 0xc0, 7)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if n := binary.LittleEndian.Uint64(got); n%8 != 0 {
		t.Errorf("header of %d bytes", n)
	}
	f := opened(t, path)
	if len(f.Tensors()) != 3 || f.Metadata()["k2"] != "\n" {
		t.Errorf("%v %v", f.Tensors(), f.Metadata())
	}
}

func TestWriteEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w")
	if err := Write(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	if f := opened(t, path); len(f.Tensors()) != 0 || f.Size() != 16 {
		t.Errorf("%v, %d bytes", f.Tensors(), f.Size())
	}
}

// Long tensors are written in parts; they come back whole.
func TestWriteLong(t *testing.T) {
	values := make([]float32, 3<<16+5)
	for i := range values {
		values[i] = float32(i)
	}
	f := opened(t, put(t, t.TempDir(), "w", f32("w", values...), Float32Entry("d", F64, []int{5, len(values) / 5}, values[:len(values)/5*5])))
	for _, tensor := range f.Tensors() {
		got, err := tensor.Float32s(nil)
		if err != nil || !slices.Equal(got, values[:tensor.Len()]) {
			t.Errorf("%v differs: %v", tensor, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	errOwn := errors.New("own")
	writes := func(n int) func(io.Writer) error {
		return func(w io.Writer) error {
			w.Write(make([]byte, n)) // an ignored error must not hide the fault
			return nil
		}
	}
	tests := []struct {
		name     string
		entries  []Entry
		metadata map[string]string
		text     string
	}{
		{"too few bytes", []Entry{{Name: "w", DType: F32, Shape: []int{2}, Bytes: make([]byte, 7)}}, nil, `tensor "w": its data is not the 8 bytes`},
		{"too many bytes", []Entry{{Name: "w", DType: F32, Shape: []int{2}, Bytes: make([]byte, 9)}}, nil, "not the 8 bytes"},
		{"no bytes", []Entry{{Name: "w", DType: F32, Shape: []int{2}}}, nil, "not the 8 bytes"},
		{"writes too little", []Entry{{Name: "w", DType: F32, Shape: []int{2}, Write: writes(4)}}, nil, "not the 8 bytes"},
		{"writes too much", []Entry{{Name: "w", DType: F32, Shape: []int{2}, Write: writes(12)}}, nil, "not the 8 bytes"},
		{"too few values", []Entry{Float32Entry("w", BF16, []int{3}, make([]float32, 2))}, nil, "not the 6 bytes"},
		{"name twice", []Entry{f32("w", 1), f32("v", 1), f32("w", 1)}, nil, `tensor "w" twice`},
		{"reserved name", []Entry{f32("__metadata__", 1)}, nil, "invalid name"},
		{"control character", []Entry{f32("a\x00b", 1)}, nil, `tensor "a\x00b": invalid name`},
		{"name that is not UTF-8", []Entry{f32("\xff", 1)}, nil, "invalid name"},
		{"no type", []Entry{{Name: "w", Shape: []int{0}}}, nil, "no type"},
		{"negative dimension", []Entry{{Name: "w", DType: U8, Shape: []int{-1}}}, nil, "invalid shape [-1]"},
		{"overflow", []Entry{{Name: "w", DType: U8, Shape: []int{1 << 40, 1 << 40}}}, nil, "invalid shape"},
		{"65 dimensions", []Entry{{Name: "w", DType: U8, Shape: make([]int, 65)}}, nil, "invalid shape"},
		{"metadata that is not UTF-8", nil, map[string]string{"k": "\xff"}, `metadata "k": not UTF-8`},
		{"several problems", []Entry{f32("w", 1), f32("w", 1), f32("\n", 1)}, nil, `tensor "w" twice; tensor "\n": invalid name`},
		{"total overflow", []Entry{{Name: "a", DType: U8, Shape: []int{1<<63 - 1}}, {Name: "b", DType: U8, Shape: []int{1<<63 - 1}}}, nil, "exceed 2^63"},
		{"integers from floats", []Entry{Float32Entry("w", I32, []int{1}, []float32{1})}, nil, "I32 is not converted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "w")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Write(path, tt.entries, tt.metadata)
			if err == nil || fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error is %v, want %q", err, tt.text)
			}
			checkUntouched(t, dir)
		})
	}
	t.Run("own error", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "w")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Write(path, []Entry{f32("a", 1), {Name: "w", DType: F32, Write: func(io.Writer) error { return errOwn }}}, nil)
		if err != errOwn {
			t.Errorf("error is %v, want %v", err, errOwn)
		}
		checkUntouched(t, dir)
	})
	t.Run("more than the disk holds", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "w")
		err := Write(path, []Entry{{Name: "w", DType: U8, Shape: []int{1 << 60}}}, nil)
		checkFault(t, err, fault.Environment, path, "needs 11529215046068")
	})
	t.Run("existing file", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "w")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Write(path, []Entry{f32("a", 1)}, nil, fsx.Replace(false))
		checkFault(t, err, fault.Usage, path, "will not overwrite")
		checkUntouched(t, dir)
	})
}

// checkUntouched checks that dir holds nothing but the old file "w".
func checkUntouched(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "w")); err != nil || string(b) != "old" {
		t.Errorf("the old file became %q, %v", b, err)
	}
}
