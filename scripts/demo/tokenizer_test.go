package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// bpeGolden is testdata/bpe.json, made by testdata/golden.py with the tokenizers library.
type bpeGolden struct {
	VocabSize int         `json:"vocab_size"`
	Vocab     []string    `json:"vocab"` // by id
	Merges    [][2]string `json:"merges"`
	Rows      []struct {
		Text  string
		Words []string
		IDs   []int
	}
}

func loadGolden(t *testing.T) (bpeGolden, []string) {
	t.Helper()
	var golden bpeGolden
	raw, err := os.ReadFile("testdata/bpe.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/text.txt")
	if err != nil {
		t.Fatal(err)
	}
	return golden, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestBPEEqualsTheTokenizersLibrary(t *testing.T) {
	golden, texts := loadGolden(t)
	b, err := trainBPE(texts, golden.VocabSize)
	if err != nil {
		t.Fatal(err)
	}
	model := b.tokenizerFile().Model
	if !slices.Equal(model.Vocab, golden.Vocab) {
		t.Errorf("vocabulary differs:\n got %q\nwant %q", model.Vocab, golden.Vocab)
	}
	if !slices.Equal(model.Merges, golden.Merges) {
		t.Errorf("merges differ:\n got %q\nwant %q", model.Merges, golden.Merges)
	}
	for _, row := range golden.Rows {
		if got := split(row.Text); !slices.Equal(got, row.Words) {
			t.Errorf("split(%q) = %q, want %q", row.Text, got, row.Words)
		}
		if got := b.encode(row.Text); !slices.Equal(got, row.IDs) {
			t.Errorf("encode(%q) = %v, want %v", row.Text, got, row.IDs)
		}
	}
}

func TestBPERoundTripsTheCorpus(t *testing.T) {
	texts := sampleCorpus(t, 500)
	b, err := trainBPE(texts, 600)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(texts, "Words it never saw: zebra, quixotic, 1024!\n\t~") {
		ids := b.encode(text)
		if got := b.decode(ids); got != text {
			t.Fatalf("decode(encode(%q)) = %q", text, got)
		}
		if slices.Contains(ids, bosID) || slices.Contains(ids, eosID) {
			t.Fatalf("encode(%q) gives special tokens: %v", text, ids)
		}
	}
}

func TestTrainBPERefuses(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		size       int
		want       string
	}{
		{"a vocabulary smaller than the bytes", "abc", 100, "are 258"},
		{"too little text", "abab", 1000, "not 1000"},
		{"text that is not ASCII", "café", 300, "not ASCII"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := trainBPE([]string{tc.text}, tc.size); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestTokenizerFileKeepsTheOrderOfIDs(t *testing.T) {
	b, err := trainBPE([]string{"the mill, the mill, the <s> mill"}, 262)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b.tokenizerFile()); err != nil {
		t.Fatal(err)
	}
	if want := `"vocab":{"<s>":0,"</s>":1,"!":2,"\"":3,`; !strings.Contains(out.String(), want) {
		t.Errorf("no %s in %s", want, out.String())
	}
	var file struct {
		Model struct{ Vocab map[string]int }
	}
	if err := json.Unmarshal(out.Bytes(), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Model.Vocab) != 262 {
		t.Errorf("%d tokens in the file, want 262: two tokens have one spelling", len(file.Model.Vocab))
	}
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"", " ", "a  b", "it's", "x \n y\t", "9lives!!"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := split(text)
		if got := strings.Join(words, ""); got != text {
			t.Errorf("split(%q) joins to %q", text, got)
		}
		if slices.Contains(words, "") {
			t.Errorf("split(%q) has an empty word: %q", text, words)
		}
	})
}
