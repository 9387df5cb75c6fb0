package jinja

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// moment is the time that testdata/make.py renders at.
var moment = time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC)

// value reads JSON into a template's values, keys in order.
func value(t testing.TB, text string) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	v, err := decodeValue(dec)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func decodeValue(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok := tok.(type) {
	case json.Number:
		if i, err := tok.Int64(); err == nil {
			return i, nil
		}
		return tok.Float64()
	case json.Delim:
		if tok == '[' {
			l := &List{}
			for dec.More() {
				item, err := decodeValue(dec)
				if err != nil {
					return nil, err
				}
				l.Items = append(l.Items, item)
			}
			_, err = dec.Token()
			return l, err
		}
		d := NewDict()
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			item, err := decodeValue(dec)
			if err != nil {
				return nil, err
			}
			d.Set(key, item)
		}
		_, err = dec.Token()
		return d, err
	}
	return tok, nil
}

func readTest(t testing.TB, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// expected is what testdata/make.py wrote.
type expected struct {
	Renderings []struct {
		Template, Conversation string
		Prompt                 bool `json:"add_generation_prompt"`
		Text                   string
		Generated              []string
		Error                  string
	}
	Expressions []struct{ Source, Text, Error string }
}

func readExpected(t testing.TB) (e expected) {
	t.Helper()
	if err := json.Unmarshal([]byte(readTest(t, "expected.json")), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestTemplates renders the templates over the conversations as transformers does.
func TestTemplates(t *testing.T) {
	conversations := value(t, readTest(t, "conversations.json")).(*Dict)
	for _, want := range readExpected(t).Renderings {
		name := want.Template + "/" + want.Conversation
		if want.Prompt {
			name += "/prompt"
		}
		t.Run(name, func(t *testing.T) {
			tmpl, err := Parse(readTest(t, "templates", want.Template+".jinja"))
			if err != nil {
				t.Fatal(err)
			}
			conv, _ := conversations.Get(want.Conversation)
			messages, _ := conv.(*Dict).Get("messages")
			tools, _ := conv.(*Dict).Get("tools")
			vars := NewDict()
			for k, v := range map[string]any{"messages": messages, "tools": tools, "documents": nil, "add_generation_prompt": want.Prompt,
				"bos_token": "<s>", "eos_token": "</s>"} {
				vars.Set(k, v)
			}
			got, err := tmpl.Render(vars, moment)
			check(t, got.Text, err, want.Text, want.Error)
			var generated []string
			for _, r := range got.Generated {
				generated = append(generated, got.Text[r[0]:r[1]])
			}
			if err == nil && strings.Join(generated, "|") != strings.Join(want.Generated, "|") {
				t.Errorf("generated %q, want %q", generated, want.Generated)
			}
		})
	}
}

// check compares a rendering with Jinja's. What a template raises itself must be the same; other errors must be errors.
func check(t *testing.T, got string, err error, want, wantErr string) {
	t.Helper()
	switch {
	case wantErr == "" && err != nil:
		t.Errorf("error %v, want %q", err, want)
	case wantErr == "" && got != want:
		t.Errorf("got  %q\nwant %q", got, want)
	case wantErr != "" && err == nil:
		t.Errorf("got %q, want the error %q", got, wantErr)
	case wantErr != "":
		if e, ok := errors.AsType[*Error](err); !ok || e.Raised && e.Msg != wantErr {
			t.Errorf("error %v, want %q", err, wantErr)
		}
	}
}

// TestExpressions renders small templates as Jinja does.
func TestExpressions(t *testing.T) {
	vars := value(t, `{"s": "Hello, World", "u": "naïve 日本", "n": 7, "f": 2.5, "none": null, "l": [3, 1, 2], "d": {"b": 1, "a": "x"}, "e": [],
		"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}`).(*Dict)
	for _, want := range readExpected(t).Expressions {
		t.Run(want.Source, func(t *testing.T) {
			tmpl, err := Parse(want.Source)
			var r Result
			if err == nil {
				r, err = tmpl.Render(vars, moment)
			}
			check(t, r.Text, err, want.Text, want.Error)
		})
	}
}

// TestLimits renders what would never end, or fill the memory or the stack.
func TestLimits(t *testing.T) {
	for _, tt := range []struct{ name, source, want string }{
		{"loops", "{% for a in range(99999) %}{% for b in range(9) %}{% for c in '12345678' %}{% endfor %}{% endfor %}{% endfor %}", "steps"},
		{"doubling", "{% set ns = namespace(x='x' * 1000) %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "bytes"},
		{"doubling lists", "{% set ns = namespace(x=[1] * 1000) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", "bytes"},
		{"repeat", "{{ 'x' * 9999999999 }}", "bytes"},
		{"replace", "{{ ('a' * 100000).replace('a', 'b' * 100000) }}", "bytes"},
		{"output", "{% for a in range(99999) %}{{ 'x' * 10000 }}{% endfor %}", "bytes"},
		{"recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deep"},
		{"mutual recursion", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "deep"},
		{"nested lists", "{{ " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + " }}", "nested deeper"},
		{"nested minus", "{{ " + strings.Repeat("-", 100_000) + "1 }}", "nested deeper"},
		{"nested not", "{{ " + strings.Repeat("not ", 100_000) + "1 }}", "nested deeper"},
		{"long sum", "{{ 1" + strings.Repeat("+1", 100_000) + " }}", "nested deeper"},
		{"long chain", "{{ a" + strings.Repeat(".a", 100_000) + " }}", "nested deeper"},
		{"nested blocks", strings.Repeat("{% if a %}", 100_000), "nested deeper"},
		{"nested value", "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "nested deeper"},
		{"long", strings.Repeat(" ", maxSource+1), "longer than"},
		{"large slice", "{{ [1, 2][::9223372036854775807] }}{{ [1, 2][-9223372036854775807:9223372036854775807:-9223372036854775807] }}{{ range(1, 2, 9223372036854775807) | list }}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmpl, err := Parse(tt.source)
			if err == nil {
				_, err = tmpl.Render(NewDict(), moment)
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestRealTemplate renders that of a real tokenizer without an error.
func TestRealTemplate(t *testing.T) {
	b, err := os.ReadFile("../../../shared/data/tokenizers/qwen3/tokenizer_config.json")
	if err != nil {
		t.Skipf("no reference data: %v", err)
	}
	var config struct {
		Template string `json:"chat_template"`
	}
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	tmpl, err := Parse(config.Template)
	if err != nil {
		t.Fatal(err)
	}
	vars := value(t, `{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}`).(*Dict)
	got, err := tmpl.Render(vars, moment)
	if err != nil {
		t.Fatal(err)
	}
	const want = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n4<|im_end|>\n"
	if got.Text != want {
		t.Errorf("got  %q\nwant %q", got.Text, want)
	}
}

func FuzzRender(f *testing.F) {
	for _, e := range readExpected(f).Expressions {
		f.Add(e.Source)
	}
	files, err := filepath.Glob("testdata/templates/*.jinja")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		f.Add(readTest(f, "templates", filepath.Base(name)))
	}
	vars := value(f, `{"s": "Hello", "n": 7, "l": [3, 1, 2], "d": {"b": 1}, "messages": [{"role": "user", "content": "Hi"}]}`).(*Dict)
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := Parse(source)
		if err == nil {
			_, err = tmpl.Render(vars, moment)
		}
		if _, ok := errors.AsType[*Error](err); err != nil && !ok {
			t.Errorf("error of type %T: %v", err, err)
		}
	})
}
