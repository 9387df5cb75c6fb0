package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"shira/internal/fault"
)

// scalar is a value before its key gives it a type: one text, or a list of them.
type scalar struct {
	text   string
	quoted bool // it stood in quotes, so that it is neither number, bool nor null
	null   bool
	list   []scalar
	isList bool
	// named are the values of a mapping of names to values, by name.
	named map[string]scalar
	node  *yaml.Node // of a key that lists datasets, the value as it stands
}

// textScalar returns the value of a flag or variable: the text as it is, without quotes and escapes.
func textScalar(text string) scalar { return scalar{text: text, null: text == ""} }

// nodeScalar returns the value of a YAML node, or says why it is none.
func nodeScalar(n *yaml.Node) (scalar, string) {
	n = follow(n)
	switch n.Kind {
	case yaml.ScalarNode:
		return textOf(n), ""
	case yaml.SequenceNode:
		s := scalar{isList: true, list: make([]scalar, len(n.Content))}
		for i, item := range n.Content {
			// Lists in lists are refused unseen, so that aliases cannot multiply.
			if item = follow(item); item.Kind != yaml.ScalarNode {
				return scalar{}, "want a list of names"
			}
			s.list[i] = textOf(item)
		}
		return s, ""
	case yaml.MappingNode:
		s := scalar{named: map[string]scalar{}}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, item := follow(n.Content[i]), follow(n.Content[i+1])
			if key.Kind != yaml.ScalarNode || item.Kind != yaml.ScalarNode {
				return scalar{}, "want a mapping of names to values"
			}
			if _, ok := s.named[key.Value]; ok {
				return scalar{}, fmt.Sprintf("has %s twice", fault.Quote(key.Value))
			}
			s.named[key.Value] = textOf(item)
		}
		return s, ""
	}
	return scalar{}, "want a value"
}

// follow returns what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias // never an alias itself: an anchor is on a value
	}
	return n
}

func textOf(n *yaml.Node) scalar {
	const quotes = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	quoted := n.Style&quotes != 0 || n.Tag == "!!str" && n.Style&yaml.TaggedStyle != 0
	null := !quoted && slices.Contains([]string{"", "~", "null", "Null", "NULL"}, n.Value)
	if null {
		return scalar{null: true}
	}
	return scalar{text: n.Value, quoted: quoted}
}

// The forms of numbers are those of YAML 1.2's core schema and of JSON, and no others: no 0x10, 1_000 or nan.
var (
	integer = regexp.MustCompile(`^[+-]?[0-9]+$`)
	decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
)

// decode puts the value into the key's field of t, or says why it cannot.
func (k *Key) decode(t *Train, s scalar) string {
	field := k.field(t)
	if list, ok := field.(*[]string); ok {
		if s.named != nil {
			return "want a list of names, got a mapping"
		}
		*list = s.names()
		return ""
	}
	if list, ok := field.(*[]int); ok {
		return s.wholes(list)
	}
	if list, ok := field.(*[]Dataset); ok {
		var msg string
		*list, msg = s.datasets()
		return msg
	}
	if m, ok := field.(*map[string]string); ok {
		var msg string
		*m, msg = s.mapping("num_cycles: 3")
		return msg
	}
	if m, ok := field.(*map[string]float64); ok {
		var msg string
		*m, msg = s.numbers()
		return msg
	}
	switch {
	case s.isList:
		return fmt.Sprintf("want %s, got a list", describe(field))
	case s.named != nil:
		return fmt.Sprintf("want %s, got a mapping", describe(field))
	}
	if v, ok := field.(*string); ok {
		*v = s.text
		return ""
	}
	if s.quoted {
		return fmt.Sprintf("want %s, got the text %s: remove the quotes", describe(field), fault.Quote(s.text))
	}
	switch err := parse(field, s.text); {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Sprintf("the number %s is out of range", fault.Quote(s.text))
	case err != nil:
		return fmt.Sprintf("want %s, got %s", describe(field), fault.Quote(s.text))
	}
	return ""
}

// parse reads text into the number or bool at field.
func parse(field any, text string) (err error) {
	switch v := field.(type) {
	case *bool:
		switch text {
		case "true", "True", "TRUE":
			*v = true
		case "false", "False", "FALSE":
			*v = false
		default:
			return strconv.ErrSyntax
		}
	case *int:
		if !integer.MatchString(text) {
			return strconv.ErrSyntax
		}
		*v, err = strconv.Atoi(text)
	case **int:
		*v = new(int)
		return parse(*v, text)
	case *uint64:
		if !integer.MatchString(text) {
			return strconv.ErrSyntax
		}
		*v, err = strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 64)
	case *float64:
		if !decimal.MatchString(text) {
			return strconv.ErrSyntax
		}
		*v, err = strconv.ParseFloat(text, 64) // 1e999 is an error
	}
	return err
}

