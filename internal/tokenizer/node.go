package tokenizer

import (
	"fmt"
	"strconv"
	"strings"

	"shira/internal/fault"
)

// report collects what is wrong with a tokenizer file, so that one error names all of it.
type report struct {
	malformed   []string
	unsupported []string
}

func (r *report) malformedf(format string, args ...any) {
	r.malformed = append(r.malformed, fmt.Sprintf(format, args...))
}

func (r *report) unsupportedf(format string, args ...any) {
	r.unsupported = append(r.unsupported, fmt.Sprintf(format, args...))
}

// err returns nil when nothing was reported. A file that breaks its format is not also judged for what it asks.
func (r *report) err(path string) error {
	switch {
	case len(r.malformed) > 0:
		return fault.New(fault.Malformed, path, "%s", enumerate(r.malformed))
	case len(r.unsupported) > 0:
		return fault.New(fault.Incompatible, path, "unsupported tokenizer: %s", enumerate(r.unsupported)).
			WithHint("byte-level and byte-fallback BPE are supported (GPT-2, Llama, Mistral, Qwen, Gemma, RoBERTa)")
	}
	return nil
}

// enumerate joins at most five problems.
func enumerate(problems []string) string {
	const most = 5
	if len(problems) <= most {
		return strings.Join(problems, "; ")
	}
	return strings.Join(problems[:most], "; ") + fmt.Sprintf("; and %d more", len(problems)-most)
}

// node is a JSON value, where it stands, and where to report what is wrong with it. Its readers return zero values
// after reporting, so that a part of the file is read in one go.
type node struct {
	v      any
	at     string // for messages: pre_tokenizer.pretokenizers[1]
	report *report
}

func (n node) null() bool { return n.v == nil }

func (n node) wrong(want string) { n.report.malformedf("%s is not %s", n.at, want) }

// field returns a member of an object, a null node where it is absent.
func (n node) field(name string) node {
	m, ok := n.v.(map[string]any)
	if !ok && n.v != nil {
		n.wrong("an object")
	}
	return node{m[name], n.at + "." + name, n.report}
}

func (n node) items() []node {
	a, ok := n.v.([]any)
	if !ok {
		n.wrong("an array")
		return nil
	}
	nodes := make([]node, len(a))
	for i, v := range a {
		nodes[i] = node{v, n.at + "[" + strconv.Itoa(i) + "]", n.report}
	}
	return nodes
}

func (n node) str() string {
	s, ok := n.v.(string)
	if !ok {
		n.wrong("a string")
	}
	return s
}

// boolean returns def where the value is absent or null.
func (n node) boolean(def bool) bool {
	if n.v == nil {
		return def
	}
	b, ok := n.v.(bool)
	if !ok {
		n.wrong("true or false")
	}
	return b
}

func (n node) tokenID() int32 {
	lit, _ := n.v.(jsonNumber)
	id, ok := parseTokenID(string(lit))
	if !ok {
		n.wrong("a token id (an integer from 0 to " + strconv.Itoa(maxTokenID) + ")")
	}
	return id
}

// count reads a small non-negative integer.
func (n node) count() int {
	lit, _ := n.v.(jsonNumber)
	c, err := strconv.ParseUint(string(lit), 10, 31)
	if err != nil {
		n.wrong("a count")
	}
	return int(c)
}

// unsupportedType reports a part whose "type" this package does not know.
func (n node) unsupportedType() {
	n.report.unsupportedf("%s %s", n.at, fault.Quote(n.field("type").str()))
}

// pattern reads the {"String": …} pattern of Replace and Split; a regular expression is returned as the second value.
func (n node) pattern() (literal, regex string) {
	if re := n.field("Regex"); !re.null() {
		return "", re.str()
	}
	s := n.field("String").str()
	if s == "" && len(n.report.malformed) == 0 {
		n.wrong("a pattern that matches text")
	}
	return s, ""
}
