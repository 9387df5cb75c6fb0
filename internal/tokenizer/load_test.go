package tokenizer

import (
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/fault"
)

func TestMalformed(t *testing.T) {
	valid := byteLevelFile(t, nil)
	with := func(change func(file, model map[string]any)) string { return byteLevelFile(t, change) }
	added := func(tokens ...map[string]any) string {
		return with(func(file, _ map[string]any) { file["added_tokens"] = tokens })
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":                 {"", "the file ends"},
		"not an object":         {"[]", "where '{' is expected"},
		"truncated":             {valid[:len(valid)/2], "the file ends"},
		"trailing text":         {valid + "{}", "after the end"},
		"duplicate key":         {`{"model":{},"model":{}}`, `duplicate key "model"`},
		"duplicate inner key":   {`{"decoder":{"type":"Fuse","type":"Fuse"}}`, `duplicate key "type"`},
		"deep":                  {`{"x":` + strings.Repeat("[", 1<<20), "nested more than"},
		"deep in the model":     {`{"model":{"merges":` + strings.Repeat("[", 1<<20), "nested more than"},
		"deep sequences":        {`{"decoder":` + strings.Repeat(`{"type":"Sequence","decoders":[`, 1<<16), "nested more than"},
		"bad literal":           {`{"x":nul}`, "not a JSON value"},
		"leading zero":          {`{"model":{"vocab":{"a":01}}}`, "where '}' is expected"},
		"lone surrogate":        {`{"model":{"vocab":{"\ud800":1}}}`, "lone surrogate"},
		"unknown escape":        {`{"\x":1}`, "unknown escape"},
		"control character":     {"{\"a\nb\":1}", "control character"},
		"no model":              {`{}`, "model is missing"},
		"no merges":             {`{"model":{"type":"BPE","vocab":{}}}`, "without a vocabulary and merges"},
		"negative id":           {`{"model":{"vocab":{"a":-1}}}`, "token id -1 is not an integer"},
		"fractional id":         {`{"model":{"vocab":{"a":1.0}}}`, "token id 1.0"},
		"huge id":               {`{"model":{"vocab":{"a":4294967295}}}`, "token id 4294967295"},
		"duplicate id":          {`{"model":{"vocab":{"a":1,"b":1},"merges":[]}}`, `"a" and "b" have the same id 1`},
		"duplicate token":       {`{"model":{"vocab":{"a":1,"a":2},"merges":[]}}`, `"a" is given twice`},
		"merge of unknown":      {`{"model":{"vocab":{"a":1},"merges":["a b"]}}`, `merge of "a" and "b"`},
		"merge into unknown":    {`{"model":{"vocab":{"a":1,"b":2},"merges":[["a","b"]]}}`, `merge of "a" and "b"`},
		"merge of one":          {`{"model":{"vocab":{"a":1},"merges":["a"]}}`, "not two tokens"},
		"merge of three":        {`{"model":{"vocab":{"a":1},"merges":["a a a"]}}`, "not two tokens"},
		"merge triple":          {`{"model":{"vocab":{"a":1},"merges":[["a","a","a"]]}}`, "where ']' is expected"},
		"merges before vocab":   {`{"model":{"merges":["a b"],"vocab":{"a":1}}}`, `merge of "a" and "b"`},
		"unknown unk_token":     {with(func(_, m map[string]any) { m["unk_token"] = "<unk>" }), `"<unk>" is not in the vocabulary`},
		"wrong type":            {with(func(_, m map[string]any) { m["fuse_unk"] = "yes" }), "model.fuse_unk is not true or false"},
		"added id of another":   {added(map[string]any{"id": 65, "content": "<s>"}), `has the id 65 of token "A"`},
		"added id differs":      {added(map[string]any{"id": 400, "content": "A"}), "has id 400, but 65"},
		"added twice":           {added(map[string]any{"id": 300, "content": "<s>"}, map[string]any{"id": 300, "content": "<t>"}), "given twice"},
		"added without id":      {added(map[string]any{"content": "<s>"}), "added_tokens[0].id is not a token id"},
		"added too long":        {added(map[string]any{"id": 300, "content": strings.Repeat("x", 2000)}), "2000 bytes"},
		"component not object":  {with(func(f, _ map[string]any) { f["decoder"] = "ByteLevel" }), "decoder is not an object"},
		"component of no type":  {with(func(f, _ map[string]any) { f["decoder"] = map[string]any{} }), "decoder.type is not a string"},
		"template of no token":  {with(func(f, _ map[string]any) { f["post_processor"] = template1(999, "Q") }), "token id 999"},
		"template of no entry":  {with(func(f, _ map[string]any) { f["post_processor"] = template1(65, "R") }), `special token "R"`},
		"empty replace pattern": {with(func(f, _ map[string]any) { f["normalizer"] = replace("", "x") }), "a pattern that matches text"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("dir/tokenizer.json", c.text)
			if fault.KindOf(err) != fault.Malformed || !strings.HasPrefix(err.Error(), "dir/tokenizer.json: ") {
				t.Fatalf("%v, want a malformed file named", err)
			}
			if !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
				t.Errorf("%v, want %q in one short line", err, c.want)
			}
		})
	}
}

