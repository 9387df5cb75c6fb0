package adapter

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// TestWhole loads, applies and saves an adapter with modules that were trained whole beside others.
func TestWhole(t *testing.T) {
	const head = "lm_head"
	v := gauss(testOut*testIn, 9)
	whole := func(module string) checkpoint.Entry {
		return checkpoint.Float32Entry(keyPrefix+module+".weight", f32, []int{testOut, testIn}, v)
	}
	for _, c := range []struct {
		name, config string
		entries      []checkpoint.Entry
	}{
		{"lora", `{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head", "score"]}`, append(pair(2, 9, 6), whole(head))},
		{"shira", `{"peft_type": "SHIRA", "r": 1, "target_modules": ["q_proj"], "modules_to_save": ["self_attn.lm_head"]}`,
			[]checkpoint.Entry{values(1, 2), indices(i32, 0, 1, 0, 0), whole("a.self_attn." + head)}},
		{"resized", `{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}`, append(pair(2, 9, 6), whole(head))},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, TensorsFile), "", c.entries...)
			writeText(t, filepath.Join(dir, ConfigFile), c.config)
			a, err := Load(dir)
			must(t, err)
			i := slices.IndexFunc(a.Deltas, func(d Delta) bool { _, ok := d.(*Whole); return ok })
			if len(a.Deltas) != 2 || i < 0 {
				t.Fatalf("deltas %v", a.Deltas)
			}
			w := ramp()
			AddTo(w, ramp(), a.Deltas[i], 1)
			for k := range w {
				if d := w[k] - v[k]; d > 1e-6 || d < -1e-6 {
					t.Fatalf("value %d is %v, want %v", k, w[k], v[k])
				}
			}
			if !NeedsBase(a.Deltas[i]) {
				t.Error("the change does not depend on the base")
			}
			out := filepath.Join(dir, "out")
			must(t, a.Save(out))
			b, err := Load(out)
			must(t, err)
			if !reflect.DeepEqual(a.Config, b.Config) || a.Digest() != b.Digest() {
				t.Errorf("another adapter when saved: %+v and %+v", a.Config, b.Config)
			}
		})
	}
}

func TestWholeRefuses(t *testing.T) {
	const config = `{"peft_type": "LORA", "r": 2, "modules_to_save": ["classifier", "q_proj"]}`
	at := func(name string, shape ...int) checkpoint.Entry {
		e := ones("x", shape...)
		e.Name = keyPrefix + name
		return e
	}
	for name, c := range map[string]struct {
		extra checkpoint.Entry
		want  string
	}{
		"bias":      {at("classifier.bias", 2), `classifier.bias" is no tensor of a lora adapter`},
		"vector":    {at("classifier.weight", 2), `"classifier": was trained whole and has shape [2]`},
		"not saved": {at("other.weight", 2, 2), `other.weight" is no tensor of a lora adapter`},
		"both":      {at(testModule+".weight", 6, 9), `q_proj": was trained whole, but has tensors of a lora adapter too`},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, TensorsFile), "", append(pair(2, 9, 6), c.extra)...)
		writeText(t, filepath.Join(dir, ConfigFile), config)
		_, err := Load(dir)
		wantError(t, err, fault.Incompatible, c.want, "")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	a := &Adapter{Config: configOf("lora"), Deltas: []Delta{&Whole{Name: "m", Out: 1, In: 1, V: []float32{1}}}}
	wantError(t, a.SaveFile(filepath.Join(t.TempDir(), "a.st")), fault.Incompatible, "is none of modules_to_save", "")
}
