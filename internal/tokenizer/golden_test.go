package tokenizer

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/fault"
)

// shared holds the reference values and the tokenizers they were made with, beside the repository.
const shared = "../../../shared"

// sharedPath skips the test where the file is absent.
func sharedPath(tb testing.TB, parts ...string) string {
	tb.Helper()
	path := filepath.Join(append([]string{shared}, parts...)...)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("no reference data at %s", path)
	}
	return path
}

type goldenRow struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	Special []int32 `json:"ids_special"`
	Decoded string  `json:"decoded"`
}

func TestGolden(t *testing.T) {
	data, err := os.ReadFile(sharedPath(t, "golden", "tokenizers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string][]goldenRow
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{"bert-uncased": true, "t5": true}
	checked := 0
	for file, rows := range golden {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			tok, err := Load(sharedPath(t, "golden", file))
			if refused[name] {
				if fault.KindOf(err) != fault.Incompatible {
					t.Fatalf("Load: %v, want it refused as incompatible", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if got := tok.Encode(row.Text); !slices.Equal(got, row.IDs) {
					t.Errorf("Encode(%q)\n got %v\nwant %v", row.Text, got, row.IDs)
				}
				if got := tok.EncodeSpecial(row.Text); !slices.Equal(got, row.Special) {
					t.Errorf("EncodeSpecial(%q)\n got %v\nwant %v", row.Text, got, row.Special)
				}
				if got := tok.Decode(row.IDs); got != row.Decoded {
					t.Errorf("Decode of %q\n got %q\nwant %q", row.Text, got, row.Decoded)
				}
				checked++
			}
		})
	}
	if want := 7 * 40; checked < want {
		t.Errorf("%d rows checked, want %d", checked, want)
	}
}

func TestGoldenSpecialTokens(t *testing.T) {
	for _, c := range []struct {
		path     string
		bos, eos int32 // -1: none
	}{
		{"llama/stories260K-hf", 1, 2},
		{"tokenizers/roberta", 0, 2},
		{"tokenizers/qwen3", -1, 151643},
		{"tokenizers/llama2", 1, 2},
		{"tokenizers/llama3.2", 128000, 128001},
		{"tokenizers/gpt2", -1, 50256},
	} {
		tok, err := Load(sharedPath(t, "data", c.path))
		if err != nil {
			t.Fatal(err)
		}
		bos, hasBOS := tok.BOS()
		eos, hasEOS := tok.EOS()
		if hasBOS != (c.bos >= 0) || hasBOS && bos != c.bos || !hasEOS || eos != c.eos {
			t.Errorf("%s: BOS %d (%t), EOS %d (%t), want %d and %d", c.path, bos, hasBOS, eos, hasEOS, c.bos, c.eos)
		}
	}
}
