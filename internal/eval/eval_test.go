package eval

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/fault"
	"shira/internal/kernel"
)

const shared = "../../../shared"

func need(t testing.TB, path string) string {
	t.Helper()
	path = filepath.Join(shared, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no real data at %s", path)
	}
	return path
}

// sampleStories writes the trimmed stories of the sample file, which the reference scored, as rows.
func sampleStories(t *testing.T) string {
	raw, err := os.ReadFile(need(t, "data/text/tinystories_sample.txt"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stories.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	for _, story := range strings.Split(string(raw), "<|endoftext|>") {
		if story = strings.TrimSpace(story); story == "" {
			continue
		}
		if err := enc.Encode(map[string]string{"text": story}); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestGoldenLosses(t *testing.T) {
	raw, err := os.ReadFile(need(t, "golden/stories260K/nll.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct {
		MaxLength int     `json:"max_length"`
		Tokens    int64   `json:"tokens_scored"`
		NLL       float64 `json:"nll_per_token"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"tinystories":     sampleStories(t),
		"tinyshakespeare": need(t, "data/text/jsonl/tinyshakespeare.test.jsonl"),
	} {
		w := want[name]
		got, err := Perplexity(context.Background(), Options{
			Model: need(t, "data/llama/stories260K-hf"), Data: file, MaxSeqLength: w.MaxLength,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.Tokens != w.Tokens {
			t.Errorf("%s: %d tokens, want %d", name, got.Tokens, w.Tokens)
		}
		if math.Abs(got.Loss-w.NLL) > 1e-4 {
			t.Errorf("%s: loss %.6f, want %.6f", name, got.Loss, w.NLL)
		}
		if math.Abs(got.Perplexity-math.Exp(got.Loss)) > 1e-9 {
			t.Errorf("%s: perplexity %v for loss %v", name, got.Perplexity, got.Loss)
		}
	}
}

// TestSameDigits wants the same loss to the last bit for any batch size and number of threads.
func TestSameDigits(t *testing.T) {
	o := Options{Model: need(t, "data/llama/stories260K-hf"), Data: need(t, "data/text/jsonl/tinyshakespeare.test.jsonl"), Limit: 12}
	defer kernel.SetThreads(kernel.Threads())
	var want float64
	for i, v := range []struct{ tokens, threads int }{{1, 1}, {700, 2}, {2048, 3}, {100000, 2}} {
		o.BatchTokens, o.Threads = v.tokens, v.threads
		got, err := Perplexity(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = got.Loss
		}
		if got.Loss != want {
			t.Errorf("%+v: loss %v, want %v", v, got.Loss, want)
		}
	}
}

// TestAdapterWeights scores the reference's trained adapter at several weights.
func TestAdapterWeights(t *testing.T) {
	o := Options{Model: need(t, "golden/stories260K"), Data: writeIDs(t, [][]int{{5, 9, 13, 200, 7, 8}, {4, 4, 100, 101}})}
	path := need(t, "golden/stories260K/methods/shira/final")
	at := func(weights ...float64) float64 {
		t.Helper()
		o.Adapters = nil
		for _, w := range weights {
			o.Adapters = append(o.Adapters, adapter.Ref{Path: path, Weight: w})
		}
		r, err := Perplexity(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		return r.Loss
	}
	base := at()
	if at(0) != base {
		t.Error("weight 0 is not the base")
	}
	if at(1) == base {
		t.Error("weight 1 changes nothing")
	}
	if got, want := at(0.5, 0.5), at(1); math.Abs(got-want) > 1e-5 {
		t.Errorf("half and half is %v, the whole %v", got, want)
	}
}

func writeIDs(t *testing.T, rows [][]int) string {
	path := filepath.Join(t.TempDir(), "ids.jsonl")
	var b strings.Builder
	for _, r := range rows {
		line, err := json.Marshal(map[string]any{"input_ids": r})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPerplexityErrors(t *testing.T) {
	base := Options{Model: need(t, "golden/stories260K"), Data: writeIDs(t, [][]int{{5, 9, 13}})}
	for name, c := range map[string]struct {
		spoil func(*Options)
		kind  fault.Kind
	}{
		"too long":        {func(o *Options) { o.MaxSeqLength = 513 }, fault.Usage},
		"unknown token":   {func(o *Options) { o.Data = writeIDs(t, [][]int{{5, 512}}) }, fault.Malformed},
		"missing adapter": {func(o *Options) { o.Adapters = []adapter.Ref{{Path: "nowhere", Weight: 1}} }, fault.Environment},
		"missing model":   {func(o *Options) { o.Model = "nowhere" }, fault.Environment},
	} {
		o := base
		c.spoil(&o)
		_, err := Perplexity(context.Background(), o)
		if err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, kind %v, want kind %v", name, err, fault.KindOf(err), c.kind)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Perplexity(ctx, base); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// BenchmarkLoadAndScore scores 200 rows of Shakespeare, loading included.
func BenchmarkLoadAndScore(b *testing.B) {
	o := Options{Model: need(b, "data/llama/stories260K-hf"), Data: need(b, "data/text/jsonl/tinyshakespeare.test.jsonl")}
	for b.Loop() {
		r, err := Perplexity(context.Background(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.TokensPerSecond, "tok/s")
	}
}
