package adapter

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

const (
	i32  = checkpoint.I32
	i64  = checkpoint.I64
	f32  = checkpoint.F32
	f16  = checkpoint.F16
	bf16 = checkpoint.BF16
)

func TestLoadRefuses(t *testing.T) {
	const name = keyPrefix + testModule
	nan := math.NaN()
	shaped := `{"version":1,"method":"shira","shapes":{"` + testModule + `":[6,9]}}`
	cases := []struct {
		name    string
		config  string
		tensors []checkpoint.Entry
		kind    fault.Kind
		want    string
	}{
		{"row beyond the shape", shaped, []checkpoint.Entry{values(1, 2), indices(i32, 0, 6, 1, 1)}, 4, "entry 1 at [6, 1] lies outside the weight's shape (6, 9)"},
		{"column beyond the shape", shaped, []checkpoint.Entry{values(1, 2), indices(i32, 0, 5, 1, 9)}, 4, "entry 1 at [5, 9]"},
		{"negative index", plainConfig, []checkpoint.Entry{values(1, 2), indices(i32, -1, 5, 1, 1)}, 4, "index 0 is -1"},
		{"wrapped index", plainConfig, []checkpoint.Entry{values(1, 2), indices(i64, 0, 1<<31, 1, 1)}, 4, "index 1 is 2147483648"},
		{"unsorted rows", plainConfig, []checkpoint.Entry{values(1, 2), indices(i32, 3, 2, 1, 1)}, 4, "not in row-major order: [2, 1] follows [3, 1]"},
		{"unsorted columns", plainConfig, []checkpoint.Entry{values(1, 2), indices(i32, 3, 3, 2, 1)}, 4, "not in row-major order: [3, 1] follows [3, 2]"},
		{"duplicate", plainConfig, []checkpoint.Entry{values(1, 2), indices(i32, 3, 3, 1, 1)}, 4, "entry [3, 1] is there twice"},
		{"lengths differ", plainConfig, []checkpoint.Entry{values(1, 2, 3), indices(i32, 3, 3, 1, 2)}, 4, "shape of shira_indices is [2 2], want (2, 3)"},
		{"three rows of indices", plainConfig, []checkpoint.Entry{values(1), tensor(name+".shira_indices", i32, []int{3, 1}, 1, 2, 3)}, 4, "want (2, 1)"},
		{"flat indices", plainConfig, []checkpoint.Entry{values(1, 2), tensor(name+".shira_indices", i32, []int{2}, 1, 2)}, 4, "want (2, 2)"},
		{"square values", plainConfig, []checkpoint.Entry{indices(i32, 0, 0), tensor(name+".shira_weight", f32, []int{1, 1}, 1)}, 4, "shape of shira_weight is [1 1]"},
		{"no entries", plainConfig, []checkpoint.Entry{values(), indices(i32)}, 4, "want (K) with K > 0"},
		{"float index of a fraction", plainConfig, []checkpoint.Entry{values(1), indices(f32, 1.5, 0)}, 4, "index 0 is the float32 1.5"},
		{"float index beyond 2^24", plainConfig, []checkpoint.Entry{values(1), indices(f32, 1<<24, 0)}, 4, "where float32 is exact"},
		{"float index NaN", plainConfig, []checkpoint.Entry{values(1), indices(f32, nan, 0)}, 4, "index 0 is the float32 NaN"},
		{"float index negative", plainConfig, []checkpoint.Entry{values(1), indices(f32, 0, -1)}, 4, "index 1 is the float32 -1"},
		{"half-precision index", plainConfig, []checkpoint.Entry{values(1), indices(bf16, 0, 0)}, 4, "indices are BF16: want integers"},
		{"value NaN", plainConfig, []checkpoint.Entry{values(1, nan), indices(i32, 0, 1, 0, 0)}, 4, "value 1 is NaN"},
		{"value infinite", plainConfig, []checkpoint.Entry{values(math.Inf(-1)), indices(i32, 0, 0)}, 4, "value 0 is -Inf"},
		{"value beyond float32", plainConfig, []checkpoint.Entry{tensor(name+".shira_weight", checkpoint.F64, []int{1}, 1e39), indices(i32, 0, 0)}, 4, "value 0 is +Inf"},
		{"integer values", plainConfig, []checkpoint.Entry{tensor(name+".shira_weight", i32, []int{1}, 1), indices(i32, 0, 0)}, 4, "a float type is needed"},
		{"no values", plainConfig, []checkpoint.Entry{indices(i32, 0, 0)}, 4, "has no shira_weight"},
		{"no indices", plainConfig, []checkpoint.Entry{values(1)}, 4, "has shira_weight but no shira_indices"},
		{"no tensors", plainConfig, nil, 4, "holds no tensors of a shira adapter"},
		{"no prefix", plainConfig, []checkpoint.Entry{tensor("q.shira_weight", f32, []int{1}, 1)}, 4, `"q.shira_weight" is no tensor of a shira adapter`},
		{"no module", plainConfig, []checkpoint.Entry{tensor(keyPrefix+"shira_weight", f32, []int{1}, 1)}, 4, "is no tensor of a shira adapter"},
		{"all at once", plainConfig, []checkpoint.Entry{values(1), tensor("x y", f32, []int{1}, 1), tensor(keyPrefix+"a.lora_A.weight", f32, []int{1}, 1)},
			4, `"x y" is no tensor|a.lora_A.weight" is no tensor|but no shira_indices`},
		{"shape of another module", `{"version":1,"method":"shira","shapes":{"else":[6,9]}}`, []checkpoint.Entry{values(1), indices(i32, 0, 0)}, 4,
			"does not say its shape|\"else\": the file's configuration has its shape, but there are no tensors"},
		{"newer version", `{"version":3,"method":{"new":1}}`, []checkpoint.Entry{values(1), indices(i32, 0, 0)}, 4, "format version 3, but this program reads only up to 2"},
		{"other method", `{"version":1,"method":"vera"}`, nil, 4, `method "vera" is not supported: want shira`},
		{"alpha", `{"version":1,"method":"shira","alpha":0.5}`, nil, 4, "alpha is 0.5"},
		{"no configuration", "", []checkpoint.Entry{values(1), indices(i32, 0, 0)}, 4, "no configuration"},
		{"configuration is no JSON", `{"version":1,`, nil, 3, `metadata "shira"`},
		{"configuration is no object", `[1]`, nil, 3, "not a JSON object"},
		{"configuration is null", `null`, nil, 3, "not a JSON object"},
		{"more after the configuration", `{"version":1,"method":"shira"}{}`, nil, 3, "more follows"},
		{"key twice", `{"version":1,"method":"shira","method":"lora"}`, nil, 3, `key "method" appears twice`},
		{"wrong type", `{"version":1,"method":"shira","r":"four"}`, nil, 3, "r: "},
		{"no version", `{"method":"shira"}`, nil, 3, "version is 0"},
		{"no method", `{"version":1,"Method":"shira"}`, nil, 3, "method is missing"},
		{"negative r", `{"version":1,"method":"shira","r":-1}`, nil, 3, "r is -1"},
		{"density", `{"version":1,"method":"shira","density":1.5}`, nil, 3, "density is 1.5"},
		{"seed", `{"version":1,"method":"shira","seed":-1}`, nil, 3, "seed: "},
		{"shape of three", `{"version":1,"method":"shira","shapes":{"a":[1,2,3]}}`, nil, 3, `shape of "a" is [1 2 3]`},
		{"shape of zero", `{"version":1,"method":"shira","shapes":{"a":[0,2]}}`, nil, 3, `shape of "a" is [0 2]`},
		{"shape beyond int32", `{"version":1,"method":"shira","shapes":{"a":[2147483648,2]}}`, nil, 3, `shape of "a" is`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "a.st"), c.config, c.tensors...)
			a, err := Load(path)
			if a != nil {
				t.Error("an adapter comes with the error")
			}
			wantError(t, err, c.kind, path+"|"+c.want, "")
		})
	}
}

