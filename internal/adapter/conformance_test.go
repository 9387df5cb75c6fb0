package adapter

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// fresh has an untrained delta of each method, over a weight of shape (testOut, testIn).
var fresh = map[string]func(module string) Delta{
	"shira": func(module string) Delta { return NewSparse(module, testOut, testIn, []int64{0, 7, 9, 10, 53}) },
}

// trained fills a delta of each method with values.
var trained = map[string]func(Delta){
	"shira": func(d Delta) {
		for k := range d.(*Sparse).Values {
			d.(*Sparse).Values[k] = float32(k) - 1.5
		}
	},
}

// TestMethods holds every method of the table to what the rest of the program relies on.
func TestMethods(t *testing.T) {
	for _, m := range methods {
		t.Run(m.Name, func(t *testing.T) {
			if fresh[m.Name] == nil || trained[m.Name] == nil {
				t.Fatalf("method %s has no sample above", m.Name)
			}
			d := fresh[m.Name](testModule)
			if out, in := d.Shape(); d.Module() != testModule || out != testOut || in != testIn {
				t.Errorf("sample is %s of shape (%d, %d)", d.Module(), out, in)
			}
			if w := added(d, 1); !slices.Equal(w, added(d, 0)) {
				t.Error("an untrained delta changes the weight")
			}
			trained[m.Name](d)
			base := added(d, 0)
			if slices.Equal(added(d, 1), base) {
				t.Error("a trained delta changes nothing")
			}
			if w := ramp(); !slices.Equal(w, base) {
				t.Error("weight 0 changes the weight")
			}
			entriesEqualAddTo(t, d)
			roundTrip(t, m, d)
		})
	}
}

// ramp returns a weight to add to.
func ramp() []float32 {
	w := make([]float32, testOut*testIn)
	for i := range w {
		w[i] = float32(i) / 7
	}
	return w
}

func added(d Delta, weight float32) []float32 {
	w := ramp()
	AddTo(w, ramp(), d, weight)
	return w
}

// entriesEqualAddTo checks that Row and AddTo describe one delta.
func entriesEqualAddTo(t *testing.T, d Delta) {
	t.Helper()
	s, ok := d.(Entries)
	if !ok {
		return
	}
	w, n := ramp(), 0
	for row := range testOut {
		cols, values := s.Row(row)
		if len(cols) != len(values) || !slices.IsSorted(cols) {
			t.Fatalf("row %d: columns %v, values %v", row, cols, values)
		}
		for k, col := range cols {
			w[row*testIn+int(col)] += values[k]
			n++
		}
	}
	if !slices.Equal(w, added(d, 1)) {
		t.Error("Row and AddTo disagree")
	}
	if n != s.Parameters() {
		t.Errorf("rows have %d entries of %d", n, s.Parameters())
	}
}

// roundTrip checks that save, load and save give the same bytes, and that a file and a directory are the same adapter.
func roundTrip(t *testing.T, m Method, d Delta) {
	t.Helper()
	dir := t.TempDir()
	a := &Adapter{
		Config: Config{Method: m.Name, Mask: "wm", Density: 0.09, TargetModules: []string{"q_proj", "a&b"}, BaseFingerprint: "f"},
		Deltas: []Delta{d},
	}
	must(t, a.Save(filepath.Join(dir, "1")))
	must(t, a.SaveFile(filepath.Join(dir, "alone.st")))
	one, err := Load(filepath.Join(dir, "1"))
	must(t, err)
	must(t, one.Save(filepath.Join(dir, "2")))
	two, err := Load(filepath.Join(dir, "2", TensorsFile))
	must(t, err)
	alone, err := Load(filepath.Join(dir, "alone.st"))
	must(t, err)
	for _, b := range []*Adapter{one, two, alone} {
		if !reflect.DeepEqual(b.Config, a.Config) || !reflect.DeepEqual(b.Deltas, a.Deltas) || b.Digest() != a.Digest() {
			t.Errorf("%s differs from what was saved:\n%+v\n%+v", b.Path, b.Config, a.Config)
		}
	}
	for _, name := range []string{TensorsFile, ConfigFile} {
		if x, y := readFile(t, filepath.Join(dir, "1", name)), readFile(t, filepath.Join(dir, "2", name)); !bytes.Equal(x, y) {
			t.Errorf("%s differs when saved again", name)
		}
	}
	if x, y := readFile(t, filepath.Join(dir, "1", TensorsFile)), readFile(t, filepath.Join(dir, "alone.st")); !bytes.Equal(x, y) {
		t.Error("the file that stands alone is not that of the directory")
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}
