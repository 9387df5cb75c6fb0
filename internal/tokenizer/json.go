package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of arrays and objects; a real tokenizer.json needs about ten levels.
const maxDepth = 32

// jsonReader is a strict JSON reader over a whole document. It exists because a vocabulary with its merges is 10 to
// 20 MB of short strings, which encoding/json reads an order of magnitude more slowly, and because encoding/json lets
// duplicate keys, wrong case and lone surrogates pass. Strings without escapes are substrings of the document, which
// must be valid UTF-8.
type jsonReader struct {
	s     string
	i     int
	depth int
}

func (r *jsonReader) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", r.i, fmt.Sprintf(format, args...))
}

// peek skips whitespace and returns the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	for r.i < len(r.s) {
		switch c := r.s[r.i]; c {
		case ' ', '\n', '\t', '\r':
			r.i++
		default:
			return c
		}
	}
	return 0
}

func (r *jsonReader) expect(c byte) error {
	if got := r.peek(); got != c {
		if r.i >= len(r.s) {
			return r.errorf("the file ends where %q is expected", c)
		}
		return r.errorf("%q where %q is expected", got, c)
	}
	r.i++
	return nil
}

// end fails unless only whitespace is left.
func (r *jsonReader) end() error {
	if r.peek(); r.i < len(r.s) {
		return r.errorf("text after the end of the JSON value")
	}
	return nil
}

// list reads open, elements separated by commas, and close.
func (r *jsonReader) list(open, close byte, element func() error) error {
	if err := r.expect(open); err != nil {
		return err
	}
	if r.depth++; r.depth > maxDepth {
		return r.errorf("nested more than %d deep", maxDepth)
	}
	defer func() { r.depth-- }()
	if r.peek() == close {
		r.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if r.peek() == ',' {
			r.i++
			continue
		}
		return r.expect(close)
	}
}

// array reads an array; element must consume one value.
func (r *jsonReader) array(element func() error) error { return r.list('[', ']', element) }

// object reads an object; member must consume the value of key. It does not look for duplicate keys.
func (r *jsonReader) object(member func(key string) error) error {
	return r.list('{', '}', func() error {
		key, err := r.str()
		if err != nil {
			return err
		}
		if err := r.expect(':'); err != nil {
			return err
		}
		return member(key)
	})
}

// uniqueObject is object for small ones: a key given twice is an error.
func (r *jsonReader) uniqueObject(member func(key string) error) error {
	seen := map[string]bool{}
	return r.object(func(key string) error {
		if seen[key] {
			return r.errorf("duplicate key %.200q", key)
		}
		seen[key] = true
		return member(key)
	})
}

// str reads a string.
func (r *jsonReader) str() (string, error) {
	if err := r.expect('"'); err != nil {
		return "", err
	}
	start := r.i
	for ; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case c == '"':
			r.i++
			return r.s[start : r.i-1], nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return "", r.errorf("control character in a string")
		}
	}
	return "", r.errorf("the file ends inside a string")
}

// escaped continues str at the first backslash.
func (r *jsonReader) escaped(start int) (string, error) {
	buf := make([]byte, 0, 32)
	buf = append(buf, r.s[start:r.i]...)
	for r.i < len(r.s) {
		c := r.s[r.i]
		r.i++
		switch {
		case c == '"':
			return string(buf), nil
		case c < ' ':
			return "", r.errorf("control character in a string")
		case c != '\\':
			buf = append(buf, c)
		default:
			var err error
			if buf, err = r.appendEscape(buf); err != nil {
				return "", err
			}
		}
	}
	return "", r.errorf("the file ends inside a string")
}

const (
	escapes   = `"\/bfnrt`
	unescaped = "\"\\/\b\f\n\r\t"
)

