package data

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

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
	ids := append([]int32{bosID}, t.Encode(text)...)
	if t.suffix {
		ids = append(ids, eosID)
	}
	return ids
}

// Encode takes "</s>" for EOS.
func (t byteTokenizer) Encode(text string) []int32 {
	var ids []int32
	for i := 0; i < len(text); i++ {
		if strings.HasPrefix(text[i:], "</s>") {
			ids = append(ids, eosID)
			i += 3
			continue
		}
		if text[i] == ' ' && i+1 < len(text) && text[i+1] != ' ' {
			i++
			ids = append(ids, spaceID+int32(text[i]))
			continue
		}
		ids = append(ids, int32(text[i]))
	}
	return ids
}

func (t byteTokenizer) Decode(ids []int32) string { return decode(ids) }
func (t byteTokenizer) IsSpecial(id int32) bool   { return id == bosID || id == eosID }

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

// examples returns all of a dataset's.
func examples(ds *Dataset) []Example {
	all := make([]Example, ds.Len())
	for i := range all {
		all[i] = ds.Example(i)
	}
	return all
}

func mustLoad(t testing.TB, o Options) *Dataset {
	t.Helper()
	ds, err := Load(context.Background(), o)
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

// chatML is the template of that name.
func chatML(t testing.TB) *Template {
	t.Helper()
	template, err := OpenTemplate(t.TempDir(), "chatml")
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// sampleParquet is a file of one conversation and a text.
func sampleParquet(t testing.TB) string {
	t.Helper()
	type message struct {
		Role    string `parquet:"role"`
		Content string `parquet:"content"`
	}
	type row struct {
		Messages []message `parquet:"messages,list"`
		ID       int64     `parquet:"id"`
		Bytes    []byte    `parquet:"bytes"`
		Score    *float64  `parquet:"score,optional"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	if _, err := w.Write([]row{
		{[]message{{"user", "Hello"}, {"assistant", "Hi"}}, 1, []byte{0xff}, nil},
		{[]message{{"user", "Bye"}, {"assistant", "See you\n"}}, 2, nil, nil},
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
