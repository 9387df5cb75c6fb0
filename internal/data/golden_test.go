package data

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// TestGoldenCounts compares the number of scored tokens with that of transformers. The golden tinystories rows are the
// stories of tinystories_sample.txt, not those of the JSONL file that the golden names.
func TestGoldenCounts(t *testing.T) {
	raw, err := os.ReadFile(sharedPath(t, "golden", "stories260K", "nll.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct {
		Rows         int   `json:"rows"`
		MaxLength    int   `json:"max_length"`
		TokensScored int64 `json:"tokens_scored"`
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	tok := sharedTokenizer(t, "data", "llama", "stories260K-hf")
	for name, path := range map[string]string{
		"tinyshakespeare": sharedPath(t, "data", "text", "jsonl", "tinyshakespeare.test.jsonl"),
		"tinystories":     write(t, storyRows(t, sharedPath(t, "data", "text", "tinystories_sample.txt"))),
	} {
		t.Run(name, func(t *testing.T) {
			want := golden[name]
			ds := mustLoad(t, Options{Files: Files(path), Tokenizer: tok, VocabSize: 512, MaxLength: want.MaxLength, OmitEOS: true})
			if ds.Stats.Rows != want.Rows || ds.Stats.LabelTokens != want.TokensScored {
				t.Errorf("%d tokens in %d rows, want %d in %d", ds.Stats.LabelTokens, ds.Stats.Rows, want.TokensScored, want.Rows)
			}
			var labels int64
			for _, b := range ds.Batches(2048) {
				labels += int64(b.Labels)
			}
			if labels != want.TokensScored {
				t.Errorf("batches hold %d labels, want %d", labels, want.TokensScored)
			}
		})
	}
}

// storyRows makes rows of the stories in a text file.
func storyRows(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for story := range strings.SplitSeq(string(raw), "<|endoftext|>") {
		if story = strings.TrimSpace(story); story != "" {
			rows.WriteString(jsonRow(t, map[string]string{"text": story}))
		}
	}
	return rows.String()
}

// jsonRow returns a row as a line.
func jsonRow(t *testing.T, fields map[string]string) string {
	t.Helper()
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw) + "\n"
}

func TestOpenTokenizer(t *testing.T) {
	tok, err := OpenTokenizer(t.TempDir())
	if tok != nil || err != nil {
		t.Errorf("a directory without tokenizer gives %v, %v", tok, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if tok, err = OpenTokenizer(dir); tok != nil || fault.KindOf(err) != fault.Malformed {
		t.Errorf("a malformed tokenizer gives %v, %v", tok, err)
	}
	if tok, err = OpenTokenizer(sharedPath(t, "data", "llama", "stories260K-hf")); err != nil {
		t.Fatal(err)
	}
	if eos, ok := tok.EOS(); eos != 2 || !ok {
		t.Errorf("EOS is %d, %v, want 2", eos, ok)
	}
}

// TestSeam checks prompt and completion against the text they make, for a tokenizer that puts a space before every
// text and for one that does not.
func TestSeam(t *testing.T) {
	rows := []struct{ prompt, completion, counted string }{
		{"Question: Is it? Answer:", " yes", " yes"},
		{"Question: Is it? Answer: ", "yes", " yes"}, // the token " yes" lies across the seam
		{"Question: Is it? Answer:\n", "yes", "yes"},
		{"Once upon a ti", "me there", ""}, // what counts depends on the merges
		{"Once upon", "", ""},
	}
	for name, where := range map[string][]string{
		"stories260K": {"data", "llama", "stories260K-hf"},
		"llama2":      {"data", "tokenizers", "llama2", "tokenizer.json"},
		"gpt2":        {"data", "tokenizers", "gpt2", "tokenizer.json"},
	} {
		t.Run(name, func(t *testing.T) {
			tok := sharedTokenizer(t, where...)
			for _, r := range rows {
				checkSeam(t, tok, r.prompt, r.completion, r.counted)
			}
			if name != "gpt2" { // which puts no BOS before a text, so that the first token cannot count
				checkSeam(t, tok, "", "Once upon", "Once upon")
			}
		})
	}
}

type decoder interface {
	Tokenizer
	Decode(ids []int32) string
}

// checkSeam encodes a row; an empty counted is not checked.
func checkSeam(t *testing.T, tok decoder, prompt, completion, counted string) {
	t.Helper()
	row := jsonRow(t, map[string]string{"prompt": prompt, "completion": completion})
	ex := mustLoad(t, Options{Files: Files(write(t, row)), Tokenizer: tok}).Example(0)
	eos, _ := tok.EOS()
	if want := append(tok.EncodeSpecial(prompt+completion), eos); !slices.Equal(ex.IDs, want) {
		t.Errorf("%q + %q gives %v, want the text's %v", prompt, completion, ex.IDs, want)
	}
	labels := labelled(ex)
	if labels[len(labels)-1] != eos {
		t.Errorf("%q + %q: the last label is not EOS", prompt, completion)
	}
	// Llama's decoder drops the space before a text's first token.
	got := tok.Decode(labels[:len(labels)-1])
	if counted != "" && strings.TrimPrefix(got, " ") != strings.TrimPrefix(counted, " ") {
		t.Errorf("%q + %q counts %q, want %q", prompt, completion, got, counted)
	}
	if !strings.HasSuffix(" "+got, strings.TrimPrefix(completion, " ")) {
		t.Errorf("%q + %q counts %q, which lacks some of the completion", prompt, completion, got)
	}
}

// TestSeamOnQuestions measures the seam on real questions: nothing of the prompt counts.
func TestSeamOnQuestions(t *testing.T) {
	raw, err := os.ReadFile(sharedPath(t, "data", "tasks", "arc_easy.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	tok := sharedTokenizer(t, "data", "llama", "stories260K-hf")
	var rows strings.Builder
	var want []string
	for line := range strings.Lines(string(raw)) {
		var q struct {
			Query   string
			Choices []string
			Gold    int
		}
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		rows.WriteString(jsonRow(t, map[string]string{
			"prompt": "Question: " + q.Query + "\nAnswer:", "completion": " " + q.Choices[q.Gold],
		}))
		want = append(want, q.Choices[q.Gold])
	}
	ds := mustLoad(t, Options{Files: Files(write(t, rows.String())), Tokenizer: tok, OmitEOS: true})
	if ds.Len() != len(want) {
		t.Fatalf("%d examples, want %d", ds.Len(), len(want))
	}
	for i, ex := range examples(ds) {
		if got := tok.Decode(labelled(ex)); got != want[i] {
			t.Errorf("row %d counts %q, want %q", i, got, want[i])
		}
	}
}
