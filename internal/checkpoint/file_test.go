package checkpoint

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

func TestOpenForeignFormats(t *testing.T) {
	tests := []struct{ name, content, text, hint string }{
		{"pickle", "\x80\x02}q\x00(X\x05\x00\x00\x00", "is a Python pickle", "convert it to safetensors"},
		{"pickle, read as a plausible length", "\x80\x04\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 2000), "is a Python pickle", "convert it"},
		{"zip", "PK\x03\x04\x00\x00\x08\x08\x00\x00", "is a zip archive", "convert it to safetensors"},
		{"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "is a gzip archive", "unpack"},
		{"GGUF", "GGUF\x03\x00\x00\x00\x00\x00", "is a GGUF file", "safetensors files"},
		{"Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer", "git lfs pull"},
		{"HDF5", "\x89HDF\r\n\x1a\n\x00\x00", "is an HDF5 file", "convert it"},
		{"HTML", "<!DOCTYPE html><html></html>", "is an HTML page", "download failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeTemp(t, []byte(tt.content))
			_, err := Open(path)
			checkFault(t, err, fault.Malformed, path, tt.text)
			if hint := fault.HintOf(err); !strings.Contains(hint, tt.hint) {
				t.Errorf("hint is %q, want %q", hint, tt.hint)
			}
		})
	}
}

func TestOpenMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no.safetensors")
	_, err := Open(path)
	checkFault(t, err, fault.Environment, path, "cannot open")
}

// The samples hold the numbers −3 to 2 in each type, reduced to the range of the unsigned ones. Their data is not aligned.
func TestSamples(t *testing.T) {
	f := opened(t, filepath.Join(sharedDir(t, "data", "safetensors", "samples"), "overall.safetensors"))
	if got := f.Metadata()["test"]; got != "a" {
		t.Errorf("metadata test = %q", got)
	}
	for _, tensor := range f.Tensors() {
		single := opened(t, filepath.Join(filepath.Dir(f.Path()), tensor.Name+".safetensors"))
		want := single.Tensors()[0]
		if !slices.Equal(tensor.Data(), want.Data()) || tensor.DType != want.DType {
			t.Errorf("%v differs from its own file", tensor)
		}
		if tensor.DType.IsFloat() {
			got, err := tensor.Float32s(nil)
			if err != nil || !slices.Equal(got, []float32{-3, -2, -1, 0, 1, 2}) {
				t.Errorf("%v = %v, %v", tensor, got, err)
			}
			continue
		}
		mask := int64(-1)
		if strings.HasPrefix(tensor.DType.String(), "U") {
			mask = 1<<(8*tensor.DType.Size()) - 1
		}
		got, err := tensor.Ints(nil)
		if err != nil || !slices.Equal(got, []int64{-3 & mask, -2 & mask, -1 & mask, 0, 1, 2}) {
			t.Errorf("%v = %v, %v", tensor, got, err)
		}
	}
}