func template1(id int, used string) map[string]any {
	return map[string]any{
		"type": "TemplateProcessing",
		"single": []any{
			map[string]any{"SpecialToken": map[string]any{"id": used, "type_id": 0}},
			map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}},
		},
		"special_tokens": map[string]any{"Q": map[string]any{"id": "Q", "ids": []any{id}}},
	}
}

func replace(old, content string) map[string]any {
	return map[string]any{"type": "Replace", "pattern": map[string]any{"String": old}, "content": content}
}

func TestUnsupported(t *testing.T) {
	set := func(key string, v any) func(file, model map[string]any) {
		return func(file, _ map[string]any) { file[key] = v }
	}
	model := func(key string, v any) func(file, model map[string]any) {
		return func(_, model map[string]any) { model[key] = v }
	}
	split := func(regex, behavior string) map[string]any {
		return map[string]any{"type": "Split", "pattern": map[string]any{"Regex": regex}, "behavior": behavior}
	}
	grow := make([]any, 8)
	for i := range grow {
		grow[i] = replace("a", "aa")
	}
	for name, c := range map[string]struct {
		change func(file, model map[string]any)
		want   []string
	}{
		"model":      {model("type", "WordPiece"), []string{`model "WordPiece"`}},
		"dropout":    {model("dropout", 0.1), []string{"model.dropout"}},
		"prefix":     {model("continuing_subword_prefix", "##"), []string{"continuing_subword_prefix"}},
		"suffix":     {model("end_of_word_suffix", "</w>"), []string{"end_of_word_suffix"}},
		"version":    {set("version", "2.0"), []string{`version "2.0"`}},
		"pattern":    {set("pre_tokenizer", split(`\w+|\s+`, "Isolated")), []string{"pre_tokenizer by the regular expression", `\\w+`}},
		"behavior":   {set("pre_tokenizer", split(`\w+`, "Removed")), []string{`behavior "Removed"`}},
		"replace":    {set("normalizer", map[string]any{"type": "Replace", "pattern": map[string]any{"Regex": " +"}, "content": " "}), []string{"regular expression"}},
		"growth":     {set("normalizer", map[string]any{"type": "Sequence", "normalizers": grow}), []string{"lengthens"}},
		"many parts": {set("normalizer", map[string]any{"type": "Sequence", "normalizers": make20(map[string]any{"type": "NFC"})}), []string{"20 parts"}},
		"post":       {set("post_processor", map[string]any{"type": "New"}), []string{`post_processor "New"`}},
		"all at once": {func(f, m map[string]any) {
			f["normalizer"], f["decoder"], m["type"] = map[string]any{"type": "Lowercase"}, map[string]any{"type": "CTC"}, "Unigram"
		}, []string{"Unigram", "Lowercase", "CTC"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("tokenizer.json", byteLevelFile(t, c.change))
			if fault.KindOf(err) != fault.Incompatible {
				t.Fatalf("%v, want it refused as incompatible", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
		})
	}
}

func make20(v any) []any {
	list := make([]any, 20)
	for i := range list {
		list[i] = v
	}
	return list
}

func TestLoadFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "absent")); fault.KindOf(err) != fault.Environment {
		t.Errorf("absent path: %v", err)
	}
	if _, err := Load(dir); fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), fileName) {
		t.Errorf("directory without a tokenizer: %v", err)
	}
	for text, hint := range map[string]string{"version https://git-lfs.github.com/spec/v1\n": "run git lfs pull", "{\"\xff\":1}": ""} {
		write(t, dir, fileName, text)
		if _, err := Load(dir); fault.KindOf(err) != fault.Malformed || fault.HintOf(err) != hint {
			t.Errorf("%q: %v (hint %q)", text, err, fault.HintOf(err))
		}
	}
	if _, err := Load("/dev/null"); fault.KindOf(err) != fault.Malformed {
		t.Errorf("device: %v", err)
	}
}
