package adapter

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// fresh has an untrained delta of each method, over a weight of shape (testOut, testIn) that ramp returns.
var fresh = map[string]func(module string) Delta{
	"shira":  func(module string) Delta { return NewSparse(module, testOut, testIn, []int64{0, 7, 9, 10, 53}) },
	"lora":   func(module string) Delta { return lowRank(module, testAlpha/testRank, false) },
	"rslora": func(module string) Delta { return lowRank(module, testAlpha/2, false) },
	"dora":   func(module string) Delta { return lowRank(module, testAlpha/testRank, true) },
	"shira-dora": func(module string) Delta {
		return &ShiraDora{S: NewSparse(module, testOut, testIn, []int64{0, 7, 9, 10, 53}), Magnitude: norms()}
	},
	"foura": func(module string) Delta { return foura(module, TransformDCT, GateFrozen) },
}

// trained fills a delta of each method with values.
var trained = map[string]func(Delta){
	"shira":      func(d Delta) { fill(d.(*Sparse).Values) },
	"lora":       func(d Delta) { fill(d.(*LowRank).B) },
	"rslora":     func(d Delta) { fill(d.(*LowRank).B) },
	"dora":       func(d Delta) { fill(d.(*LowRank).B); fill(d.(*LowRank).Magnitude) },
	"shira-dora": func(d Delta) { fill(d.(*ShiraDora).S.Values); fill(d.(*ShiraDora).Magnitude) },
	"foura":      func(d Delta) { f := d.(*FouRA); fill(f.B); f.plain.Store(nil) },
}

const (
	testRank  = 4
	testAlpha = 6.0
)

// lowRank returns an untrained delta: B is zero, and a magnitude that of ramp.
func lowRank(module string, scale float32, directed bool) *LowRank {
	l := &LowRank{
		Name: module, Out: testOut, In: testIn, R: testRank, A: gauss(testRank*testIn, 5), B: make([]float32, testOut*testRank),
		Alpha: testAlpha, Scale: scale,
	}
	if directed {
		l.Magnitude = norms()
	}
	return l
}

// norms returns the norms of the rows of ramp.
func norms() []float32 {
	w, n := ramp(), make([]float32, testOut)
	for row := range n {
		n[row] = RowNorm(w[row*testIn:(row+1)*testIn], nil)
	}
	return n
}

func fill(values []float32) {
	for k := range values {
		values[k] = float32(k) - 1.5
	}
}

// configOf returns a configuration that goes with the samples of a method.
func configOf(method string) Config {
	c := Config{Method: method, TargetModules: []string{"q_proj", "a&b"}, BaseFingerprint: "f"}
	if strings.Contains(method, "shira") {
		c.Mask, c.Density = "wm", 0.09
	} else {
		c.R, c.Alpha, c.UseRSLoRA, c.Dropout = 9, 1, method == "rslora", 0.05
		c.RankPattern = Overrides{{"layers.1", 2}, {`layers\.[0-9]\..*`, testRank}, {"q_proj", 7}}
		c.AlphaPattern = Overrides{{"self_attn.(q|k)_proj", testAlpha}}
		c.Layers = []int{0, 3}
		if method == "foura" {
			c.Transform, c.Gate = TransformDCT, GateFrozen
		}
	}
	return c
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
			if w := added(d, 1); !slices.Equal(w, ramp()) {
				t.Error("an untrained delta changes the weight")
			}
			trained[m.Name](d)
			if slices.Equal(added(d, 1), ramp()) {
				t.Error("a trained delta changes nothing")
			}
			if !slices.Equal(added(d, 0), ramp()) {
				t.Error("strength 0 changes the weight")
			}
			entriesEqualRows(t, d)
			blocksEqualRows(t, d)
			roundTrip(t, m, d)
			otherForms(t, m, d)
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

// entriesEqualRows checks that Row and Rows describe one delta, where it is sparse.
func entriesEqualRows(t *testing.T, d Delta) {
	t.Helper()
	s, ok := d.(Entries)
	if !ok {
		return
	}
	sum, n := make([]float32, testOut*testIn), 0
	for row := range testOut {
		cols, values := s.Row(row)
		if len(cols) != len(values) || !slices.IsSorted(cols) {
			t.Fatalf("row %d: columns %v, values %v", row, cols, values)
		}
		for k, col := range cols {
			sum[row*testIn+int(col)] = values[k]
			n++
		}
	}
	if !slices.Equal(sum, rows(d, 0, testOut)) {
		t.Error("Row and Rows disagree")
	}
	if n != s.Parameters() {
		t.Errorf("rows have %d entries of %d", n, s.Parameters())
	}
}

// blocksEqualRows checks that a row's values do not depend on those computed with it.
func blocksEqualRows(t *testing.T, d Delta) {
	t.Helper()
	whole := rows(d, 0, testOut)
	for first := range testOut {
		for n := 1; first+n <= testOut; n++ {
			if !slices.Equal(rows(d, first, n), whole[first*testIn:(first+n)*testIn]) {
				t.Fatalf("rows %d to %d differ from those of the whole", first, first+n)
			}
		}
	}
}

// rows returns rows of d over ramp, in memory that held something else.
func rows(d Delta, first, n int) []float32 {
	dst := make([]float32, n*testIn)
	fill(dst)
	d.Rows(dst, ramp()[first*testIn:(first+n)*testIn], first, n)
	return dst
}

// roundTrip checks that save, load and save give the same bytes, and that a file and a directory are the same adapter.
func roundTrip(t *testing.T, m Method, d Delta) {
	t.Helper()
	roundTripOf(t, d, configOf(m.Name))
}

func roundTripOf(t *testing.T, d Delta, c Config) {
	t.Helper()
	dir := t.TempDir()
	a := &Adapter{Config: c, Deltas: []Delta{d}}
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
		for _, x := range []*Adapter{a, b} { // a delta may keep what it has computed
			x.Release(x.Deltas[0])
		}
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

// otherForms saves in 16 bits and packed, and wants the same again.
func otherForms(t *testing.T, m Method, d Delta) {
	t.Helper()
	for _, form := range []Form{{DType: f16}, {DType: bf16}, {Compact: true}, {DType: bf16, Compact: true}} {
		dir := t.TempDir()
		a := &Adapter{Config: configOf(m.Name), Deltas: []Delta{d}}
		must(t, a.SaveFile(filepath.Join(dir, "plain.st")))
		a, err := Load(filepath.Join(dir, "plain.st"))
		must(t, err)
		if form.DType != 0 {
			lost, err := a.Round(form.DType)
			must(t, err)
			if lost > 0.01 {
				t.Errorf("%v: rounding changes the values by %v", form, lost)
			}
		}
		if a.Form.Compact = form.Compact; form.Compact && !strings.Contains(m.Name, "shira") {
			wantError(t, a.SaveFile(filepath.Join(dir, "1.st")), fault.Incompatible, "have no compact form", "")
			continue
		}
		must(t, a.SaveFile(filepath.Join(dir, "1.st")))
		b, err := Load(filepath.Join(dir, "1.st"))
		must(t, err)
		if b.Form != form || b.Digest() != a.Digest() {
			t.Errorf("%v: loaded as %v, digests %s and %s", form, b.Form, a.Digest(), b.Digest())
		}
		must(t, b.SaveFile(filepath.Join(dir, "2.st")))
		if !bytes.Equal(readFile(t, filepath.Join(dir, "1.st")), readFile(t, filepath.Join(dir, "2.st"))) {
			t.Errorf("%v: other bytes when saved again", form)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}