func describe(field any) string {
	switch field.(type) {
	case *bool:
		return "true or false"
	case *int, **int:
		return "a whole number"
	case *uint64:
		return "a whole number from 0 to 2^64-1"
	case *float64:
		return "a number"
	}
	return "a text"
}

// names returns the items of a list. A single text is a list with commas, as a flag or variable gives it.
func (s scalar) names() []string {
	if s.isList {
		names := make([]string, len(s.list))
		for i, item := range s.list {
			names[i] = item.text
		}
		return names
	}
	text := strings.TrimSpace(s.text)
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		text = strings.TrimSpace(text[1 : len(text)-1])
	}
	if text == "" {
		return nil
	}
	names := splitOutside(text)
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return names
}

// splitOutside splits a text at the commas that are in no brackets, as those of a regular expression may be.
func splitOutside(text string) []string {
	var parts []string
	start, depth := 0, 0
	for i, c := range text {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ',':
			if depth <= 0 {
				parts = append(parts, text[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, text[start:])
}

// wholes reads a list of whole numbers, or one.
func (s scalar) wholes(list *[]int) string {
	const want = "want whole numbers from 0"
	if s.named != nil {
		return want + ", got a mapping"
	}
	*list = nil
	for _, name := range s.names() {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 || !integer.MatchString(name) {
			return fmt.Sprintf("%s, got %s", want, fault.Quote(name))
		}
		*list = append(*list, n)
	}
	return ""
}

// numbers returns the values of a mapping of numbers.
func (s scalar) numbers() (map[string]float64, string) {
	texts, msg := s.mapping("q_proj: 0.02")
	if msg != "" {
		return nil, msg
	}
	m := map[string]float64{}
	for name, text := range texts {
		var v float64
		if s.named[name].quoted || parse(&v, text) != nil {
			return nil, fmt.Sprintf("%s: want a number, got %s", fault.Quote(name), fault.Quote(text))
		}
		m[name] = v
	}
	return m, ""
}

// mapping returns the values of a mapping, of which example has a line. A text is one as a flag or variable gives it:
// {a: 1, b: 2} or a=1,b=2.
func (s scalar) mapping(example string) (map[string]string, string) {
	want := "want a mapping of names to values, as {" + example + "}"
	m := map[string]string{}
	if s.named != nil {
		for name, v := range s.named {
			if v.null {
				return nil, want
			}
			m[name] = v.text
		}
		return m, ""
	}
	if s.isList {
		return nil, want + ", got a list"
	}
	text := strings.TrimSpace(s.text)
	if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
		text = text[1 : len(text)-1]
	}
	for item := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		name, value, ok := strings.Cut(item, ":")
		if n, v, eq := strings.Cut(item, "="); eq && !ok {
			name, value, ok = n, v, true
		}
		name, value = strings.Trim(strings.TrimSpace(name), `"'`), strings.Trim(strings.TrimSpace(value), `"'`)
		if !ok || name == "" || value == "" {
			return nil, fmt.Sprintf("%s, got %s", want, fault.Quote(item))
		}
		m[name] = value
	}
	return m, ""
}

// value returns the key's value in t, nil when it stands for "not given".
func (k *Key) value(t *Train) any {
	if k.unset != nil && k.unset(t) && k.Default != "0" { // a default of 0 means what it says
		return nil
	}
	switch v := k.field(t).(type) {
	case *string:
		if *v == "" {
			return nil
		}
		return *v
	case *int:
		return *v
	case **int:
		return **v
	case *uint64:
		return *v
	case *float64:
		return *v
	case *bool:
		return *v
	case *[]string:
		if *v != nil {
			return slices.Clone(*v)
		}
	case *[]int:
		if *v != nil {
			return slices.Clone(*v)
		}
	case *[]Dataset:
		if len(*v) > 0 {
			return texts(*v)
		}
	case *map[string]string:
		if len(*v) > 0 {
			return maps.Clone(*v)
		}
	case *map[string]float64:
		if len(*v) > 0 {
			return maps.Clone(*v)
		}
	}
	return nil
}

// Text writes a setting's value as it would stand in the file, "-" for one that is not given.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case []string:
		return "[" + strings.Join(v, ", ") + "]"
	case map[string]string:
		return textOfMap(v)
	case map[string]float64:
		return textOfMap(v)
	}
	return fmt.Sprint(v)
}

func textOfMap[V any](m map[string]V) string {
	items := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		items = append(items, fmt.Sprintf("%s: %v", name, m[name]))
	}
	return "{" + strings.Join(items, ", ") + "}"
}

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
