package tokenizer

import (
	"os"
	"strings"
	"testing"
)

func BenchmarkEncode(b *testing.B) {
	data, err := os.ReadFile(sharedPath(b, "data", "text", "tinystories_train_0.txt"))
	if err != nil {
		b.Fatal(err)
	}
	stories := string(data[:min(len(data), 4<<20)])
	word := strings.Repeat("pneumonoultramicroscopicsilicovolcanoconiosis", 1<<20/45)
	chinese := strings.Repeat("你好，世界！今天天气很好，我们去公园散步吧。", 1<<20/66)
	for _, c := range []struct{ name, text string }{{"stories", stories}, {"word", word}, {"chinese", chinese}} {
		for _, model := range []string{"tokenizers/gpt2", "tokenizers/llama3.2", "tokenizers/qwen3", "tokenizers/llama2", "llama/stories260K-hf"} {
			b.Run(c.name+"/"+model, func(b *testing.B) {
				t, err := Load(sharedPath(b, "data", model))
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(c.text)))
				for b.Loop() {
					t.Encode(c.text)
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := os.ReadFile(sharedPath(b, "data", "text", "tinystories_train_0.txt"))
	if err != nil {
		b.Fatal(err)
	}
	for _, model := range []string{"gpt2", "llama2"} {
		b.Run(model, func(b *testing.B) {
			t, err := Load(sharedPath(b, "data", "tokenizers", model))
			if err != nil {
				b.Fatal(err)
			}
			ids := t.Encode(string(data[:1<<20]))
			b.SetBytes(1 << 20)
			for b.Loop() {
				t.Decode(ids)
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, model := range []string{"tokenizers/gpt2", "tokenizers/llama3.2", "tokenizers/qwen3", "llama/stories260K-hf"} {
		b.Run(model, func(b *testing.B) {
			path := sharedPath(b, "data", model)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Load(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
