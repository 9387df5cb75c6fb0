package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/tokenizer"
)

// shared is the folder of reference data beside the repository.
const shared = "../../../shared"

// byteTokenizer has one token a byte, and one for a space with the letter after it, as byte-level BPE has.
type byteTokenizer struct {
	suffix bool // end every text with EOS, as some tokenizers' templates do
	noEOS  bool
}

const (
	bosID   = 256
	eosID   = 257
	spaceID = 258 // of " " + byte 0; others follow
	idCount = spaceID + 256
)

func (t byteTokenizer) EncodeSpecial(text string) []int32 {
	ids := []int32{bosID}
	for i := 0; i < len(text); i++ {
		if text[i] == ' ' && i+1 < len(text) && text[i+1] != ' ' {
			i++
			ids = append(ids, spaceID+int32(text[i]))
			continue
		}
		ids = append(ids, int32(text[i]))
	}
	if t.suffix {
		ids = append(ids, eosID)
	}
	return ids
}

func (t byteTokenizer) EOS() (int32, bool) { return eosID, !t.noEOS }
func (t byteTokenizer) VocabSize() int     { return idCount }

// decode is the text of ids, special tokens as "<s>" and "</s>".
func decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		switch {
		case id == bosID:
			b.WriteString("<s>")
		case id == eosID:
			b.WriteString("</s>")
		case id >= spaceID:
			b.WriteByte(' ')
			b.WriteByte(byte(id - spaceID))
		default:
			b.WriteByte(byte(id))
		}
	}
	return b.String()
}

// labelled returns the tokens of an example that count.
func labelled(ex Example) []int32 {
	var ids []int32
	for _, l := range ex.Labels[1:] {
		if l != Ignore {
			ids = append(ids, l)
		}
	}
	return ids
}

// write puts a dataset into a temporary file.
func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t testing.TB, o Options) *Dataset {
	t.Helper()
	ds, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// sharedPath returns a path under the reference data and skips the test where there is none.
func sharedPath(t testing.TB, elem ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{shared}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference data: %v", err)
	}
	return path
}

func sharedTokenizer(t testing.TB, elem ...string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Load(sharedPath(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
