package tokenizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"shira/internal/fault"
)

// byteLevelFile is a tokenizer.json over all bytes with a few merges, for tests without reference data.
func byteLevelFile(tb testing.TB, change func(file, model map[string]any)) string {
	tb.Helper()
	vocab := map[string]any{}
	for b := range 256 {
		vocab[byteChar[b]] = b
	}
	for i, token := range []string{"he", "ll", "hell", "hello", "Ġw", "Ġworld"} {
		vocab[token] = 256 + i
	}
	model := map[string]any{
		"type": "BPE", "vocab": vocab, "merges": []any{"h e", []any{"l", "l"}, "he ll", []any{"hell", "o"}, "Ġ w"},
	}
	file := map[string]any{
		"version":        "1.0",
		"model":          model,
		"pre_tokenizer":  map[string]any{"type": "ByteLevel", "add_prefix_space": false},
		"decoder":        map[string]any{"type": "ByteLevel"},
		"post_processor": nil,
		"added_tokens":   []any{map[string]any{"id": 300, "content": "<|endoftext|>", "special": true}},
	}
	if change != nil {
		change(file, model)
	}
	data, err := json.Marshal(file)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

func mustParse(tb testing.TB, text string) *Tokenizer {
	tb.Helper()
	t, err := parse("tokenizer.json", text)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestEncode(t *testing.T) {
	tok := mustParse(t, byteLevelFile(t, nil))
	for _, c := range []struct {
		text string
		want []int32
	}{
		{"", nil},
		{"hello", []int32{259}},
		{"hello w", []int32{259, 260}},
		{"he said", []int32{256, ' ', 's', 'a', 'i', 'd'}},
		{"hello<|endoftext|>hell", []int32{259, 300, 258}},
		{"\xff\xfe", []int32{0xff, 0xfe}},
	} {
		if got := tok.Encode(c.text); !slices.Equal(got, c.want) {
			t.Errorf("Encode(%q) = %v, want %v", c.text, got, c.want)
		}
	}
	ignoring := mustParse(t, byteLevelFile(t, func(_, model map[string]any) { model["ignore_merges"] = true }))
	if got := ignoring.Encode("hello world"); !slices.Equal(got, []int32{259, 261}) {
		t.Errorf("with ignore_merges: %v, want the word as one token", got)
	}
}

func TestIDs(t *testing.T) {
	tok := mustParse(t, byteLevelFile(t, nil))
	if got := tok.VocabSize(); got != 301 {
		t.Errorf("VocabSize() = %d, want 301: gaps count", got)
	}
	for token, want := range map[string]int32{"hello": 259, "<|endoftext|>": 300, "Ġw": 260} {
		id, ok := tok.TokenID(token)
		if !ok || id != want {
			t.Errorf("TokenID(%q) = %d, %t, want %d", token, id, ok, want)
		}
		if got, ok := tok.Token(id); !ok || got != token {
			t.Errorf("Token(%d) = %q, %t, want %q", id, got, ok, token)
		}
	}
	if id, ok := tok.TokenID("absent"); ok {
		t.Errorf("TokenID of an absent token = %d", id)
	}
	for _, id := range []int32{-1, 299, 301, 1 << 30} {
		if token, ok := tok.Token(id); ok {
			t.Errorf("Token(%d) = %q, want none", id, token)
		}
	}
	if got := tok.Decode([]int32{259, 299, -5, 300}); got != "hello<|endoftext|>" {
		t.Errorf("Decode = %q, want unknown ids left out", got)
	}
	if got := tok.DecodeText([]int32{259, 300}); got != "hello" {
		t.Errorf("DecodeText = %q, want no special token", got)
	}
}

func TestSpecialTokens(t *testing.T) {
	two := func(file, _ map[string]any) {
		file["added_tokens"] = []any{
			map[string]any{"id": 300, "content": "<s>", "special": true},
			map[string]any{"id": 301, "content": "</s>", "special": true},
			map[string]any{"id": 302, "content": "<|im_end|>", "special": true},
		}
	}
	for _, c := range []struct {
		name     string
		files    map[string]string
		bos, eos int32 // -1: none
	}{
		{"conventional names", nil, 300, 301},
		{"config", map[string]string{"tokenizer_config.json": `{"bos_token":null,"eos_token":{"content":"<|im_end|>"}}`}, -1, 302},
		{"config without them", map[string]string{"tokenizer_config.json": `{}`}, 300, 301},
		{"map", map[string]string{"special_tokens_map.json": `{"eos_token":"<|im_end|>"}`}, 300, 302},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, fileName, byteLevelFile(t, two))
			for name, text := range c.files {
				write(t, dir, name, text)
			}
			for _, path := range []string{dir, filepath.Join(dir, fileName)} {
				tok, err := Load(path)
				if err != nil {
					t.Fatal(err)
				}
				if id, ok := tok.BOS(); ok != (c.bos >= 0) || ok && id != c.bos {
					t.Errorf("BOS() = %d, %t, want %d", id, ok, c.bos)
				}
				if id, ok := tok.EOS(); ok != (c.eos >= 0) || ok && id != c.eos {
					t.Errorf("EOS() = %d, %t, want %d", id, ok, c.eos)
				}
			}
		})
	}
	dir := t.TempDir()
	write(t, dir, fileName, byteLevelFile(t, two))
	for text, kind := range map[string]fault.Kind{
		`{"eos_token":"<absent>"}`: fault.Incompatible, `{"eos_token":3}`: fault.Malformed, `[]`: fault.Malformed, `{`: fault.Malformed,
	} {
		write(t, dir, "tokenizer_config.json", text)
		if _, err := Load(dir); err == nil || fault.KindOf(err) != kind {
			t.Errorf("tokenizer_config.json %s: %v, want kind %d", text, err, kind)
		}
	}
}

