package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

func TestScanners(t *testing.T) {
	fillClasses()
	for _, c := range []struct {
		name string
		scan scanner
		text string
		want []string
	}{
		{"gpt2", scanGPT2, "It's  DON'T 12345 a\n\n b!! ", []string{"It", "'s", " ", " DON", "'", "T", " 12345", " a", "\n\n", " b", "!!", " "}},
		{"llama3", scanLlama3, "It's DON'T 12345\n\n b!!\r\n x", []string{"It", "'s", " DON", "'T", " ", "123", "45", "\n\n", " b", "!!\r\n", " x"}},
		{"llama3 spaces", scanLlama3, "a   b \n  \n  c\t", []string{"a", "  ", " b", " \n  \n", " ", " c", "\t"}},
		{"llama3 marks", scanLlama3, "\tx (y) 'ſ 𞸀₂", []string{"\tx", " (", "y", ")", " '", "ſ", " 𞸀", "₂"}},
		{"llama3 long s", scanLlama3, "x'ſy", []string{"x", "'ſ", "y"}},
		{"qwen", scanQwen, "12 ½", []string{"1", "2", " ", "½"}},
		{"not UTF-8", scanGPT2, "a\xff\xfeb", []string{"a", "\xff\xfe", "b"}},
		{"digit", scanDigit, "ab12c", []string{"ab", "1", "2", "c"}},
		{"digits", scanDigits, "12ab34", []string{"12", "ab", "34"}},
		{"before", scanBefore("aa"), "aaaxaaaa", []string{"aaax", "aa", "aa"}},
		{"after", scanAfter("aa"), "xaaaa", []string{"xaa", "aa"}},
		{"around", scanAround("aa"), "xaaay", []string{"x", "aa", "ay"}},
		{"metaspace", scanMetaspaceWords, "a▁▁b▁c▁", []string{"a", "▁▁b", "▁c", "▁"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for i := 0; i < len(c.text); {
				end := c.scan(c.text, i)
				got = append(got, c.text[i:end])
				i = end
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q cut into\n%q, want\n%q", c.text, got, c.want)
			}
		})
	}
}

func TestAddedTokens(t *testing.T) {
	text := byteLevelFile(t, func(file, _ map[string]any) {
		file["normalizer"] = map[string]any{"type": "NFC"}
		file["added_tokens"] = []any{
			map[string]any{"id": 300, "content": "<a>"},
			map[string]any{"id": 301, "content": "<a>b", "special": true},
			map[string]any{"id": 302, "content": "<l>", "lstrip": true, "special": true},
			map[string]any{"id": 303, "content": "<r>", "rstrip": true, "special": true},
			map[string]any{"id": 304, "content": "word", "single_word": true},
			map[string]any{"id": 305, "content": "e\u0301", "normalized": true},
			map[string]any{"id": 306, "content": ""},
		}
	})
	tok := mustParse(t, text)
	for _, c := range []struct {
		text string
		want []int32
	}{
		{"<a>", []int32{300}},
		{"<a>bc", []int32{301, 'c'}},
		{"x \t<l> y", []int32{'x', 302, ' ', 'y'}},
		{"x <r> \n y", []int32{'x', ' ', 303, 'y'}},
		{"<r>  <l>", []int32{303, 302}},
		{"word", []int32{304}},
		{"(word)", []int32{'(', 304, ')'}},
		{"swords_word", []int32{'s', 'w', 'o', 'r', 'd', 's', '_', 'w', 'o', 'r', 'd'}},
		{"\u00e9", []int32{305}}, // sought in the normalized text
		{"e\u0301", []int32{305}},
	} {
		if got := tok.Encode(c.text); !slices.Equal(got, c.want) {
			t.Errorf("Encode(%q) = %v, want %v", c.text, got, c.want)
		}
	}
	if !tok.IsSpecial(301) || tok.IsSpecial(300) || tok.IsSpecial('a') {
		t.Error("IsSpecial does not follow the file")
	}
}

// TestMetaspaceSplits checks that cutting a text before metaspaces changes nothing, and that it is not done where a
// merge joins across.
func TestMetaspaceSplits(t *testing.T) {
	vocab := map[string]any{metaspace: 0, "a": 1, "b": 2, metaspace + "a": 3, metaspace + metaspace: 4, "<unk>": 5}
	file := func(merges ...any) string {
		return byteLevelFile(t, func(file, model map[string]any) {
			file["pre_tokenizer"], file["added_tokens"] = nil, nil
			file["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{
				map[string]any{"type": "Prepend", "prepend": metaspace}, replace(" ", metaspace),
			}}
			model["vocab"], model["merges"], model["unk_token"] = vocab, merges, "<unk>"
		})
	}
	const text = "a  b?! a"
	plain := mustParse(t, file([]any{metaspace, metaspace}, []any{metaspace, "a"}))
	if len(plain.pre.steps) != 1 {
		t.Error("the text is not cut")
	}
	want := []int32{3, 4, 2, 5, 5, 3}
	if got := plain.Encode(text); !slices.Equal(got, want) {
		t.Errorf("cut: %v, want %v", got, want)
	}
	plain.pre.steps = nil
	if got := plain.Encode(text); !slices.Equal(got, want) {
		t.Errorf("whole: %v, want %v", got, want)
	}
	vocab["a"+metaspace] = 6
	if crossing := mustParse(t, file([]any{"a", metaspace})); len(crossing.pre.steps) != 0 {
		t.Error("the text is cut although a merge joins across")
	}
}

func TestLossyString(t *testing.T) {
	for in, want := range map[string]string{
		"plain é":              "plain é",
		"a\xffb":               "a\uFFFDb",
		"\xf0\x9f\x98":         "\uFFFD",       // one truncated character
		"\xf0\x9f\x98\xe4":     "\uFFFD\uFFFD", // two of them
		"\xe0\x80\x80":         "\uFFFD\uFFFD\uFFFD",
		"\xed\xa0\x80":         "\uFFFD\uFFFD\uFFFD", // a surrogate
		"\xf4\x90x":            "\uFFFD\uFFFDx",
		"\xc3\xc3\xa9":         "\uFFFDé",
		"\xf0\x9f\x98\x80\x80": "😀\uFFFD",
	} {
		if got := lossyString([]byte(in)); got != want {
			t.Errorf("lossyString(%q) = %+q, want %+q", in, got, want)
		}
	}
}

// TestLongMarks is about runs of combining marks, into which package norm inserts U+034F.
func TestLongMarks(t *testing.T) {
	nfc, marks := unicodeForms["NFC"], strings.Repeat("\u0301", 70)
	for in, want := range map[string]string{
		"e" + marks:                               "é" + marks[2:],
		"a" + strings.Repeat("\u0307\u0323", 20):  "\u1ea1" + strings.Repeat("\u0323", 19) + strings.Repeat("\u0307", 20),
		"\u1100\u1161\u11a8" + marks + "e\u0301x": "각" + marks + "éx",
		"\u034f" + marks:                          "\u034f" + marks,
	} {
		if got := nfc.normalize(in); got != want {
			t.Errorf("NFC of %+q\n got %+q\nwant %+q", in, got, want)
		}
	}
	for _, in := range []string{"", "naïve", "e\u0301\u0323", "ﬁ", "한국어", "\u0958\u1e9b\u0323"} {
		for name, form := range unicodeForms {
			if got, want := form.normalizeSlowly(in), form.form.String(in); got != want {
				t.Errorf("%s of %+q slowly: %+q, want %+q", name, in, got, want)
			}
		}
	}
}
