package adapter

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// TestOpen holds an opened adapter of every method and form to the loaded one, also after its deltas were released.
func TestOpen(t *testing.T) {
	for _, m := range methods {
		for _, form := range []Form{{}, {DType: f16}, {DType: bf16}, {Compact: true}, {DType: bf16, Compact: true}} {
			if form.Compact && !slices.Contains(m.suffixes, sparseGaps) {
				continue
			}
			t.Run(fmt.Sprintf("%s in %s, compact %v", m.Name, form.Type(), form.Compact), func(t *testing.T) {
				d := fresh[m.Name](testModule)
				trained[m.Name](d)
				a := &Adapter{Config: configOf(m.Name), Deltas: []Delta{d}}
				if form.DType != 0 {
					_, err := a.Round(form.DType)
					must(t, err)
				}
				a.Form = form
				path := filepath.Join(t.TempDir(), "a.st")
				must(t, a.SaveFile(path))
				openedEqualsLoaded(t, path)
			})
		}
	}
}

// openedEqualsLoaded opens and loads an adapter. Of an opened one nothing stays decoded after a release.
func openedEqualsLoaded(t *testing.T, path string) {
	t.Helper()
	loaded, err := Load(path)
	must(t, err)
	opened, err := Open(path)
	must(t, err)
	defer opened.Close()
	for range 2 {
		if opened.Digest() != loaded.Digest() || opened.Parameters() != loaded.Parameters() {
			t.Error("an opened adapter is another than the loaded one")
		}
		for i, d := range opened.Deltas {
			e := loaded.Deltas[i]
			if math.Float64bits(d.Norm()) != math.Float64bits(e.Norm()) || fmt.Sprint(d.values()) != fmt.Sprint(e.values()) {
				t.Error("an opened adapter has other values than the loaded one")
			}
			if out, in := d.Shape(); out == testOut && in == testIn && !slices.Equal(added(d, 1), added(e, 1)) {
				t.Error("an opened adapter changes weights otherwise than the loaded one")
			}
			opened.Release(d)
			if decoded(d) {
				t.Error("something stays decoded")
			}
		}
	}
	loaded.Release(loaded.Deltas[0])
	must(t, loaded.Close())
}

// decoded says whether a delta has something in memory that its file has in another form.
func decoded(d Delta) bool {
	switch d := d.(type) {
	case *Sparse:
		return d.lazy != nil && d.lazy.kept.Load() != nil
	case *LowRank:
		return d.lazy != nil && d.lazy.kept.Load() != nil
	case *Whole:
		return d.lazy != nil && d.lazy.kept.Load() != nil
	case *ShiraDora:
		return decoded(d.S)
	case *FouRA:
		return d.plain.Load() != nil
	}
	return false
}

// TestOpenLazily says what is decoded when it is needed, and what is a view of the file.
func TestOpenLazily(t *testing.T) {
	head := checkpoint.Float32Entry(keyPrefix+"lm_head.weight", bf16, []int{testOut, testIn}, gauss(testOut*testIn, 9))
	dir := t.TempDir()
	write(t, filepath.Join(dir, TensorsFile), "", append(pair(2, 9, 6), head)...)
	writeText(t, filepath.Join(dir, ConfigFile), `{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}`)
	openedEqualsLoaded(t, dir)
	a, err := Open(dir)
	must(t, err)
	defer a.Close()
	for _, d := range a.Deltas {
		switch d := d.(type) {
		case *LowRank:
			if d.lazy != nil {
				t.Error("what is in float32 is decoded")
			}
		case *Whole:
			if d.lazy == nil || d.V != nil {
				t.Error("what is in 16 bits is decoded for good")
			}
		}
	}
}

// TestOpenedFileChanges: an opened file that cannot be decoded any more is an error, not values that nobody saved.
func TestOpenedFileChanges(t *testing.T) {
	a := sample(t)
	a.Form.Compact = true
	path := filepath.Join(t.TempDir(), "a.st")
	must(t, a.SaveFile(path))
	opened, err := Open(path)
	must(t, err)
	defer opened.Close()
	whole, err := os.ReadFile(path)
	must(t, err)
	for i := len(whole) - int(a.Parameters()); i < len(whole); i++ { // the gaps are the last tensors
		whole[i] = 0xff
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(whole, 0)
	must(t, err)
	must(t, f.Close())
	err = checkpoint.Guard("the adapter", func() error { opened.Digest(); return nil })
	if err == nil || fault.KindOf(err) == fault.Environment {
		t.Errorf("%v", err)
	}
}