func write(tb testing.TB, dir, name, text string) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
		tb.Fatal(err)
	}
}

// TestMergeAgrees compares the two ways to merge, and both with merging by the definition.
func TestMergeAgrees(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var merges []merge
	for k := range int32(40) { // over ids 0..3 and what the earlier merges made
		merges = append(merges, merge{rng.Int32N(4 + k), rng.Int32N(4 + k), 4 + k})
	}
	table := newMergeTable(merges)
	for range 2000 {
		ids := make([]int32, 1+rng.IntN(maxShort))
		for k := range ids {
			ids[k] = rng.Int32N(4)
		}
		want := mergeByDefinition(slices.Clone(ids), merges)
		short, long := slices.Clone(ids), slices.Clone(ids)
		short = short[:table.mergeShort(short)]
		long = long[:table.mergeLong(long, new(workspace))]
		if !slices.Equal(short, want) || !slices.Equal(long, want) {
			t.Fatalf("merging %v:\nshort %v\nlong  %v\nwant  %v", ids, short, long, want)
		}
	}
}

func mergeByDefinition(ids []int32, merges []merge) []int32 {
	for {
		best, at := len(merges), -1
		for k := 0; k+1 < len(ids); k++ {
			for rank := len(merges) - 1; rank >= 0; rank-- { // of a pair given twice the last counts
				if merges[rank].left == ids[k] && merges[rank].right == ids[k+1] {
					if rank < best {
						best, at = rank, k
					}
					break
				}
			}
		}
		if at < 0 {
			return ids
		}
		ids[at] = merges[best].result
		ids = slices.Delete(ids, at+1, at+2)
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := mustParse(t, byteLevelFile(t, nil))
	texts := make([]string, 20)
	want := make([][]int32, len(texts))
	for i := range texts {
		texts[i] = strings.Repeat(fmt.Sprintf("hello world %d ", i), 30) + strings.Repeat("hell", 50+i)
		want[i] = mustParse(t, byteLevelFile(t, nil)).Encode(texts[i])
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, text := range texts {
				if got := tok.Encode(text); !slices.Equal(got, want[i]) {
					t.Errorf("text %d differs", i)
				}
			}
		})
	}
	wg.Wait()
}
