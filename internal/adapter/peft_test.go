package adapter

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

func TestPEFTConfigRefuses(t *testing.T) {
	cases := []struct {
		name, text string
		kind       fault.Kind
		want, hint string
	}{
		{"LoRA with SHiRA tensors", `{"peft_type": "LORA"}`, 4, `peft_type is "LORA", but the tensors are those of method shira`, ""},
		{"no JSON", `peft_type: SHIRA`, 3, "not valid JSON", ""},
		{"key twice", `{"peft_type": "SHIRA", "peft_type": "LORA"}`, 3, "appears twice", ""},
		{"no type", `{"r": 4}`, 4, "peft_type is missing", ""},
		{"wrong type", `{"peft_type": "SHIRA", "r": "4"}`, 3, "r: ", ""},
		{"negative r", `{"peft_type": "SHIRA", "r": -4}`, 3, "r is -4", ""},
		{"targets are a number", `{"peft_type": "SHIRA", "target_modules": 1}`, 3, "want a list of strings", ""},
		{"targets of numbers", `{"peft_type": "SHIRA", "target_modules": ["q", 1]}`, 3, "an entry is not a string", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, TensorsFile), "", values(1), indices(i32, 0, 0))
			writeText(t, filepath.Join(dir, ConfigFile), c.text)
			_, err := Load(dir)
			wantError(t, err, c.kind, ConfigFile+"|"+c.want, c.hint)
		})
	}

	dir := t.TempDir()
	write(t, filepath.Join(dir, TensorsFile), "", tensor(keyPrefix+"q.ia3_l", f32, []int{1, 1}, 1))
	writeText(t, filepath.Join(dir, ConfigFile), `{"peft_type": "IA3"}`)
	_, err := Load(dir)
	wantError(t, err, 4, `adapters of peft_type "IA3" are not supported`, "the methods of this version: shira")
	writeText(t, filepath.Join(dir, ConfigFile), `{"peft_type": "IA3", "r": [1], "modules_to_save": ["lm_head"]}`)
	_, err = Load(dir)
	wantError(t, err, 4, `adapters of peft_type "IA3" are not supported`, "shira")
	writeText(t, filepath.Join(dir, ConfigFile), `{"peft_type": "SHIRA"}`)
	_, err = Load(dir)
	wantError(t, err, 4, `"base_model.model.q.ia3_l" is no tensor of a shira adapter`, "")
}

// TestConfigurationsMustAgree changes one field of adapter_config.json at a time.
func TestConfigurationsMustAgree(t *testing.T) {
	dir := t.TempDir()
	must(t, sample(t).Save(dir))
	path := filepath.Join(dir, ConfigFile)
	text := string(readFile(t, path))
	for _, c := range []struct{ old, new, want string }{
		{`"peft_type": "SHIRA"`, `"peft_type": "LORA"`, `peft_type is "LORA", but the safetensors file says method "shira"`},
		{`"r": 1`, `"r": 2`, "r is 2, but by the safetensors file it is 1"},
		{`"mask_type": "random"`, `"mask_type": "wm"`, `mask_type is "wm", but by the safetensors file it is "random"`},
		{`"q_proj"`, `"q_proj", "k_proj"`, `target_modules are ["q_proj" "k_proj"]`},
		{`"base_model_name_or_path": "tiny"`, `"base_model_name_or_path": "moved/tiny"`, ""},
		{`"task_type": "CAUSAL_LM"`, `"task_type": null`, ""},
		{`"q_proj"`, `"q_proj", "q_proj"`, ""},
	} {
		writeText(t, path, replaceOnce(t, text, c.old, c.new))
		_, err := Load(dir)
		if c.want == "" {
			must(t, err)
			continue
		}
		wantError(t, err, fault.Incompatible, ConfigFile+": contradicts adapter_model.safetensors|"+c.want, "")
	}
}

