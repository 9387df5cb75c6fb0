package data

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// turnTokens are special tokens that templates end turns with.
var turnTokens = []string{"<|im_start|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<s>"}

// turnTokenizer is a byteTokenizer that knows turnTokens.
type turnTokenizer struct{ byteTokenizer }

func (t turnTokenizer) Encode(text string) []int32 {
	var ids []int32
	for text != "" {
		at, which := len(text), -1
		for i, token := range turnTokens {
			if k := strings.Index(text, token); k >= 0 && k < at {
				at, which = k, i
			}
		}
		ids = append(ids, t.byteTokenizer.Encode(text[:at])...)
		text = text[at:]
		if which >= 0 {
			ids = append(ids, idCount+int32(which))
			text = text[len(turnTokens[which]):]
		}
	}
	return ids
}

func (t turnTokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id >= idCount {
			b.WriteString(turnTokens[id-idCount])
		} else {
			b.WriteString(decode([]int32{id}))
		}
	}
	return b.String()
}

func (t turnTokenizer) IsSpecial(id int32) bool {
	return id >= idCount || t.byteTokenizer.IsSpecial(id)
}
func (t turnTokenizer) VocabSize() int { return idCount + len(turnTokens) }

// testTemplate opens one of the templates that internal/jinja is tested with, as the chat template of a tokenizer.
func testTemplate(t testing.TB, name string) *Template {
	t.Helper()
	dir := t.TempDir()
	source, err := os.ReadFile(filepath.Join("..", "jinja", "testdata", "templates", name+".jinja"))
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		"chat_template.jinja":   string(source),
		"tokenizer_config.json": `{"bos_token": "<s>", "eos_token": {"content": "</s>"}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	template, err := OpenTemplate(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// countedTexts returns the stretches of an example that count.
func countedTexts(ex Example, tok Tokenizer) []string {
	var texts []string
	for _, p := range ex.Pieces(tok) {
		if p.Counts {
			texts = append(texts, p.Text)
		}
	}
	return texts
}

const twoTurns = `{"messages":[{"role":"user","content":"Where?"},{"role":"assistant","content":"Here."},` +
	`{"role":"user","content":"Why?"},{"role":"assistant","content":" So. "}]}`

// TestTurns checks which tokens of a conversation count: the assistant's, in every turn, to the end of the turn.
func TestTurns(t *testing.T) {
	withSystem := strings.Replace(twoTurns, `[{`, `[{"role":"system","content":"Be brief."},{`, 1)
	thoughts := `{"messages":[{"role":"user","content":"2+2?"},{"role":"assistant","content":"<think>\nadd\n</think>\n\n4"},` +
		`{"role":"user","content":"3+3?"},{"role":"assistant","content":"<think>\nsum\n</think>\n\n6"}]}`
	for _, tt := range []struct {
		template, row string
		want          []string
	}{
		{"chatml", twoTurns, []string{"Here.<|im_end|>", " So. <|im_end|>"}},
		{"chatml", withSystem, []string{"Here.<|im_end|>", " So. <|im_end|>"}},
		// The template ends a text without the newline that stands between turns.
		{"chatml-default-system", twoTurns, []string{"Here.<|im_end|>", "So.<|im_end|>"}},
		{"header", withSystem, []string{"Here.<|eot_id|>", "So.<|eot_id|>"}},
		{"turns", twoTurns, []string{"Here.<end_of_turn>", "So.<end_of_turn>"}},
		// No start of a turn is asked for: a turn starts with its content. The space before is in the token.
		{"inst-sys", withSystem, []string{" Here. </s>", " So. </s>"}},
		// The system message moves to the last message, so that no prefix of the conversation is one of the text.
		{"last-system", withSystem, []string{" Here.</s>", " So.</s>"}},
		{"last-system", twoTurns, []string{" Here.</s>", " So.</s>"}},
		// Earlier thoughts are left out; the last turn has its own.
		{"thinking", thoughts, []string{"4<|im_end|>", "<think>\nsum\n</think>\n\n6<|im_end|>"}},
		{"thinking", twoTurns, []string{"Here.<|im_end|>", "<think>\n\n</think>\n\n So. <|im_end|>"}},
		// The last turn ends by a token of its own.
		{"last-token", twoTurns, []string{"Here.<|im_end|>", " So. <|eot_id|>"}},
		// The start that is asked for has a thought, which is left out of the text.
		{"asks-thought", thoughts, []string{"\n\n4<|im_end|>", "\n\n6<|im_end|>"}},
		{"asks-thought", twoTurns, []string{"Here.<|im_end|>", " So. <|im_end|>"}},
		{"generation", withSystem, []string{"Here.</s>", " So. </s>"}},
		{"chatml", strings.Replace(twoTurns, `"Here."`, `"Here.","weight":0`, 1), []string{" So. <|im_end|>"}},
		{"chatml", strings.Replace(twoTurns, `"Here."`, `"Here.","train":false`, 1), []string{" So. <|im_end|>"}},
		{"generation", strings.Replace(twoTurns, `" So. "`, `" So. ","weight":0`, 1), []string{"Here.</s>"}},
		{"chatml", `{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"},{"from":"observation","value":"c"},{"from":"gpt","value":"d"}],"system":"s"}`,
			[]string{"b<|im_end|>", "d<|im_end|>"}},
		{"chatml", `{"messages":[{"role":"user","content":"a b"},{"role":"assistant","content":""}]}`, []string{"<|im_end|>"}},
		{"chatml", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":"b"}]}`, []string{"b<|im_end|>", "b<|im_end|>"}},
		{"chatml", `{"prompt":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}],"completion":[{"role":"assistant","content":"d"}]}`,
			[]string{"d<|im_end|>"}},
		{"header", `{"messages":[{"role":"user","content":"q","tool_calls":null},{"role":"assistant","content":"a","tool_calls":null}]}`, []string{"a<|eot_id|>"}},
		{"header", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},` +
			`{"role":"tool","content":"31"},{"role":"assistant","content":"ok"}],"tools":"[{\"name\":\"f\"}]"}`,
			[]string{`{"name": "f", "parameters": {"x": 1}}<|eot_id|>`, "ok<|eot_id|>"}},
	} {
		t.Run(tt.template, func(t *testing.T) {
			tok := turnTokenizer{}
			o := Options{Files: Files(write(t, tt.row)), Tokenizer: tok, Template: testTemplate(t, tt.template)}
			ex := mustLoad(t, o).Example(0)
			if got := countedTexts(ex, tok); !slices.Equal(got, tt.want) {
				t.Errorf("%s\nof %q\ncount %q, want %q", tt.row, tok.Decode(ex.IDs), got, tt.want)
			}
			o.TrainOnInputs = true
			if ex := mustLoad(t, o).Example(0); ex.Counted() != len(ex.IDs)-1 {
				t.Errorf("with train_on_inputs %d of %d tokens count", ex.Counted(), len(ex.IDs))
			}
		})
	}
}

// TestRealTurns masks a conversation with a real tokenizer and its template.
func TestRealTurns(t *testing.T) {
	tok := sharedTokenizer(t, "data", "tokenizers", "qwen3")
	template, err := OpenTemplate(sharedPath(t, "data", "tokenizers", "qwen3"), "")
	if err != nil {
		t.Fatal(err)
	}
	ex := mustLoad(t, Options{Files: Files(write(t, twoTurns)), Tokenizer: tok, Template: template}).Example(0)
	if got, want := countedTexts(ex, tok), []string{"Here.<|im_end|>", "<think>\n\n</think>\n\n So. <|im_end|>"}; !slices.Equal(got, want) {
		t.Errorf("%q count, want %q", got, want)
	}
}

func TestChatErrors(t *testing.T) {
	for _, tt := range []struct {
		template, row string
		kind          fault.Kind
		want          string
	}{
		{"", twoTurns, fault.Incompatible, ":1: a conversation, and the model has no chat template"},
		{"turns", `{"messages":[{"role":"system","content":"a"},{"role":"assistant","content":"b"}]}`, fault.Malformed, `:1: the chat template refuses the conversation: "System role not supported"`},
		{"chatml", `{"messages":[{"role":"user","content":null},{"role":"assistant","content":"b"}]}`, fault.Malformed, `:1: the chat template fails: template line 1: a string + None`},
		{"chatml", `{"prompt":[{"role":"user","content":"a"}],"completion":"b"}`, fault.Malformed, `:1: "completion" is a string, and not of JSON: invalid JSON at byte 1: expected a value, found 'b'`},
		{"chatml", `{"instruction":"a","output":"b","history":[["c","d"]]}`, fault.Malformed, `:1: "history": earlier turns of an instruction are not supported`},
		{"chatml", `{"messages":[]}`, fault.Malformed, `:1: "messages" is empty`},
		{"chatml", `{"messages":{}}`, fault.Malformed, `:1: "messages" is an object, not an array of messages`},
		{"chatml", `{"messages":"x"}`, fault.Malformed, `:1: "messages" is a string, and not of JSON: invalid JSON at byte 1: expected a value, found 'x'`},
		{"chatml", `{"messages":["a"]}`, fault.Malformed, `:1: "messages"[0]: a message must be an object`},
		{"chatml", `{"messages":[{"content":"a"}]}`, fault.Malformed, `:1: "messages"[0]: no role: want "from", a string`},
		{"chatml", `{"messages":[{"role":"user"}]}`, fault.Malformed, `:1: "messages"[0]: no content: want "value"`},
		{"chatml", `{"messages":[{"role":"user","content":{"a":1}}]}`, fault.Malformed, `:1: "messages"[0]: "content" is neither a string nor a list of parts`},
		{"chatml", `{"messages":[{"role":"user","content":"a"}]}`, fault.Malformed, ":1: no token to predict, here and in the whole file (rows: 1)"},
		{"chatml", `{"messages":[{"role":"user","role":"a","content":"a"}]}`, fault.Malformed, `:1: invalid JSON at byte 39: duplicate field "role"`},
		{"chatml", `{"messages":` + strings.Repeat(`[`, 100) + strings.Repeat("]", 100) + "}\n" + `{"messages":` + strings.Repeat(`[`, 10_000), fault.Malformed, `:1: "messages"[0]: a message must be an object; bad too: line 2`},
		{"chatml", `{"conversations":[{"from":"human","value":"a"}],"chosen":{},"rejected":{}}`, fault.Malformed, `:1: a pair of preferences: "conversations", "chosen", "rejected"; such rows are not trained on`},
	} {
		o := Options{Files: Files(write(t, tt.row)), Tokenizer: turnTokenizer{}}
		if tt.template != "" {
			o.Template = testTemplate(t, tt.template)
		}
		_, err := Load(context.Background(), o)
		if err == nil {
			t.Errorf("%s: no error", tt.row)
			continue
		}
		got := strings.TrimPrefix(err.Error(), o.Files[0].Path)
		if tt.template != "" {
			got, _, _ = strings.Cut(got, " ("+tt.template)
			got = strings.TrimSuffix(got, fmt.Sprintf(" (%s)", o.Template.Name))
		}
		if got != tt.want || fault.KindOf(err) != tt.kind {
			t.Errorf("%.80s\nerror %d %q\nwant  %d %q", tt.row, fault.KindOf(err), got, tt.kind, tt.want)
		}
	}
}

func TestOpenTemplate(t *testing.T) {
	for _, tt := range []struct {
		name, config, jinja, choice string
		kind                        fault.Kind // 0 = none
		want                        string     // part of the error, or what the template renders
	}{
		{name: "none"},
		{name: "in the configuration", config: `{"chat_template": "a{{ messages[0].content }}"}`, want: "aq"},
		{name: "one of several", config: `{"chat_template": [{"name": "rag", "template": "x"}, {"name": "default", "template": "b"}]}`, want: "b"},
		{name: "in a file", config: `{"chat_template": "a"}`, jinja: "c", want: "c"},
		{name: "special tokens", config: `{"chat_template": "{{ bos_token }}{{ eos_token }}", "bos_token": "<s>", "eos_token": {"content": "</s>"}}`, want: "<s></s>"},
		{name: "chosen by name", config: `{"chat_template": "a"}`, choice: "chatml", want: "<|im_start|>user\nq<|im_end|>\n"},
		{name: "chosen by path", choice: "../jinja/testdata/templates/turns.jinja", want: "<start_of_turn>user\nq<end_of_turn>\n"},
		{name: "chosen, not there", choice: "chatlm", kind: fault.Environment, want: "no such file, and no chat template of that name"},
		{name: "broken", config: `{"chat_template": "{% if"}`, kind: fault.Malformed, want: "the chat template cannot be read: template line 1"},
		{name: "of another type", config: `{"chat_template": 1}`, kind: fault.Malformed, want: "chat_template is neither a text nor a list"},
		{name: "not JSON", config: `{"chat`, kind: fault.Malformed, want: "invalid JSON"},
		{name: "not UTF-8", jinja: "\xff", kind: fault.Malformed, want: "not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range map[string]string{"tokenizer_config.json": tt.config, "chat_template.jinja": tt.jinja} {
				if content != "" {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			template, err := OpenTemplate(dir, tt.choice)
			switch {
			case tt.kind != 0:
				if err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != tt.kind {
					t.Errorf("error %v, want %d %q", err, tt.kind, tt.want)
				}
			case err != nil:
				t.Error(err)
			case tt.want == "":
				if template != nil {
					t.Errorf("a template from nowhere: %s", template.Name)
				}
			default:
				got, err := template.render([]any{message("user", "q")}, nil, false)
				if err != nil || got.Text != tt.want {
					t.Errorf("%q, %v, want %q", got.Text, err, tt.want)
				}
			}
		})
	}
}
