package data

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"shira/internal/fault"
)

// field is a set of the fields that give a row its meaning, a bit each.
type field uint16

const (
	fieldText field = 1 << iota
	fieldPrompt
	fieldCompletion
	fieldInstruction
	fieldInput
	fieldOutput
	fieldSystem
	fieldMessages
	fieldConversations
	fieldTools
	fieldInputIDs
	fieldLabels
	fieldHistory // of rows that are not trained on, as the next two
	fieldChosen
	fieldRejected
)

// fieldNames are the fields' names, in the order of their bits.
var fieldNames = []string{"text", "prompt", "completion", "instruction", "input", "output", "system", "messages", "conversations",
	"tools", "input_ids", "labels", "history", "chosen", "rejected"}

// Fields lists the names that File.Columns may map: those of fields, and of what a message of a conversation has.
var Fields = append(fieldNames[:len(fieldNames)-3:len(fieldNames)-3], roleName, contentName)

const (
	roleName    = "role"
	contentName = "content"
)

// free are fields that say nothing about a row's kind: other kinds of rows may have them for other purposes.
const free = fieldInput | fieldSystem | fieldTools | fieldHistory

func (f field) index() int { return bits.TrailingZeros16(uint16(f)) }

// schema is how the rows of a file are read.
type schema struct {
	names [16]string // of fields in the file, by index
	kind  int        // of all rows, -1 = as their fields say
	known field      // fields that are looked for
	role  string     // of messages; "" = role, or from
	text  string     // likewise content, or value
}

func newSchema(f *File) *schema {
	s := &schema{kind: -1, known: 1<<len(fieldNames) - 1, role: f.Columns[roleName], text: f.Columns[contentName]}
	copy(s.names[:], fieldNames)
	if f.Type != "" {
		s.kind = typeIndex(f.Type)
		s.known = rowTypes[s.kind].required | rowTypes[s.kind].optional
	}
	for i, name := range fieldNames {
		column := f.Columns[name]
		if name == "conversations" && column == "" && s.kind == shareGPTKind {
			column = f.Columns["messages"]
		}
		if column == "" {
			continue
		}
		if j := slices.Index(fieldNames, column); j >= 0 && j != i && f.Columns[column] == "" {
			s.known &^= 1 << j // the usual meaning of that name
		}
		s.names[i] = column
	}
	return s
}

// find returns the field of that name in the file, 0 if none.
func (s *schema) find(name []byte) field {
	for i, have := range s.names {
		if have == string(name) && s.known&(1<<i) != 0 {
			return 1 << i
		}
	}
	return 0
}

// name is the field's name in the file, quoted.
func (s *schema) name(f field) string { return fault.Quote(s.names[f.index()]) }

// list names the set's fields, quoted.
func (s *schema) list(f field) string {
	var names []string
	for i, name := range s.names {
		if f&(1<<i) != 0 {
			names = append(names, fault.Quote(name))
		}
	}
	return strings.Join(names, ", ")
}

// row is a parsed row: where the values of its fields stand. It is used for one row after the other.
type row struct {
	*schema
	has     field
	line    []byte
	at      [16]int // of each field's value in line
	unknown nameSet
	ids     []int32 // reused
	labels  []int32
}

// parse reads one row. It must be one JSON object; fields other than the known ones may hold anything.
func (r *row) parse(line []byte) error {
	r.has, r.line = 0, line
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

// field notes the value of one field of the row.
func (r *row) field(s *scanner, name []byte) error {
	f := r.find(name)
	if f == 0 {
		if !r.unknown.add(name) {
			return fmt.Errorf("duplicate field %s", fault.Quote(string(name)))
		}
		return s.skip(2)
	}
	if r.has&f != 0 {
		return fmt.Errorf("duplicate field %s", fault.Quote(string(name)))
	}
	r.has |= f
	r.at[f.index()] = s.i
	return s.skip(2)
}

// resolve returns the row's kind, or an error when its fields are of none or of several.
func (r *row) resolve() (int, error) {
	if r.schema.kind >= 0 {
		if missing := rowTypes[r.schema.kind].required &^ r.has; missing != 0 {
			return 0, fmt.Errorf("no %s: the row has %s", r.list(missing), r.fields())
		}
		return r.schema.kind, nil
	}
	has := r.has &^ free
	if has&(fieldChosen|fieldRejected) == fieldChosen|fieldRejected {
		return 0, fault.New(fault.Malformed, "", "a pair of preferences: %s; such rows are not trained on", r.list(r.has)).
			WithHint("type in datasets, or --type, names something else in the rows to train on")
	}
	for i, t := range rowTypes {
		if has&^t.optional == t.required {
			return i, nil
		}
	}
	if has == 0 {
		return 0, fault.New(fault.Malformed, "", "nothing to train on: the row has %s", r.fields()).
			WithHint(`want "text"; "prompt" and "completion"; "instruction" and "output"; "messages"; "conversations"; or "input_ids"; ` +
				"or say what they are called: field_… in datasets, or --field")
	}
	for _, t := range rowTypes {
		if part := has & t.required; part == has && bits.OnesCount16(uint16(t.required)) > 1 {
			return 0, fmt.Errorf("%s without %s", r.list(part), r.list(t.required&^part))
		}
	}
	if has == fieldLabels {
		return 0, fmt.Errorf("%s without %s", r.list(has), r.name(fieldInputIDs))
	}
	return 0, fault.New(fault.Malformed, "", "fields of different kinds of rows: %s", r.list(has)).
		WithHint("say which kind they are, by type in datasets or --type: one of %s", strings.Join(Types(), ", "))
}

// fields lists what the row has for a message.
func (r *row) fields() string {
	if r.has == 0 {
		return r.unknown.String()
	}
	s := r.list(r.has)
	if len(r.unknown.few) > 0 {
		s += ", " + r.unknown.String()
	}
	return s
}

// value returns a scanner at the value of a field that the row has.
func (r *row) value(f field) *scanner { return &scanner{b: r.line, i: r.at[f.index()]} }

// text returns a field that must be a string. Where the row lacks it, or it is null and may be missing, it is "".
func (r *row) text(f field) (string, error) {
	if r.has&f == 0 {
		return "", nil
	}
	s := r.value(f)
	if s.peek() != '"' {
		if f&(fieldInput|fieldSystem) != 0 && s.peek() == 'n' {
			return "", nil
		}
		return "", s.wrongType(r.name(f), "a string")
	}
	b, err := s.text()
	return string(b), err
}

// ints appends an array of 32-bit integers to dst.
func (r *row) ints(f field, dst []int32) ([]int32, error) {
	s := r.value(f)
	if s.peek() != '[' {
		return dst, s.wrongType(r.name(f), "an array of integers")
	}
	err := s.list('[', ']', func(n int) error {
		if c := s.peek(); c != '-' && (c < '0' || c > '9') {
			return s.wrongType(fmt.Sprintf("%s[%d]", r.name(f), n), "an integer")
		}
		text, err := s.number()
		if err != nil {
			return err
		}
		v, ok := parseInt32(text)
		if !ok {
			return fmt.Errorf("%s[%d] is not a 32-bit integer: %s", r.name(f), n, fault.Quote(string(text)))
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
