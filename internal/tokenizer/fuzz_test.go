package tokenizer

import (
	"testing"
	"unicode/utf8"

	"shira/internal/fault"
)

// FuzzLoad checks that no file makes parsing or a tokenizer parsed from it panic, and that ids stay below VocabSize.
func FuzzLoad(f *testing.F) {
	f.Add(byteLevelFile(f, nil), "hello <|endoftext|>")
	f.Add(`{"model":{"merges":[["▁","a"]],"vocab":{"▁":0,"a":1,"▁a":2,"<0x41>":3},"byte_fallback":true},`+
		`"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false},`+
		`"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},`+
		`{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}}`, "a A")
	f.Add(`{"model":{"vocab":{"\u0041":0},"merges":[]},"normalizer":{"type":"NFKC"},`+
		`"added_tokens":[{"id":9,"content":"x","lstrip":true,"rstrip":true,"single_word":true,"normalized":true}],`+
		`"post_processor":{"type":"RobertaProcessing","cls":["A",0],"sep":["x",9]}}`, "A x\u0301")
	f.Fuzz(func(t *testing.T, file, text string) {
		tok, err := parse("tokenizer.json", file)
		if err != nil {
			if tok != nil {
				t.Fatal("a tokenizer with an error")
			}
			return
		}
		ids := tok.EncodeSpecial(text)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("id %d of %d", id, tok.VocabSize())
			}
		}
		tok.Decode(ids)
		tok.DecodeText(ids)
	})
}

// FuzzRoundTrip checks that byte-level BPE loses nothing.
func FuzzRoundTrip(f *testing.F) {
	tok := mustParse(f, byteLevelFile(f, nil))
	for _, text := range []string{"", "hello world", "It's  é\r\n 123", "<|endoftext|>hell\x00", "🙂👩‍👩‍👧", "\xff\xe4\xbd"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids := tok.Encode(text)
		got := tok.Decode(ids)
		if want := lossyString([]byte(text)); got != want {
			t.Fatalf("%q came back as %q, want %q", text, got, want)
		}
		if utf8.ValidString(text) && got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
	})
}

// FuzzSpecialTokens reads arbitrary bytes as a tokenizer_config.json: whatever they say, BOS and EOS are tokens or none.
func FuzzSpecialTokens(f *testing.F) {
	file := byteLevelFile(f, nil)
	for _, s := range []string{`{}`, `{"bos_token":"A","eos_token":{"content":"B"}}`, `{"eos_token":null}`, `{"bos_token":"no such"}`, `[`, `{"bos_token":{}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tok := mustParse(t, file)
		if err := tok.parseSpecialTokens("tokenizer_config.json", text); err != nil {
			if kind := fault.KindOf(err); kind != fault.Malformed && kind != fault.Incompatible {
				t.Fatalf("kind %d: %v", kind, err)
			}
			return
		}
		for _, id := range []int32{tok.bos, tok.eos} {
			if id < -1 || int(id) >= tok.VocabSize() {
				t.Fatalf("token %d of %d", id, tok.VocabSize())
			}
		}
	})
}
