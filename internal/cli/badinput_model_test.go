//go:build unix

package cli

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"shira/internal/checkpoint"
)

// TestBadModel: base or sharded is no model that can be used.
func TestBadModel(t *testing.T) {
	const all = `eval base --data train.jsonl
train --config run.yaml
train --config run.yaml --dry-run
mask base --mask wm --density 0.1 -o new.st`
	const shards = `eval sharded --data train.jsonl
inspect sharded
fuse sharded out -o new
train --config run.yaml --set model_name_or_path=sharded`
	const weights = all + "\ninspect base\nfuse base out -o new"
	config := func(key, value string) func(*world) {
		return func(w *world) { w.set("base/config.json", key, value) }
	}
	tokenizer := func(change func(file, model map[string]any)) func(*world) {
		return func(w *world) {
			w.edit("base/tokenizer.json", func(o map[string]any) { change(o, o["model"].(map[string]any)) })
		}
	}
	base := func(change func(entries []checkpoint.Entry) []checkpoint.Entry) func(*world) {
		return func(w *world) {
			w.tensors("base/model.safetensors", func(entries []checkpoint.Entry, _ map[string]string) []checkpoint.Entry { return change(entries) })
		}
	}
	file := func(path, content string) func(*world) { return func(w *world) { w.write(path, content) } }
	index := func(change func(weights map[string]any)) func(*world) {
		return func(w *world) {
			w.edit("sharded/model.safetensors.index.json", func(o map[string]any) { change(o["weight_map"].(map[string]any)) })
		}
	}
	mapped := func(shard string) func(*world) {
		return index(func(weights map[string]any) { weights["model.norm.weight"] = shard })
	}
	const norm = "model.norm.weight"

	runBad(t, all, []bad{
		{"no config.json", func(w *world) { w.remove("base/config.json") }, 3, "no config.json beside the weights", ""},
		{"config.json is a directory", func(w *world) { w.remove("base/config.json"); w.must(os.Mkdir("base/config.json", 0o755)) }, 3, "config.json|directory", ""},
		{"config.json is a FIFO", func(w *world) { w.remove("base/config.json"); w.must(syscall.Mkfifo("base/config.json", 0o644)) }, 3, "config.json|pipe", ""},
		{"config.json is empty", file("base/config.json", ""), 3, "config.json: is not JSON", ""},
		{"config.json is an array", file("base/config.json", "[]"), 3, "config.json: the whole: want an object", ""},
		{"config.json is huge", func(w *world) { w.must(os.Truncate("base/config.json", 3<<30)) }, 3, "config.json", ""},
		{"model_type is missing", config("model_type", ""), 4, `model_type "" is not supported; this version reads: `, ""},
		{"model_type is unknown", config("model_type", `"mamba9"`), 4, `model_type "mamba9" is not supported; this version reads: |llama`, ""},
		{"hidden_size is 0", config("hidden_size", "0"), 3, "hidden_size must be between 1 and", ""},
		{"hidden_size is negative", config("hidden_size", "-16"), 3, "hidden_size must be between 1 and", ""},
		{"hidden_size is a text", config("hidden_size", `"16"`), 3, "hidden_size: want a whole number", ""},
		{"hidden_size is a fraction", config("hidden_size", "16.5"), 3, "hidden_size: want a whole number", ""},
		{"heads do not divide hidden_size", config("num_attention_heads", "3"), 3, "hidden_size 16 is not a multiple of num_attention_heads 3", ""},
		{"no heads", config("num_attention_heads", "0"), 3, "num_attention_heads must be between 1 and", ""},
		{"kv heads do not divide heads", config("num_key_value_heads", "3"), 3, "num_attention_heads 4 is not a multiple of num_key_value_heads 3", ""},
		{"2^31 layers", config("num_hidden_layers", "2147483648"), 3, "num_hidden_layers must be between 1 and", ""},
		{"more layers than tensors", config("num_hidden_layers", "1000000"), 4, "config.json says 1000000 layers, the file has 20 tensors", ""},
		{"one layer more", config("num_hidden_layers", "3"), 4, "missing model.layers.2.input_layernorm.weight; missing model.layers.2.", ""},
		{"one layer less", config("num_hidden_layers", "1"), 4, `unexpected "model.layers.1.`, ""},
		{"vocabulary is not the embedding's", config("vocab_size", "100"), 4, "model.embed_tokens.weight has shape [99 16], config.json says [100 16]", ""},
		{"rms_norm_eps 1e400", config("rms_norm_eps", "1e400"), 3, "rms_norm_eps", ""},
		{"rms_norm_eps 0", config("rms_norm_eps", "0"), 3, "rms_norm_eps must be above 0", ""},
		{"rope_theta 1e400", config("rope_theta", "1e400"), 3, "rope_theta", ""},
		{"rope_theta 0", config("rope_theta", "0"), 3, "rope_theta must be positive", ""},
		{"rope_scaling of an unknown type", config("rope_scaling", `{"rope_type":"warp","factor":2}`), 4, `rope_type "warp" is not supported`, ""},
		{"odd head_dim", config("head_dim", "5"), 3, "head_dim must be even and positive: 5", ""},
		{"unknown activation", config("hidden_act", `"tanh"`), 4, `hidden_act "tanh" is not supported`, ""},
		{"max_position_embeddings is negative", config("max_position_embeddings", "-1"), 3, "max_position_embeddings must be between 1 and", ""},
		{"untied without a head", config("tie_word_embeddings", "false"), 4, "missing lm_head.weight", ""},

		{"no tokenizer", func(w *world) { w.remove("base/tokenizer.json") }, 4, "a row of text, and the model has no tokenizer", "eval base --data train.jsonl\ntrain --config run.yaml"},
		{"tokenizer is not JSON", file("base/tokenizer.json", "{"), 3, "tokenizer.json: ", "eval base --data train.jsonl\ntrain --config run.yaml"},
		{"two tokens of one id", tokenizer(func(_, m map[string]any) { m["vocab"].(map[string]any)["a"] = 5 }), 3, "have the same id 5", "eval base --data train.jsonl\ntrain --config run.yaml"},
		{"merge of unknown tokens", tokenizer(func(_, m map[string]any) { m["merges"] = []string{"xy z"} }), 3, `merge of "xy" and "z"`, "eval base --data train.jsonl\ntrain --config run.yaml"},
		{"token beyond the vocabulary", tokenizer(func(_, m map[string]any) { m["vocab"].(map[string]any)["t"] = 4242 }), 4, "the tokenizer gives token 4242, the model has 99", "eval base --data train.jsonl\ntrain --config run.yaml"},
		{"tokenizer of an unknown kind", tokenizer(func(_, m map[string]any) { m["type"] = "Oracle" }), 4, `model "Oracle"`, "eval base --data train.jsonl\ntrain --config run.yaml"},
	})

	runBad(t, weights, []bad{
		{"no weights", func(w *world) { w.remove("base/model.safetensors") }, 3, "base: ", ""},
		{"pickle only", func(w *world) { w.remove("base/model.safetensors"); w.write("base/pytorch_model.bin", "\x80\x02.") }, 3, "pytorch_model.bin", ""},
		{"weights are a zip", file("base/model.safetensors", "PK\x03\x04"+strings.Repeat("\x00", 60)), 3, "zip", ""},
		{"weights are a Git LFS pointer", file("base/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), 3, "git lfs pull", ""},
		{"weights are a directory", func(w *world) { w.remove("base/model.safetensors"); w.must(os.Mkdir("base/model.safetensors", 0o755)) }, 3, "model.safetensors|directory", ""},
		{"weights are a FIFO", func(w *world) {
			w.remove("base/model.safetensors")
			w.must(syscall.Mkfifo("base/model.safetensors", 0o644))
		}, 3, "model.safetensors|pipe", ""},
		{"weights are a link out of the directory", func(w *world) {
			w.must(os.Rename("base/model.safetensors", "elsewhere.safetensors"))
			w.must(os.Symlink("../elsewhere.safetensors", "base/model.safetensors"))
		}, 3, "symbolic link out of the model's directory", ""},
		{"weights are a link to nothing", func(w *world) {
			w.remove("base/model.safetensors")
			w.must(os.Symlink("nothing", "base/model.safetensors"))
		}, 5, "model.safetensors", ""},
		{"weights and an index", func(w *world) {
			w.must(os.CopyFS("base/x", os.DirFS("sharded")))
			w.must(os.Rename("base/x/model.safetensors.index.json", "base/model.safetensors.index.json"))
			w.remove("base/x")
		}, 3, "holds both model.safetensors and model.safetensors.index.json", ""},
	})

	runBad(t, "eval base --data train.jsonl\ntrain --config run.yaml\nmask base --mask wm --density 0.1", []bad{
		{"missing tensor", base(func(e []checkpoint.Entry) []checkpoint.Entry { return e[1:] }), 4, "missing model.embed_tokens.weight", ""},
		{"unexpected tensor", base(func(e []checkpoint.Entry) []checkpoint.Entry {
			return append(e, checkpoint.Float32Entry("model.extra.weight", checkpoint.F32, []int{1}, []float32{1}))
		}), 4, `unexpected "model.extra.weight"`, ""},
		{"tensor of another shape", base(func(e []checkpoint.Entry) []checkpoint.Entry {
			e[1] = checkpoint.Float32Entry(e[1].Name, checkpoint.F32, []int{4, 4}, make([]float32, 16))
			return e
		}), 4, "has shape [4 4], config.json says [16]", ""},
		{"tensor of integers", base(func(e []checkpoint.Entry) []checkpoint.Entry {
			e[1] = checkpoint.Entry{Name: e[1].Name, DType: checkpoint.I32, Shape: e[1].Shape, Bytes: make([]byte, 64)}
			return e
		}), 4, "has dtype I32, not a floating-point one", ""},
		{"everything at once", base(func(e []checkpoint.Entry) []checkpoint.Entry {
			e[0].Name, e[1] = "model.wrong", checkpoint.Float32Entry(e[1].Name, checkpoint.F32, []int{2, 8}, make([]float32, 16))
			return e
		}), 4, `missing model.embed_tokens.weight|has shape [2 8]|unexpected "model.wrong"`, ""},
	})

	nan := base(func(e []checkpoint.Entry) []checkpoint.Entry {
		copy(e[0].Bytes[4*16*50:], strings.Repeat("\xff", 4*16*40))
		return e
	})
	runBad(t, "eval base --data train.jsonl\nmask base --mask snip --density 0.1 --data train.jsonl --max-seq-length 64 -o new.st", []bad{
		{"NaN in the weights", nan, 8, "NaN", ""},
	})

	runBad(t, shards, []bad{
		{"shard in another directory", mapped("../base/model.safetensors"), 3, `"../base/model.safetensors" is not the plain name`, ""},
		{"shard by an absolute path", mapped("/etc/passwd.safetensors"), 3, "is not the plain name of a .safetensors file", ""},
		{"shard below", mapped("sub/model.safetensors"), 3, "is not the plain name", ""},
		{"shard by a backslash", mapped(`..\model.safetensors`), 3, "is not the plain name", ""},
		{"missing shard", func(w *world) { w.remove("sharded/" + shardName(1)) }, 3, shardName(1), ""},
		{"tensor not in its shard", mapped(shardName(0)), 3, norm, ""},
		{"tensor in no shard", index(func(weights map[string]any) { weights["model.more.weight"] = shardName(0) }), 3, "model.more.weight", ""},
		{"tensor that the index does not have", index(func(weights map[string]any) { delete(weights, norm) }), 3, norm, ""},
		{"tensor in two shards", func(w *world) {
			w.tensors("sharded/"+shardName(0), func(e []checkpoint.Entry, _ map[string]string) []checkpoint.Entry {
				return append(e, checkpoint.Float32Entry(norm, checkpoint.F32, []int{16}, make([]float32, 16)))
			})
		}, 3, norm, ""},
		{"stray shard", func(w *world) { w.write("sharded/model-00003-of-00003.safetensors", w.read("sharded/"+shardName(0))) }, 3, "model-00003-of-00003.safetensors", ""},
		{"shard is a link out of the directory", func(w *world) {
			w.must(os.Rename("sharded/"+shardName(1), "elsewhere.safetensors"))
			w.must(os.Symlink("../elsewhere.safetensors", "sharded/"+shardName(1)))
		}, 3, "symbolic link out of the model's directory", ""},
		{"shard cut short", func(w *world) { w.must(os.Truncate("sharded/"+shardName(1), 900)) }, 3, shardName(1), ""},
		{"index is not JSON", file("sharded/model.safetensors.index.json", "{"), 3, "index.json: ", ""},
		{"index without a weight_map", file("sharded/model.safetensors.index.json", "{}"), 3, "weight_map is missing or empty", ""},
		{"index with a tensor twice", file("sharded/model.safetensors.index.json", `{"weight_map":{"a":"b.safetensors","a":"b.safetensors"}}`), 3, `tensor "a" twice`, ""},
		{"index of control characters", file("sharded/model.safetensors.index.json", `{"weight_map":{"a\u001b[2J":"b.safetensors"}}`), 3, "control characters", ""},
		{"huge index", func(w *world) { w.must(os.Truncate("sharded/model.safetensors.index.json", 3<<30)) }, 3, "index.json", ""},
		{"index of a deep value", file("sharded/model.safetensors.index.json", `{"metadata":`+strings.Repeat("[", 1<<20)), 3, "index.json", ""},
	})
}
