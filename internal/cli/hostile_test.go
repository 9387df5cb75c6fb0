package cli

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/data"
	"shira/internal/fuse"
	"shira/internal/jinja"
	"shira/internal/model"
	"shira/internal/testmodel"
	"shira/internal/tokenizer"
)

// tensorsFile is a safetensors file with a header and some bytes of data.
func tensorsFile(header string, size int) string {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return string(b) + header + strings.Repeat("\x00", size)
}

// shiraFile is one of an adapter with a configuration and tensors.
func shiraFile(config, tensors string, size int) string {
	return tensorsFile(fmt.Sprintf(`{"__metadata__":{"shira":%q},%s}`, config, tensors), size)
}

// TestHostile gives each parser small inputs that claim to be large, and wants it to allocate no more than some megabytes, and a
// multiple of what there is.
func TestHostile(t *testing.T) {
	const (
		constant = 8 // MiB
		multiple = 100
		key      = "base_model.model.m.q_proj"
	)
	open := func(path string) error {
		f, err := checkpoint.Open(path)
		if err == nil {
			f.Close()
		}
		return err
	}
	openModel := func(path string) error {
		m, err := checkpoint.OpenModel(filepath.Dir(path))
		if err == nil {
			m.Close()
		}
		return err
	}
	loadModel := func(path string) error {
		m, err := model.Load(filepath.Dir(path))
		if err == nil {
			m.Close()
		}
		return err
	}
	loadAdapter := func(path string) error { _, err := adapter.Load(path); return err }
	loadTokenizer := func(path string) error { _, err := tokenizer.Load(filepath.Dir(path)); return err }
	loadData := func(path string) error {
		ds, err := data.Load(context.Background(), data.Options{Files: data.Files(path), MaxLength: 8})
		if err == nil {
			ds.Close()
		}
		return err
	}
	parse := func(f func(text []byte) error) func(string) error {
		return func(path string) error {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return f(text)
		}
	}
	parseConfig := parse(func(text []byte) error { _, err := config.Parse("run.yaml", text); return err })
	parseRecipe := parse(func(text []byte) error { _, err := fuse.ReadRecipe("fuse.yaml", text); return err })
	render := parse(func(text []byte) error {
		tpl, err := jinja.Parse(string(text))
		if err == nil {
			_, err = tpl.Render(&jinja.Dict{}, time.Time{})
		}
		return err
	})
	aliases := "a0: &a0 [x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		aliases += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 8), ", "))
	}
	shape := `{"version":1,"method":"%s","r":1,"alpha":1,"target_modules":["q_proj"],"shapes":{"m.q_proj":[2147483647,2147483647]}}`
	for _, c := range []struct {
		name, file string
		content    string
		load       func(path string) error
		most       uint64 // MiB that are allowed besides; 0: the usual constant
		fits       bool   // it is accepted
	}{
		{"a header's length", "a.st", "\xff\xff\xff\x05\x00\x00\x00\x00{}", open, 0, false},
		{"a rank", "a.st", tensorsFile(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("0,", 100_000)+`0],"data_offsets":[0,0]}}`, 0), open, 0, false},
		{"nesting", "a.st", tensorsFile(strings.Repeat(`{"a":`, 100_000), 0), open, 0, false},
		{"a dimension", "a.st", tensorsFile(`{"a":{"dtype":"F32","shape":[4611686018427387904,0],"data_offsets":[0,0]}}`, 0), open, 0, false},
		{"an index", "model.safetensors.index.json", `{"weight_map":{` + strings.Repeat(`"a":"b",`, 50_000) + `"a":"b"}}`, openModel, 0, false},
		{"a factor without data", "a.st", shiraFile(fmt.Sprintf(shape, "lora"), `"`+key+`.lora_A.weight":{"dtype":"F32","shape":[0,2147483647],"data_offsets":[0,0]},`+
			`"`+key+`.lora_B.weight":{"dtype":"F32","shape":[2147483647,0],"data_offsets":[0,0]}`, 0), loadAdapter, 0, false},
		{"a factor of one", "a.st", shiraFile(`{"version":1,"method":"lora","r":1,"alpha":1,"target_modules":["q_proj"]}`,
			`"`+key+`.lora_A.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"`+key+`.lora_B.weight":{"dtype":"F32","shape":[9007199254740991,0],"data_offsets":[4,4]}`, 4), loadAdapter, 0, false},
		{"a shape of entries", "a.st", shiraFile(fmt.Sprintf(shape, "shira"), `"`+key+`.shira_weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},`+
			`"`+key+`.shira_indices":{"dtype":"I32","shape":[2,1],"data_offsets":[4,12]}`, 12), loadAdapter, 0, true},
		{"gaps", "a.st", shiraFile(fmt.Sprintf(shape, "shira"), `"`+key+`.shira_weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},`+
			`"`+key+`.shira_gaps":{"dtype":"U8","shape":[9],"data_offsets":[4,13]}`, 13), loadAdapter, 0, false},
		{"layers of a model", "config.json", hostileConfig(t, "num_hidden_layers", 1<<31), loadModel, 0, false},
		{"fewer layers of a model", "config.json", hostileConfig(t, "num_hidden_layers", 1<<24), loadModel, 0, false},
		{"a vocabulary", "config.json", hostileConfig(t, "vocab_size", 1<<40), loadModel, 0, false},
		{"a smaller vocabulary", "config.json", hostileConfig(t, "vocab_size", 1<<24), loadModel, 0, false},
		{"a width", "config.json", hostileConfig(t, "hidden_size", 1<<30), loadModel, 0, false},
		{"a smaller width", "config.json", hostileConfig(t, "hidden_size", 1<<24), loadModel, 32, false},
		{"positions", "config.json", hostileConfig(t, "max_position_embeddings", 1<<40), loadModel, 0, false},
		{"a token's number", "tokenizer.json", `{"model":{"type":"BPE","vocab":{"a":2147483647},"merges":[]}}`, loadTokenizer, 0, false},
		{"an added token's number", "tokenizer.json", `{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[{"id":2147483647,"content":"x"}]}`, loadTokenizer, 0, false},
		{"nesting of rows", "a.jsonl", strings.Repeat("[", 1<<20), loadData, 0, false},
		{"rows of one array", "a.json", "[" + strings.Repeat(`{"input_ids":[1,1]},`, 20_000) + "1]", loadData, 0, false},
		{"a parquet footer", "a.parquet", "PAR1" + strings.Repeat("\x19\xfc\xff\xff\xff\x0f", 20) + "\x78\x00\x00\x00PAR1", loadData, 0, false},
		{"a parquet footer's length", "a.parquet", "PAR1xxxx\xff\xff\xff\x7fPAR1", loadData, 0, false},
		{"aliases of a configuration", "run.yaml", aliases, parseConfig, 0, false},
		{"nesting of a configuration", "run.yaml", strings.Repeat("[", 9_000), parseConfig, 0, false},
		{"aliases of a recipe", "fuse.yaml", aliases + "adapters: *a12\n", parseRecipe, 0, false},
		{"a template's strings", "a.jinja", `{{ "aaaaaaaa" * 1000000000 }}`, render, 0, false},
		{"a template's range", "a.jinja", `{% for i in range(1000000000) %}{% endfor %}`, render, 16, false},
		{"a template that doubles", "a.jinja", `{% set ns = namespace(s="a") %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`, render, 128, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if strings.HasSuffix(c.file, "config.json") {
				if err := testmodel.Write(filepath.Join(dir, "m"), 1, checkpoint.F32); err != nil {
					t.Fatal(err)
				}
				dir = filepath.Join(dir, "m")
			}
			path := filepath.Join(dir, c.file)
			if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			var start, end runtime.MemStats
			runtime.ReadMemStats(&start)
			err := c.load(path)
			runtime.ReadMemStats(&end)
			if got := end.TotalAlloc - start.TotalAlloc; got > max(c.most, constant)<<20+multiple*uint64(len(c.content)) {
				t.Errorf("%d MiB are allocated for %d bytes: %.200v", got>>20, len(c.content), err)
			}
			if (err == nil) != c.fits {
				t.Errorf("error %v", err)
			}
		})
	}
}

// hostileConfig is the tiny model's config.json with another value of a key.
func hostileConfig(t *testing.T, key string, value int64) string {
	dir := filepath.Join(t.TempDir(), "m")
	if err := testmodel.Write(dir, 1, checkpoint.F32); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), fmt.Sprintf("%q:", key))
	if !ok {
		t.Fatalf("no %s in %s", key, text)
	}
	return fmt.Sprintf("%s%q: %d%s", head, key, value, rest[strings.IndexAny(rest, ",}\n"):])
}