// TestPEFTGolden loads what PEFT wrote, and compares the keys of our configuration with those of PEFT's.
func TestPEFTGolden(t *testing.T) {
	golden := "../../../shared/golden/stories260K/methods/"
	if _, err := os.Stat(golden); err != nil {
		t.Skipf("%s is not here", golden)
	}
	for name, trained := range map[string]bool{"init": false, "final": true} {
		a, err := Load(golden + "shira/" + name)
		must(t, err)
		want := Config{Method: "shira", Mask: "rand", R: 2, Seed: 3, TaskType: "CAUSAL_LM", BaseName: "stories260K",
			TargetModules: []string{"k_proj", "down_proj", "up_proj", "q_proj", "v_proj"}}
		if !reflect.DeepEqual(a.Config, want) {
			t.Errorf("%s: configuration %+v, want %+v", name, a.Config, want)
		}
		if len(a.Deltas) != 25 || a.Parameters() != 7920 {
			t.Errorf("%s: %d modules, %d parameters, want 25 and 7920", name, len(a.Deltas), a.Parameters())
		}
		nonzero := slices.ContainsFunc(a.Deltas, func(d Delta) bool {
			return slices.ContainsFunc(d.(*Sparse).Values, func(v float32) bool { return v != 0 })
		})
		if nonzero != trained {
			t.Errorf("%s: values other than zero: %v", name, nonzero)
		}

		dir := t.TempDir()
		must(t, a.Save(dir))
		var ours, theirs map[string]any
		must(t, json.Unmarshal(readFile(t, filepath.Join(dir, ConfigFile)), &ours))
		must(t, json.Unmarshal(readFile(t, golden+"shira/"+name+"/"+ConfigFile), &theirs))
		delete(theirs, "peft_version")
		if !reflect.DeepEqual(ours, theirs) {
			t.Errorf("%s: keys %v of ours, %v of PEFT's, or their values differ",
				name, slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(theirs)))
		}
		b, err := Load(dir)
		must(t, err)
		if b.Digest() != a.Digest() || !reflect.DeepEqual(b.Config, a.Config) {
			t.Errorf("%s: saved by us it is another adapter", name)
		}
	}
}

// TestLoRAGolden loads what PEFT wrote for LoRA and its kin, and compares what we write with it.
func TestLoRAGolden(t *testing.T) {
	golden := "../../../shared/golden/stories260K/methods/"
	if _, err := os.Stat(golden); err != nil {
		t.Skipf("%s is not here", golden)
	}
	for method, scale := range map[string]float32{"lora": 2, "rslora": 4, "dora": 2} {
		for _, name := range []string{"init", "final"} {
			theirs := golden + method + "/" + name
			a, err := Load(theirs)
			must(t, err)
			want := Config{Method: method, R: 4, Alpha: 8, UseRSLoRA: method == "rslora", TaskType: "CAUSAL_LM", BaseName: "stories260K",
				TargetModules: []string{"k_proj", "down_proj", "up_proj", "q_proj", "v_proj"}}
			if !reflect.DeepEqual(a.Config, want) {
				t.Errorf("%s: configuration %+v, want %+v", method, a.Config, want)
			}
			if len(a.Deltas) != 25 || a.Deltas[0].(*LowRank).Scale != scale {
				t.Errorf("%s: %d modules, scale %v", method, len(a.Deltas), a.Deltas[0].(*LowRank).Scale)
			}
			dir := t.TempDir()
			must(t, a.Save(dir))
			var got, ref map[string]any
			must(t, json.Unmarshal(readFile(t, filepath.Join(dir, ConfigFile)), &got))
			must(t, json.Unmarshal(readFile(t, filepath.Join(theirs, ConfigFile)), &ref))
			for key, value := range got {
				if v, ok := ref[key]; !ok || !reflect.DeepEqual(v, value) {
					t.Errorf("%s: %s is %v, but %v of PEFT's", method, key, value, v)
				}
			}
			sameTensors(t, filepath.Join(dir, TensorsFile), filepath.Join(theirs, TensorsFile))
			b, err := Load(dir)
			must(t, err)
			if b.Digest() != a.Digest() || !reflect.DeepEqual(b.Config, a.Config) {
				t.Errorf("%s: saved by us it is another adapter", method)
			}
		}
	}
}

// sameTensors wants the same names, types, shapes and bytes in two safetensors files.
func sameTensors(t *testing.T, path, want string) {
	t.Helper()
	a, err := checkpoint.Open(path)
	must(t, err)
	defer a.Close()
	b, err := checkpoint.Open(want)
	must(t, err)
	defer b.Close()
	if len(a.Tensors()) != len(b.Tensors()) {
		t.Fatalf("%d tensors, want %d", len(a.Tensors()), len(b.Tensors()))
	}
	for _, w := range b.Tensors() {
		g, ok := a.Lookup(w.Name)
		if !ok || g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(g.Data(), w.Data()) {
			t.Errorf("%s differs", w.Name)
		}
	}
}
