package adapter

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/adapter/mask"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

func TestSaveRefusesBrokenDeltas(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Sparse)
		kind   fault.Kind
		want   string
	}{
		"NaN":      {func(s *Sparse) { s.Values[3] = float32(math.NaN()) }, fault.Numerical, "value 3 is NaN"},
		"infinite": {func(s *Sparse) { s.Values[0] = float32(math.Inf(1)) }, fault.Numerical, "value 0 is +Inf"},
		"outside":  {func(s *Sparse) { s.RowIdx[len(s.RowIdx)-1] = testOut }, fault.Incompatible, "outside the weight's shape"},
	} {
		path := filepath.Join(t.TempDir(), "a.st")
		a := sample(t)
		must(t, a.SaveFile(path))
		before := readFile(t, path)
		c.change(a.Deltas[1].(*Sparse))
		wantError(t, a.SaveFile(path), c.kind, path+": not written|"+otherModule+"|"+c.want, "")
		if after := readFile(t, path); !slices.Equal(before, after) {
			t.Errorf("%s: the good adapter was overwritten", name)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("%s: files were left behind: %v", name, entries)
		}
	}
}

func TestSaveRefusesOtherMethods(t *testing.T) {
	a := sample(t)
	for method, want := range map[string]string{
		"vera": `method "vera" is not supported: want shira, lora`, "dora": `the delta is one of method shira, not "dora"`,
		"shira-dora": `not "shira-dora"`,
	} {
		a.Config.Method, a.Config.R = method, 1
		dir := filepath.Join(t.TempDir(), "out")
		wantError(t, a.Save(dir), fault.Incompatible, want, "")
		if _, err := os.Stat(dir); err == nil {
			t.Error("the directory was made")
		}
	}
}

// TestOrderOfDeltas saves an adapter whose deltas come in another order, with a budget for which PEFT's r depends on the
// first.
func TestOrderOfDeltas(t *testing.T) {
	a := &Adapter{Config: Config{Method: "shira", Density: 0.5, TargetModules: []string{"m"}}, Deltas: []Delta{
		NewSparse("b", 100, 100, make([]int64, 1)), NewSparse("a", 2, 2, []int64{0, 1, 2, 3}), NewSparse("c", 1, 1, []int64{0}),
	}}
	b := &Adapter{Config: a.Config, Deltas: []Delta{a.Deltas[2], a.Deltas[0], a.Deltas[1]}}
	if a.Digest() != b.Digest() {
		t.Error("the digest depends on the order")
	}
	dir := t.TempDir()
	for i, x := range []*Adapter{a, b} {
		must(t, x.Save(filepath.Join(dir, string(rune('a'+i)))))
	}
	for _, name := range []string{TensorsFile, ConfigFile} {
		if !slices.Equal(readFile(t, filepath.Join(dir, "a", name)), readFile(t, filepath.Join(dir, "b", name))) {
			t.Errorf("%s depends on the order", name)
		}
	}
	got, err := Load(filepath.Join(dir, "a"))
	must(t, err)
	if names := []string{got.Deltas[0].Module(), got.Deltas[1].Module(), got.Deltas[2].Module()}; !slices.IsSorted(names) {
		t.Errorf("loaded in the order %q", names)
	}
}

func TestDigest(t *testing.T) {
	want := sample(t).Digest()
	for name, c := range map[string]struct {
		change func(*Adapter)
		same   bool
	}{
		"value":         {func(a *Adapter) { a.Deltas[0].(*Sparse).Values[0]++ }, false},
		"row":           {func(a *Adapter) { a.Deltas[0].(*Sparse).RowIdx[0]++ }, false},
		"module":        {func(a *Adapter) { a.Deltas[0].(*Sparse).Name += "x" }, false},
		"one less":      {func(a *Adapter) { a.Deltas = a.Deltas[:1] }, false},
		"path and name": {func(a *Adapter) { a.Path, a.Config.BaseName = "x", "y" }, true},
		"shape":         {func(a *Adapter) { a.Deltas[0].(*Sparse).Out = 0 }, true},
	} {
		a := sample(t)
		c.change(a)
		if got := a.Digest(); (got == want) != c.same {
			t.Errorf("%s: same digest %v, want %v", name, got == want, c.same)
		}
	}
}

func TestPEFTRank(t *testing.T) {
	of := func(r, k int) *Adapter {
		return &Adapter{Config: Config{R: r}, Deltas: []Delta{NewSparse("m", 8, 12, make([]int64, k))}}
	}
	for _, c := range []struct{ r, k, want int }{{4, 80, 4}, {0, 20, 1}, {0, 40, 2}, {0, 49, 2}, {0, 50, 3}, {0, 1, 1}} {
		if got := peftRank(of(c.r, c.k)); got != c.want {
			t.Errorf("r=%d with %d entries of 8×12: %d for PEFT, want %d", c.r, c.k, got, c.want)
		}
	}
}