// appendEscape reads what follows a backslash.
func (r *jsonReader) appendEscape(buf []byte) ([]byte, error) {
	if r.i >= len(r.s) {
		return nil, r.errorf("the file ends inside a string")
	}
	c := r.s[r.i]
	r.i++
	if k := strings.IndexByte(escapes, c); k >= 0 {
		return append(buf, unescaped[k]), nil
	}
	if c != 'u' {
		return nil, r.errorf("unknown escape %q", c)
	}
	code, err := r.hex4()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(code) {
		if !strings.HasPrefix(r.s[r.i:], `\u`) {
			return nil, r.errorf("lone surrogate")
		}
		r.i += 2
		low, err := r.hex4()
		if err != nil {
			return nil, err
		}
		if code = utf16.DecodeRune(code, low); code == utf8.RuneError {
			return nil, r.errorf("lone surrogate")
		}
	}
	return utf8.AppendRune(buf, code), nil
}

func (r *jsonReader) hex4() (rune, error) {
	if len(r.s)-r.i < 4 {
		return 0, r.errorf("the file ends inside a string")
	}
	code, err := strconv.ParseUint(r.s[r.i:r.i+4], 16, 16)
	if err != nil {
		return 0, r.errorf("bad \\u escape")
	}
	r.i += 4
	return rune(code), nil
}

// tokenID reads a token id: an integer from 0 to maxTokenID.
func (r *jsonReader) tokenID() (int32, error) {
	lit, err := r.number()
	if err != nil {
		return 0, err
	}
	id, ok := parseTokenID(lit)
	if !ok {
		return 0, r.errorf("token id %.40s is not an integer from 0 to %d", lit, maxTokenID)
	}
	return id, nil
}

func parseTokenID(lit string) (int32, bool) {
	id, err := strconv.ParseUint(lit, 10, 32)
	return int32(id), err == nil && id <= maxTokenID
}

// number reads a number and returns its literal.
func (r *jsonReader) number() (string, error) {
	r.peek()
	start := r.i
	digits := func() bool {
		from := r.i
		for r.i < len(r.s) && '0' <= r.s[r.i] && r.s[r.i] <= '9' {
			r.i++
		}
		return r.i > from
	}
	next := func(set string) bool {
		if r.i < len(r.s) && strings.IndexByte(set, r.s[r.i]) >= 0 {
			r.i++
			return true
		}
		return false
	}
	next("-")
	ok := next("0") || digits()
	if ok && next(".") {
		ok = digits()
	}
	if ok && next("eE") {
		next("+-")
		ok = digits()
	}
	if !ok {
		return "", r.errorf("not a JSON value")
	}
	return r.s[start:r.i], nil
}

// jsonNumber is a literal: numbers keep their text, since ids, counts and probabilities are checked differently.
type jsonNumber string

var literals = [...]struct {
	text  string
	value any
}{{"true", true}, {"false", false}, {"null", nil}}

// value reads any value: map[string]any, []any, string, jsonNumber, bool or nil.
func (r *jsonReader) value() (any, error) {
	switch c := r.peek(); c {
	case '{':
		m := map[string]any{}
		err := r.object(func(key string) error {
			if _, ok := m[key]; ok {
				return r.errorf("duplicate key %.200q", key)
			}
			v, err := r.value()
			m[key] = v
			return err
		})
		return m, err
	case '[':
		a := []any{}
		err := r.array(func() error {
			v, err := r.value()
			a = append(a, v)
			return err
		})
		return a, err
	case '"':
		return r.str()
	case 't', 'f', 'n':
		for _, l := range literals {
			if strings.HasPrefix(r.s[r.i:], l.text) {
				r.i += len(l.text)
				return l.value, nil
			}
		}
	}
	lit, err := r.number()
	return jsonNumber(lit), err
}

// skip reads a value and drops it.
func (r *jsonReader) skip() error {
	switch r.peek() {
	case '{':
		return r.object(func(string) error { return r.skip() })
	case '[':
		return r.array(r.skip)
	default:
		_, err := r.value()
		return err
	}
}