// TestLoadTypes reads every type that may stand for values and indices, as the same adapter.
func TestLoadTypes(t *testing.T) {
	for _, index := range []checkpoint.DType{i32, i64, f32, checkpoint.U32, checkpoint.U64} {
		for _, value := range []checkpoint.DType{f32, checkpoint.F64, checkpoint.F16, bf16} {
			path := write(t, filepath.Join(t.TempDir(), "a.st"), plainConfig,
				tensor(keyPrefix+testModule+".shira_weight", value, []int{3}, 0.5, -2, 0), indices(index, 0, 0, 5, 1, 8, 0))
			a, err := Load(path)
			must(t, err)
			want := []Delta{&Sparse{Name: testModule, RowIdx: []int32{0, 0, 5}, ColIdx: []int32{1, 8, 0}, Values: []float32{0.5, -2, 0}}}
			if !reflect.DeepEqual(a.Deltas, want) {
				t.Errorf("%v values with %v indices: %+v", value, index, a.Deltas[0])
			}
		}
	}
}

func TestLoadFindsFiles(t *testing.T) {
	cases := []struct {
		name, file string
		kind       fault.Kind
		want, hint string
	}{
		{"pickle", "adapter_model.bin", 3, "has no adapter_model.safetensors", "adapter_model.bin is a pickle"},
		{"MLX", "adapters.safetensors", 3, "too short", ""},
		{"diffusers", "pytorch_lora_weights.safetensors", 3, "too short", ""},
		{"model", "config.json", 4, "has no adapter_model.safetensors", "the base comes first"},
		{"nothing", "notes.txt", 4, "has no adapter_model.safetensors", ""},
		{"empty file", TensorsFile, 3, "too short", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeText(t, filepath.Join(dir, c.file), "")
			_, err := Load(dir)
			wantError(t, err, c.kind, dir+"|"+c.want, c.hint)
		})
	}
	_, err := Load(filepath.Join(t.TempDir(), "none"))
	wantError(t, err, fault.Environment, "no such file", "")

	// A directory needs no adapter_config.json where the file stands alone, and the file none where it lies beside it.
	dir := t.TempDir()
	write(t, filepath.Join(dir, TensorsFile), plainConfig, values(1), indices(i32, 0, 0))
	_, err = Load(dir)
	must(t, err)
	write(t, filepath.Join(dir, TensorsFile), "", values(1), indices(i32, 0, 0))
	_, err = Load(dir)
	wantError(t, err, 4, "no configuration", "the directory that holds both")
	writeText(t, filepath.Join(dir, ConfigFile), `{"peft_type": "SHIRA", "r": 1, "target_modules": "q.*"}`)
	a, err := Load(filepath.Join(dir, TensorsFile))
	must(t, err)
	if want := []string{testModule}; !reflect.DeepEqual(a.Config.TargetModules, want) {
		t.Errorf("the targets of a pattern are %q, want %q", a.Config.TargetModules, want)
	}
}

func TestDirectoryOfUnendedRun(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"checkpoint-9/" + TensorsFile, "checkpoint-10/" + TensorsFile, "checkpoint-20/model.safetensors"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if hint := fault.HintOf(noAdapter(dir)); !strings.HasSuffix(hint, filepath.Join(dir, "checkpoint-10")) {
		t.Errorf("the hint %q does not name the last checkpoint with an adapter", hint)
	}
}