// TestReferenceMasks compares strategy wm with masks that a reference computed: the top 1% of each weight of stories260K.
func TestReferenceMasks(t *testing.T) {
	golden, base := "../../../shared/golden/stories260K/masks.safetensors", "../../../shared/data/llama/stories260K-hf"
	for _, path := range []string{golden, base} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not here", path)
		}
	}
	f, err := checkpoint.Open(golden)
	must(t, err)
	defer f.Close()
	m, err := checkpoint.OpenModel(base)
	must(t, err)
	defer m.Close()
	wm, err := mask.Lookup("wm")
	must(t, err)
	compared := 0
	for _, name := range m.Names() {
		reference, ok := f.Lookup("wm/" + name)
		if !ok {
			continue
		}
		want, err := reference.Ints(nil)
		must(t, err)
		weight, _ := m.Lookup(name)
		w, err := weight.Float32s(nil)
		must(t, err)
		out, in := weight.Shape[0], weight.Shape[1]
		got, err := wm.Select(mask.Request{Name: name, Out: out, In: in, K: mask.BudgetDensity(0.01, out, in), Weights: w})
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		compared++
	}
	if compared != 25 {
		t.Errorf("%d masks were compared, want 25", compared)
	}
}

// FuzzLoad reads arbitrary bytes as a file that stands alone and as part of a PEFT directory. What loads must be saved and
// loaded again as the same adapter.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	must(f, sample(f).Save(dir))
	for _, name := range []string{"a.st", "b.st"} {
		config := plainConfig
		if name == "b.st" {
			config = ""
		}
		b, err := os.ReadFile(write(f, filepath.Join(dir, name), config, values(1, -2), indices(f32, 0, 3, 4, 1)))
		must(f, err)
		f.Add(b, []byte(`{"peft_type": "SHIRA", "r": 1, "target_modules": ".*q"}`))
	}
	b, err := os.ReadFile(filepath.Join(dir, TensorsFile))
	must(f, err)
	config, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	must(f, err)
	f.Add(b, config)
	compact := sample(f)
	compact.Form = Form{bf16, true}
	path := filepath.Join(dir, "c.st")
	must(f, compact.SaveFile(path))
	b, err = os.ReadFile(path)
	must(f, err)
	f.Add(b, config)
	must(f, checkpoint.Write(path, pair(2, 9, 6), nil))
	b, err = os.ReadFile(path)
	must(f, err)
	f.Add(b, []byte(`{"peft_type": "LORA", "r": 2, "alpha_pattern": {"q_proj": 3}}`))
	must(f, checkpoint.Write(path, []checkpoint.Entry{
		tensor("lora_te_q.lora_down.weight", bf16, []int{1, 2}, 1, 2), tensor("lora_te_q.lora_up.weight", f16, []int{2, 1}, 1, 2),
		tensor("lora_te_q.alpha", f16, nil, 1),
	}, nil))
	b, err = os.ReadFile(path)
	must(f, err)
	f.Add(b, []byte("{}"))
	f.Add(b, []byte(`{"lora_parameters": {"scale": 1}}`))
	f.Fuzz(func(t *testing.T, file, config []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, TensorsFile)
		must(t, os.WriteFile(path, file, 0o600))
		reload(t, path)
		must(t, os.WriteFile(filepath.Join(dir, ConfigFile), config, 0o600))
		reload(t, dir)
	})
}

func reload(t *testing.T, path string) {
	a, err := Load(path)
	if err != nil {
		if fault.KindOf(err) == fault.Internal {
			t.Fatalf("no fault: %v", err)
		}
		return
	}
	if a.nameable(path) != nil {
		return
	}
	again := filepath.Join(t.TempDir(), "again")
	must(t, a.Save(again))
	b, err := Load(again)
	must(t, err)
	if a.Digest() != b.Digest() {
		t.Fatal("another adapter after saving")
	}
}

func BenchmarkLoad(b *testing.B) {
	a := &Adapter{Config: Config{Method: "shira", R: 32}}
	for i := range 8 {
		flat := make([]int64, mask.BudgetR(32, 4096, 4096))
		for k := range flat {
			flat[k] = int64(k) * 64
		}
		a.Deltas = append(a.Deltas, NewSparse("layers."+string(rune('0'+i)), 4096, 4096, flat))
	}
	path := filepath.Join(b.TempDir(), "a.st")
	must(b, a.SaveFile(path))
	b.SetBytes(12 * a.Parameters())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddTo(b *testing.B) {
	flat := make([]int64, mask.BudgetDensity(0.01, 4096, 4096))
	for k := range flat {
		flat[k] = int64(k) * 100
	}
	s := NewSparse("m", 4096, 4096, flat)
	w, base := make([]float32, 4096*4096), make([]float32, 4096*4096)
	b.SetBytes(12 * int64(len(flat)))
	for b.Loop() {
		AddTo(w, base, s, 0.5)
	}
}