// Every real file can be opened, and survives writing and reading bit by bit.
func TestRealFiles(t *testing.T) {
	for _, folder := range []string{"data", "golden"} {
		root := sharedDir(t, folder)
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".safetensors" {
				return err
			}
			t.Run(strings.TrimPrefix(path, root), func(t *testing.T) { checkRoundTrip(t, path) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func checkRoundTrip(t *testing.T, path string) {
	was := openedModel(t, path)
	var entries []Entry
	for _, tensor := range was.Tensors() {
		entries = append(entries, tensor.Entry())
	}
	metadata := was.Files()[0].Metadata()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := Write(copied, entries, metadata); err != nil {
		t.Fatal(err)
	}
	is := openedModel(t, copied)
	if a, b := fingerprint(t, was), fingerprint(t, is); a != b {
		t.Errorf("fingerprint %s became %s", a, b)
	}
	for _, a := range was.Tensors() {
		b, ok := is.Lookup(a.Name)
		if !ok || a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) || !slices.Equal(a.Data(), b.Data()) {
			t.Errorf("%v became %v", a, b)
		}
	}
}

func TestFloat32View(t *testing.T) {
	values := []float32{1, -2, float32(math.Inf(1)), 0.1}
	dir := t.TempDir()
	path := put(t, dir, "aligned", f32("w", values...), Float32Entry("h", BF16, []int{1}, values[:1]), f32("odd", values...))
	f := opened(t, path)
	for _, tt := range []struct {
		name string
		ok   bool
	}{{"w", true}, {"h", false}, {"odd", false}} {
		tensor, _ := f.Lookup(tt.name)
		view, ok := tensor.Float32View()
		if ok != tt.ok || ok && !slices.Equal(view, values) {
			t.Errorf("%s: %v, %v", tt.name, view, ok)
		}
		if got, err := tensor.Float32s(nil); err != nil || !slices.Equal(got, values[:tensor.Len()]) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	empty := opened(t, put(t, dir, "empty", f32("z")))
	z, _ := empty.Lookup("z")
	if view, ok := z.Float32View(); !ok || len(view) != 0 {
		t.Errorf("empty: %v, %v", view, ok)
	}
}

func TestFloat32sReusesMemory(t *testing.T) {
	f := opened(t, put(t, t.TempDir(), "w", f32("w", 1, 2, 3)))
	w, _ := f.Lookup("w")
	dst := make([]float32, 1, 8)
	got, err := w.Float32s(dst)
	if err != nil || len(got) != 3 || &got[0] != &dst[0] {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWrongType(t *testing.T) {
	f := opened(t, put(t, t.TempDir(), "w", f32("f", 1),
		Entry{Name: "i", DType: I32, Shape: []int{1}, Bytes: []byte{1, 0, 0, 0}},
		Entry{Name: "u", DType: U64, Shape: []int{2}, Bytes: slices.Concat(make([]byte, 8), []byte{0, 0, 0, 0, 0, 0, 0, 0x80})}))
	lookup := func(name string) Tensor { tensor, _ := f.Lookup(name); return tensor }
	_, err := lookup("i").Float32s(nil)
	checkFault(t, err, fault.Incompatible, f.Path(), `tensor "i" is I32`)
	_, err = lookup("f").Ints(nil)
	checkFault(t, err, fault.Incompatible, f.Path(), `tensor "f" is F32`)
	_, err = lookup("u").Ints(nil)
	checkFault(t, err, fault.Incompatible, f.Path(), `tensor "u" has 9223372036854775808 as element 1`)
}

func TestUseAfterClose(t *testing.T) {
	f := opened(t, put(t, t.TempDir(), "w", f32("w", 1)))
	w, _ := f.Lookup("w")
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if w.Data() != nil {
		t.Error("data after Close")
	}
	if _, ok := w.Float32View(); ok {
		t.Error("view after Close")
	}
	w.WillNeed()
	w.Release()
	if _, err := w.Float32s(nil); fault.KindOf(err) != fault.Internal {
		t.Errorf("Float32s: %v", err)
	}
	if _, err := w.Ints(nil); fault.KindOf(err) != fault.Internal {
		t.Errorf("Ints: %v", err)
	}
	if _, err := w.Digest(); err == nil {
		t.Error("Digest after Close")
	}
}

// A file that another process shortens while it is mapped gives an error, not the end of the process.
func TestShortenedFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mapped file cannot be shortened")
	}
	values := make([]float32, 1<<16)
	f := opened(t, put(t, t.TempDir(), "w", f32("w", values...)))
	w, _ := f.Lookup("w")
	if err := os.Truncate(f.Path(), 4096); err != nil {
		t.Fatal(err)
	}
	_, err := w.Float32s(nil)
	checkFault(t, err, fault.Environment, f.Path(), "became shorter")
	_, err = w.Digest()
	checkFault(t, err, fault.Environment, f.Path(), "became shorter")
	err = Write(f.Path()+".copy", []Entry{w.Entry()}, nil)
	checkFault(t, err, fault.Environment, f.Path(), "became shorter")
	if left, _ := filepath.Glob(f.Path() + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Released pages are read again.
func TestRelease(t *testing.T) {
	values := make([]float32, 1<<16)
	for i := range values {
		values[i] = float32(i)
	}
	f := opened(t, put(t, t.TempDir(), "w", f32("a", 1), f32("w", values...)))
	w, _ := f.Lookup("w")
	for range 2 {
		w.WillNeed()
		got, err := w.Float32s(nil)
		if err != nil || !slices.Equal(got, values) {
			t.Fatalf("other values: %v", err)
		}
		w.Release()
	}
}
