package data

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/jinja"
)

// Template turns conversations into texts. It is safe for concurrent use.
type Template struct {
	Name    string // where it comes from: a path, or the name of one that comes with the program
	jinja   *jinja.Template
	special [][2]string // names and texts of the tokenizer's special tokens, as bos_token
}

// templates are those that come with the program, by name.
var templates = map[string]string{
	"chatml": "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}" +
		"{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
}

// maxTemplateFile bounds the files that hold templates, in bytes; tokenizer_config.json may list many tokens.
const maxTemplateFile = 32 << 20

// OpenTemplate returns the chat template of the tokenizer in dir, nil where it has none; or the one that choice names: a
// file of Jinja, or the name of one that comes with the program. A template that cannot be parsed is a fault of kind
// Malformed.
func OpenTemplate(dir, choice string) (*Template, error) {
	t := &Template{}
	config, err := readConfig(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	var source string
	if choice == "" {
		source, err = t.find(dir, config)
	} else if text, ok := templates[choice]; ok {
		t.Name, source = choice, text
	} else {
		t.Name = choice
		source, err = readText(choice)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Environment, choice, "no such file, and no chat template of that name").
				WithHint("chat_template: chatml, or the path of a Jinja file; without it, that of the model")
		}
	}
	if err != nil || t.Name == "" {
		return nil, err
	}
	if t.jinja, err = jinja.Parse(source); err != nil {
		return nil, fault.Wrap(fault.Malformed, t.Name, err, "the chat template cannot be read")
	}
	t.special = specialTokens(config)
	if len(t.special) == 0 {
		more, err := readConfig(filepath.Join(dir, "special_tokens_map.json"))
		if err != nil {
			return nil, err
		}
		t.special = specialTokens(more)
	}
	return t, nil
}

// find takes the tokenizer's template from where transformers looks for it: chat_template.jinja, or else the
// configuration, where it may be the one named default of several.
func (t *Template) find(dir string, config *jinja.Dict) (string, error) {
	path := filepath.Join(dir, "chat_template.jinja")
	switch source, err := readText(path); {
	case err == nil:
		t.Name = path
		return source, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	path = filepath.Join(dir, "tokenizer_config.json")
	switch v, _ := config.Get("chat_template"); v := v.(type) {
	case nil:
		return "", nil
	case string:
		t.Name = path
		return v, nil
	case *jinja.List:
		for _, item := range v.Items {
			if d, ok := item.(*jinja.Dict); ok {
				name, _ := d.Get("name")
				if source, _ := d.Get("template"); name == "default" {
					if s, ok := source.(string); ok {
						t.Name = path
						return s, nil
					}
				}
			}
		}
	}
	return "", fault.New(fault.Malformed, path, "chat_template is neither a text nor a list with one named default")
}

// specialTokens returns the entries of a tokenizer's configuration that name special tokens.
func specialTokens(config *jinja.Dict) [][2]string {
	var tokens [][2]string
	for _, name := range []string{"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"} {
		v, _ := config.Get(name)
		if d, ok := v.(*jinja.Dict); ok {
			v, _ = d.Get("content")
		}
		if s, ok := v.(string); ok {
			tokens = append(tokens, [2]string{name, s})
		}
	}
	return tokens
}

// readConfig reads a JSON object from a file, an empty one where there is none.
func readConfig(path string) (*jinja.Dict, error) {
	text, err := readText(path)
	if errors.Is(err, fs.ErrNotExist) {
		return jinja.NewDict(), nil
	} else if err != nil {
		return nil, err
	}
	s := scanner{b: []byte(text)}
	v, err := s.jinja(1)
	if err == nil {
		if s.space(); s.i < len(s.b) {
			err = s.fail("%s after the end", s.found())
		}
	}
	if err != nil {
		return nil, fault.New(fault.Malformed, path, "%v", err)
	}
	d, ok := v.(*jinja.Dict)
	if !ok {
		return nil, fault.New(fault.Malformed, path, "not a JSON object")
	}
	return d, nil
}

// readText reads a text file of at most maxTemplateFile bytes.
func readText(path string) (string, error) {
	b, err := fsx.ReadFile(path, maxTemplateFile)
	if err != nil {
		return "", err
	}
	if invalidUTF8(b) >= 0 {
		return "", fault.New(fault.Malformed, path, "not UTF-8")
	}
	return strings.TrimPrefix(string(b), byteOrderMark), nil
}

// date is what strftime_now tells: one moment for all runs, since the same configuration must give the same result on every
// day. It is the day that the template of Llama 3.2 falls back to.
var date = time.Date(2024, 7, 26, 0, 0, 0, 0, time.UTC)

// render renders messages, with the start of the assistant's next turn after them where prompt says so.
func (t *Template) render(messages []any, tools any, prompt bool) (jinja.Result, error) {
	vars := jinja.NewDict()
	for _, s := range t.special {
		vars.Set(s[0], s[1])
	}
	vars.Set("messages", &jinja.List{Items: messages})
	vars.Set("tools", tools)
	vars.Set("documents", nil)
	vars.Set("add_generation_prompt", prompt)
	return t.jinja.Render(vars, date)
}

// marker is what ends a turn where that is meant as a token, as in <|im_end|> or [/INST].
var marker = regexp.MustCompile(`^(<[^<>\s]+>|\[/?[A-Z_]+\])`)

// UnknownTurnEnd returns the marker with which t ends an assistant's turn where tok has no token for it, else "".
func (t *Template) UnknownTurnEnd(tok Tokenizer) string {
	const answer = "Answer"
	var messages []any
	for _, m := range [][2]string{{"user", "Question"}, {"assistant", answer}} {
		d := jinja.NewDict()
		d.Set("role", m[0])
		d.Set("content", m[1])
		messages = append(messages, d)
	}
	r, err := t.render(messages, nil, false)
	i := strings.LastIndex(r.Text, answer)
	if err != nil || i < 0 {
		return ""
	}
	mark := marker.FindString(strings.TrimSpace(r.Text[i+len(answer):]))
	if mark == "" || slices.ContainsFunc(tok.Encode(mark), func(id int32) bool { return strings.TrimSpace(tok.Decode([]int32{id})) == mark }) {
		return ""
	}
	return mark
}

// jinja reads one value as templates see them; depth is the number of brackets around it.
func (s *scanner) jinja(depth int) (any, error) {
	if depth > maxDepth {
		return nil, s.fail("nested deeper than %d", maxDepth)
	}
	s.space()
	switch c := s.peek(); {
	case c == '{':
		d := jinja.NewDict()
		err := s.object(func(name []byte) error {
			v, err := s.jinja(depth + 1)
			if err != nil {
				return err
			}
			n := d.Len()
			if d.Set(string(name), v); d.Len() == n {
				return s.fail("duplicate field %s", fault.Quote(string(name)))
			}
			return nil
		})
		return d, err
	case c == '[':
		l := &jinja.List{}
		err := s.list('[', ']', func(int) error {
			v, err := s.jinja(depth + 1)
			l.Items = append(l.Items, v)
			return err
		})
		return l, err
	case c == '"':
		b, err := s.text()
		return string(b), err
	case c == '-' || '0' <= c && c <= '9':
		text, err := s.number()
		if err != nil {
			return nil, err
		}
		return jinjaNumber(string(text)), nil
	}
	start := s.i
	if err := s.skip(depth); err != nil {
		return nil, err
	}
	return map[string]any{"true": true, "false": false}[string(s.b[start:s.i])], nil
}

// TemplateNames lists the templates that come with the program.
func TemplateNames() []string {
	names := make([]string, 0, len(templates))
	for name := range templates {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
