package data

import (
	"os"
	"strings"
	"testing"
)

// BenchmarkParse reads rows of text without encoding them.
func BenchmarkParse(b *testing.B) {
	line := []byte(`{"id": 17, "text": "` + strings.Repeat("Once upon a time there was a girl.\\n", 30) + `", "meta": {"source": ["a", "b"]}}`)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	r := row{schema: newSchema(&File{})}
	for b.Loop() {
		if err := r.parse(line); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkLoad(b *testing.B, o Options) {
	info, err := os.Stat(o.Files[0].Path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	var ds *Dataset
	for b.Loop() {
		ds = mustLoad(b, o)
	}
	b.ReportMetric(float64(ds.Stats.Rows), "rows")
}

// BenchmarkLoadText loads 200 rows of real text with a real tokenizer.
func BenchmarkLoadText(b *testing.B) {
	benchmarkLoad(b, Options{
		Files:     Files(sharedPath(b, "data", "text", "jsonl", "tinyshakespeare.test.jsonl")),
		Tokenizer: sharedTokenizer(b, "data", "llama", "stories260K-hf"), MaxLength: 512,
	})
}

// BenchmarkLoadTokens loads 100,000 rows of 64 tokens.
func BenchmarkLoadTokens(b *testing.B) {
	row := `{"input_ids": [` + strings.Repeat("101, ", 63) + "7]}\n"
	benchmarkLoad(b, Options{Files: Files(write(b, strings.Repeat(row, 100_000))), VocabSize: 512})
}

// BenchmarkNext forms packed batches of 8 rows of 256 tokens.
func BenchmarkNext(b *testing.B) {
	l := newLoader(b, varied(100_000), LoaderOptions{BatchSize: 8, MaxLength: 256, Packing: true, Shuffle: true})
	b.ReportAllocs()
	for b.Loop() {
		l.Next()
	}
}

// BenchmarkNewLoader packs 100,000 examples.
func BenchmarkNewLoader(b *testing.B) {
	ds := varied(100_000)
	for b.Loop() {
		newLoader(b, ds, LoaderOptions{BatchSize: 8, MaxLength: 256, Packing: true, Shuffle: true})
	}
}
