package cli

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"shira/internal/checkpoint"
)

// TestBadAdapter: the adapter out does not fit base, or contradicts itself.
func TestBadAdapter(t *testing.T) {
	const lines = `eval base --data train.jsonl --adapter out
fuse base out -o new
fuse base out --dry-run
train --config run.yaml --set init_adapter=out
mask base --mask wm --density 0.1 --exclude out -o new.st`
	const tensors = "out/adapter_model.safetensors"
	const module = "model.layers.0.self_attn.q_proj"
	const prefix = "base_model.model."
	find := func(entries []checkpoint.Entry, name string) *checkpoint.Entry {
		i := slices.IndexFunc(entries, func(e checkpoint.Entry) bool { return e.Name == prefix+name })
		if i < 0 {
			t.Fatalf("no tensor %s", name)
		}
		return &entries[i]
	}
	change := func(name string, do func(e *checkpoint.Entry)) func(*world) {
		return func(w *world) {
			w.tensors(tensors, func(entries []checkpoint.Entry, _ map[string]string) []checkpoint.Entry {
				do(find(entries, name))
				return entries
			})
		}
	}
	index := func(at int, value int32) func(*world) {
		return change(module+".shira_indices", func(e *checkpoint.Entry) { binary.LittleEndian.PutUint32(e.Bytes[4*at:], uint32(value)) })
	}
	value := func(v float64) func(*world) {
		return change(module+".shira_weight", func(e *checkpoint.Entry) {
			binary.LittleEndian.PutUint32(e.Bytes[4:], math.Float32bits(float32(v)))
		})
	}
	floats := func(values ...float32) []byte {
		var b []byte
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return b
	}
	metadata := func(change func(o map[string]any)) func(*world) {
		return func(w *world) {
			w.tensors(tensors, func(entries []checkpoint.Entry, metadata map[string]string) []checkpoint.Entry {
				var o map[string]any
				w.must(json.Unmarshal([]byte(metadata["shira"]), &o))
				change(o)
				b, err := json.Marshal(o)
				w.must(err)
				metadata["shira"] = string(b)
				return entries
			})
		}
	}
	meta := func(key string, v any) func(*world) { return metadata(func(o map[string]any) { o[key] = v }) }
	config := func(key, text string) func(*world) {
		return func(w *world) { w.set("out/adapter_config.json", key, text) }
	}
	// plain makes out a directory as PEFT writes it, which does not say shapes or base.
	plain := func(then func(*world)) func(*world) {
		return func(w *world) {
			w.tensors(tensors, func(entries []checkpoint.Entry, metadata map[string]string) []checkpoint.Entry {
				delete(metadata, "shira")
				return entries
			})
			then(w)
		}
	}
	// other makes base another model: the same tensors, of other values.
	other := func(w *world) {
		w.tensors("base/model.safetensors", func(entries []checkpoint.Entry, _ map[string]string) []checkpoint.Entry {
			entries[0].Bytes[0] ^= 1
			return entries
		})
	}
	renamed := func(to string) func(*world) {
		return plain(func(w *world) {
			w.tensors(tensors, func(entries []checkpoint.Entry, _ map[string]string) []checkpoint.Entry {
				for i := range entries {
					entries[i].Name = strings.Replace(entries[i].Name, module, to, 1)
				}
				return entries
			})
		})
	}
	runBad(t, lines, []bad{
		{"another base", other, 4, "does not fit the base|was trained on another base: its fingerprint is|--force", ""},
		{"weight that the base does not have", renamed("model.layers.9.self_attn.q_proj"), 4, `"model.layers.9.self_attn.q_proj": the base has no such weight`, ""},
		{"weight by another prefix", renamed("layers.0.self_attn.q_proj"), 4, `the base has "` + module + `" instead`, ""},
		{"tied embedding", renamed("model.embed_tokens"), 4, `"model.embed_tokens" is tied`, ""},
		{"tied head", renamed("lm_head"), 4, `"lm_head" is tied`, ""},
		{"a norm", renamed("model.norm"), 4, "the base's weight has shape [16]", ""},
		{"another shape", metadata(func(o map[string]any) { o["shapes"].(map[string]any)[module] = []int{16, 17} }), 4, "was trained on a weight of shape (16, 17), but the base's is (16, 16)", ""},
		{"entries beyond its own shape", metadata(func(o map[string]any) { o["shapes"].(map[string]any)[module] = []int{16, 4} }), 4, "lies outside the weight's shape (16, 4)", ""},
		{"shapes of some modules only", meta("shapes", map[string][]int{module: {16, 16}}), 4, "the file's configuration does not say its shape", ""},
		{"another r than the values have", plain(config("r", "3")), 4, "values, but r = 3 gives", ""},
		{"row beyond the weight", plain(index(63, 16)), 4, "lies outside the weight's shape (16, 16)", ""},
		{"column beyond the weight", plain(index(127, 16)), 4, "lies outside the weight's shape (16, 16)", ""},
		{"negative index", index(0, -1), 4, "index 0 is -1", ""},
		{"unsorted", index(0, 15), 4, "not in row-major order", ""},
		{"duplicate", change(module+".shira_indices", func(e *checkpoint.Entry) {
			copy(e.Bytes[4:8], e.Bytes[:4])
			copy(e.Bytes[4*64+4:], e.Bytes[4*64:4*64+4])
		}), 4, "is there twice", ""},
		{"lengths differ", change(module+".shira_weight", func(e *checkpoint.Entry) { e.Shape, e.Bytes = []int{63}, e.Bytes[4:] }), 4, "want (2, 63) for as many values", ""},
		{"no entries", change(module+".shira_weight", func(e *checkpoint.Entry) { e.Shape, e.Bytes = []int{0}, nil }), 4, "want (K) with K > 0", ""},
		{"float indices beyond 2^24", change(module+".shira_indices", func(e *checkpoint.Entry) {
			e.DType, e.Bytes = checkpoint.F32, floats(append(make([]float32, 127), 1<<24)...)
		}), 4, "where float32 is exact", ""},
		{"indices of fractions", change(module+".shira_indices", func(e *checkpoint.Entry) {
			e.DType, e.Bytes = checkpoint.F32, floats(append([]float32{0.5}, make([]float32, 127)...)...)
		}), 4, "index 0 is the float32 0.5", ""},
		{"NaN", value(math.NaN()), 4, "value 1 is NaN", ""},
		{"infinity", value(math.Inf(-1)), 4, "value 1 is -Inf", ""},
		{"values of integers", change(module+".shira_weight", func(e *checkpoint.Entry) { e.DType = checkpoint.I32 }), 4, "a float type is needed", ""},
		{"no values", func(w *world) {
			w.tensors(tensors, func(entries []checkpoint.Entry, _ map[string]string) []checkpoint.Entry {
				return slices.DeleteFunc(entries, func(e checkpoint.Entry) bool { return e.Name == prefix+module+".shira_weight" })
			})
		}, 4, "has no shira_weight", ""},
		{"a tensor more", func(w *world) {
			w.tensors(tensors, func(entries []checkpoint.Entry, _ map[string]string) []checkpoint.Entry {
				return append(entries, checkpoint.Float32Entry("extra", checkpoint.F32, []int{1}, []float32{1}))
			})
		}, 4, `"extra" is no tensor of a shira adapter`, ""},
		{"no tensors", func(w *world) {
			w.tensors(tensors, func([]checkpoint.Entry, map[string]string) []checkpoint.Entry { return nil })
		}, 4, "holds no tensors of a shira adapter", ""},
		{"newer format", meta("version", 99), 4, "format version 99, but this program reads only up to", ""},
		{"method of tomorrow", meta("method", "telepathy"), 4, `method "telepathy" is not supported`, ""},
		{"configuration of another method", config("peft_type", `"LORA"`), 4, "peft_type is", ""},
		{"configuration of another r", config("r", "5"), 4, "r is 5, but by the safetensors file it is 2", ""},
		{"configuration of another mask", config("mask_type", `"rand"`), 4, "mask_type is", ""},
		{"no peft_type", plain(config("peft_type", "")), 4, "peft_type is missing", ""},
		{"unknown peft_type", plain(config("peft_type", `"TELEPATHY"`)), 4, "TELEPATHY", ""},
		{"config says LoRA, tensors say SHiRA", plain(config("peft_type", `"LORA"`)), 4, `peft_type is "LORA", but the tensors are those of method shira`, ""},
		{"nothing says what it is", plain(func(w *world) { w.remove("out/adapter_config.json") }), 4, "no configuration", ""},
		{"configuration is not JSON", func(w *world) { w.write("out/adapter_config.json", "{") }, 3, "adapter_config.json: not valid JSON", ""},
		{"configuration with a key twice", func(w *world) { w.write("out/adapter_config.json", `{"r": 2, "r": 2}`) }, 3, "adapter_config.json", ""},
		{"configuration of a wrong type", plain(config("r", `"two"`)), 3, "adapter_config.json: wrong type", ""},
		{"configuration in metadata is broken", func(w *world) {
			w.tensors(tensors, func(entries []checkpoint.Entry, metadata map[string]string) []checkpoint.Entry {
				metadata["shira"] = "{"
				return entries
			})
		}, 3, `metadata "shira"`, ""},
		{"pickle", func(w *world) { w.must(os.Rename(tensors, "out/adapter_model.bin")) }, 3, "adapter_model.bin is a pickle", ""},
		{"a model", func(w *world) { w.remove("out"); w.must(os.CopyFS("out", os.DirFS("base"))) }, 4, "has no adapter_model.safetensors|the base comes first", ""},
		{"an empty directory", func(w *world) { w.remove("out"); w.must(os.Mkdir("out", 0o755)) }, 4, "has no adapter_model.safetensors", ""},
		{"absent", func(w *world) { w.remove("out") }, 5, "out: |no such file", ""},
	})
	runBad(t, "fuse base out -o new", []bad{
		{"already fused", func(w *world) {
			if code, _, stderr := run("fuse", "base", "out", "-o", "fused", "-q"); code != 0 {
				t.Fatal(stderr)
			}
		}, 4, "the adapter is already fused into this base, with weight 1", "fuse fused out -o new"},
		{"sum beyond the type", func(w *world) {
			value(3e38)(w)
			w.tensors("base/model.safetensors", func(entries []checkpoint.Entry, _ map[string]string) []checkpoint.Entry {
				for i, e := range entries {
					entries[i] = checkpoint.Entry{Name: e.Name, DType: checkpoint.F16, Shape: e.Shape, Bytes: make([]byte, len(e.Bytes)/2)}
				}
				return entries
			})
		}, 8, "would not be finite in F16", "fuse base out -o new --force"},
		{"weight of the adapter is NaN", nil, 2, "out: weight|is not a finite", "fuse base out@nan -o new\neval base --data train.jsonl --adapter out@nan"},
		{"weight of the adapter is infinite", nil, 2, "out: weight|is not a", "fuse base out@inf -o new\neval base --data train.jsonl --adapter out@1e400"},
		{"output is the base", nil, 2, "the output is the input", "fuse base out -o base\nfuse base out -o base --force\nfuse base/model.safetensors out -o base/model.safetensors --force"},
		{"output is the adapter", nil, 2, "the output is the input", "fuse base out -o out\nfuse base out -o out --force"},
	})
}
