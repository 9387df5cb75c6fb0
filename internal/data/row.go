package data

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"shira/internal/fault"
)

// field is one of the field names that give a row its meaning. Values are bits, so that a row's fields are a set.
type field uint8

const (
	fieldText field = 1 << iota
	fieldPrompt
	fieldCompletion
	fieldInputIDs
	fieldLabels
)

// The kinds of rows: the sets of fields that go together. Labels are optional, so tokenKind stands for both forms.
const (
	textKind   = fieldText
	promptKind = fieldPrompt | fieldCompletion
	tokenKind  = fieldInputIDs
)

var fieldNames = []string{"text", "prompt", "completion", "input_ids", "labels"}

// String lists the names of the set's fields, quoted.
func (f field) String() string {
	var names []string
	for i, name := range fieldNames {
		if f&(1<<i) != 0 {
			names = append(names, `"`+name+`"`)
		}
	}
	return strings.Join(names, ", ")
}

// row is a parsed line. Its slices are reused from line to line.
type row struct {
	has                      field
	text, prompt, completion string
	inputIDs, labels         []int32
	unknown                  nameSet
}

// kind returns the row's kind, or an error when its fields are of none or of several.
func (r *row) kind() (field, error) {
	switch r.has {
	case textKind, promptKind, tokenKind:
		return r.has, nil
	case fieldInputIDs | fieldLabels:
		return tokenKind, nil
	case fieldPrompt:
		return 0, fmt.Errorf(`"prompt" without "completion"`)
	case fieldCompletion:
		return 0, fmt.Errorf(`"completion" without "prompt"`)
	case fieldLabels:
		return 0, fmt.Errorf(`"labels" without "input_ids"`)
	case 0:
		return 0, fmt.Errorf(`no "text", no "prompt" and "completion", no "input_ids": the row has %s`, r.unknown)
	}
	return 0, fmt.Errorf("fields of different kinds of rows: %s", r.has)
}

// parse reads one line into r. The line must be one JSON object; fields other than the known ones may hold anything.
func (r *row) parse(line []byte) error {
	r.has = 0
	r.unknown.reset()
	if at := invalidUTF8(line); at >= 0 {
		return fmt.Errorf("not UTF-8: byte %d is 0x%02x", at+1, line[at])
	}
	s := scanner{b: line}
	s.space()
	if s.peek() != '{' {
		return s.wrongType("the row", "an object").WithHint(oneObject)
	}
	if err := s.object(func(name []byte) error { return r.field(&s, name) }); err != nil {
		return err
	}
	if s.space(); s.i < len(line) {
		return s.fail("%s after the end of the row", s.found()).WithHint(oneObject)
	}
	return nil
}

// field reads the value of one field of the row.
func (r *row) field(s *scanner, name []byte) error {
	at := slices.Index(fieldNames, string(name))
	if at < 0 {
		if !r.unknown.add(name) {
			return fmt.Errorf("duplicate field %s", fault.Quote(string(name)))
		}
		return s.skip(2)
	}
	f := field(1 << at)
	if r.has&f != 0 {
		return fmt.Errorf("duplicate field %q", name)
	}
	r.has |= f
	var err error
	switch f {
	case fieldText:
		r.text, err = s.stringField(f)
	case fieldPrompt:
		r.prompt, err = s.stringField(f)
	case fieldCompletion:
		r.completion, err = s.stringField(f)
	case fieldInputIDs:
		r.inputIDs, err = s.intsField(f, r.inputIDs[:0])
	case fieldLabels:
		r.labels, err = s.intsField(f, r.labels[:0])
	}
	return err
}

func (s *scanner) stringField(f field) (string, error) {
	if s.peek() != '"' {
		return "", s.wrongType(f.String(), "a string")
	}
	b, err := s.text()
	return string(b), err
}

// intsField appends an array of 32-bit integers to dst.
func (s *scanner) intsField(f field, dst []int32) ([]int32, error) {
	if s.peek() != '[' {
		return dst, s.wrongType(f.String(), "an array of integers")
	}
	err := s.list('[', ']', func(n int) error {
		if c := s.peek(); c != '-' && (c < '0' || c > '9') {
			return s.wrongType(fmt.Sprintf("%v[%d]", f, n), "an integer")
		}
		text, err := s.number()
		if err != nil {
			return err
		}
		v, ok := parseInt32(text)
		if !ok {
			return fmt.Errorf("%v[%d] is not a 32-bit integer: %s", f, n, fault.Quote(string(text)))
		}
		dst = append(dst, v)
		return nil
	})
	return dst, err
}

// wrongType says that the value the scanner stands at, if it is one at all, is not what it should be.
func (s *scanner) wrongType(what, want string) *fault.Error {
	var is string
	rest := s.b[s.i:]
	switch c := s.peek(); {
	case c == '{':
		is = "an object"
	case c == '[':
		is = "an array"
	case c == '"':
		is = "a string"
	case c == '-' || '0' <= c && c <= '9':
		is = "a number"
	case bytes.HasPrefix(rest, []byte("null")):
		is = "null"
	case bytes.HasPrefix(rest, []byte("true")), bytes.HasPrefix(rest, []byte("false")):
		is = "a boolean"
	default:
		return s.fail("expected %s, found %s", want, s.found())
	}
	return fault.New(fault.Malformed, "", "%s is %s, not %s", what, is, want)
}

// invalidUTF8 returns the index of the first byte that is not UTF-8, or -1.
func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// nameSet is a set of field names. Real rows have a few, a hostile one millions: the list serves the former, the map
// the latter.
type nameSet struct {
	few  [][]byte
	many map[string]struct{}
}

const fewNames = 16

func (n *nameSet) reset() {
	n.few, n.many = n.few[:0], nil
}

// add reports whether name was not in the set. It keeps name.
func (n *nameSet) add(name []byte) bool {
	for _, have := range n.few {
		if bytes.Equal(have, name) {
			return false
		}
	}
	if len(n.few) < fewNames {
		n.few = append(n.few, name)
		return true
	}
	if _, ok := n.many[string(name)]; ok {
		return false
	}
	if n.many == nil {
		n.many = make(map[string]struct{})
	}
	n.many[string(name)] = struct{}{}
	return true
}

// String lists the first names for a message.
func (n nameSet) String() string {
	const shown = 6
	var names []string
	for _, name := range n.few[:min(shown, len(n.few))] {
		names = append(names, fault.Quote(string(name)))
	}
	switch {
	case len(names) == 0:
		return "no fields"
	case len(n.few) > shown:
		return strings.Join(names, ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
