package data

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"shira/internal/fault"
)

// maxDepth bounds the nesting of a row's values, so that a hostile row cannot exhaust the stack.
const maxDepth = 128

// scanner reads JSON strictly (RFC 8259) from one line. encoding/json would accept duplicate fields, names in another
// case and lone surrogates without a word.
type scanner struct {
	b []byte
	i int
}

// oneObject is the hint where a line is only a part of a value, or more than one.
const oneObject = "every line must be one JSON object (JSONL)"

// fail returns an error that names the byte the scanner stands at, from 1.
func (s *scanner) fail(format string, args ...any) *fault.Error {
	err := fault.New(fault.Malformed, "", "invalid JSON at byte %d: %s", s.i+1, fmt.Sprintf(format, args...))
	if s.i >= len(s.b) {
		err.Hint = oneObject
	}
	return err
}

// found describes the next character for a message.
func (s *scanner) found() string {
	if s.i >= len(s.b) {
		return "the end of the line"
	}
	r, _ := utf8.DecodeRune(s.b[s.i:])
	return strconv.QuoteRune(r)
}

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// token skips white space and takes c.
func (s *scanner) token(c byte) error {
	s.space()
	if s.peek() != c {
		return s.fail("expected %q, found %s", c, s.found())
	}
	s.i++
	return nil
}

// list calls item for each element of an array or member of an object, from the opening bracket to the closing one.
func (s *scanner) list(opening, closing byte, item func(n int) error) error {
	if err := s.token(opening); err != nil {
		return err
	}
	s.space()
	if s.peek() == closing {
		s.i++
		return nil
	}
	for n := 0; ; n++ {
		s.space()
		if err := item(n); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
		case closing:
			s.i++
			return nil
		default:
			return s.fail("expected ',' or %q, found %s", closing, s.found())
		}
	}
}

// object calls member for each member, the scanner standing at its value.
func (s *scanner) object(member func(name []byte) error) error {
	return s.list('{', '}', func(int) error {
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := s.token(':'); err != nil {
			return err
		}
		s.space()
		return member(name)
	})
}

// skip reads over one value of any type; depth is the number of brackets around it.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.fail("nested deeper than %d", maxDepth)
	}
	s.space()
	switch c := s.peek(); {
	case c == '{':
		return s.object(func([]byte) error { return s.skip(depth + 1) })
	case c == '[':
		return s.list('[', ']', func(int) error { return s.skip(depth + 1) })
	case c == '"':
		_, _, err := s.rawText()
		return err
	case c == '-' || '0' <= c && c <= '9':
		_, err := s.number()
		return err
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.b[s.i:], []byte(word)) {
			s.i += len(word)
			return nil
		}
	}
	return s.fail("expected a value, found %s", s.found())
}

// text reads a string. Where it has no escapes the result shares the line's memory.
func (s *scanner) text() ([]byte, error) {
	raw, escaped, err := s.rawText()
	if err != nil || !escaped {
		return raw, err
	}
	return unescape(raw), nil
}

// rawText reads a string and checks it, and returns what stands between the quotes.
func (s *scanner) rawText() (raw []byte, escaped bool, err error) {
	if s.peek() != '"' {
		return nil, false, s.fail("expected '\"', found %s", s.found())
	}
	s.i++
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1], escaped, nil
		case c < ' ':
			return nil, false, s.fail("control character %s in a string", s.found())
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
		default:
			s.i++
		}
	}
	return nil, false, s.fail("a string does not end")
}

// escape reads over one escape sequence, a surrogate pair as one.
func (s *scanner) escape() error {
	if s.i+1 >= len(s.b) {
		return s.fail("a string does not end")
	}
	switch s.b[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return nil
	case 'u':
	default:
		return s.fail("unknown escape %s", fault.Quote(string(s.b[s.i:s.i+2])))
	}
	unit, ok := hex4(s.b[s.i:])
	if !ok {
		return s.fail(`\u needs four hexadecimal digits`)
	}
	if !utf16.IsSurrogate(unit) {
		s.i += 6
		return nil
	}
	low, ok := hex4(s.b[s.i+6:])
	if !ok || utf16.DecodeRune(unit, low) == utf8.RuneError {
		return s.fail(`lone surrogate \u%04x`, unit)
	}
	s.i += 12
	return nil
}

// hex4 decodes a \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	r, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(r), err == nil
}

// unescape decodes what rawText has checked.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		plain := bytes.IndexByte(raw, '\\')
		if plain < 0 {
			return append(out, raw...)
		}
		out, raw = append(out, raw[:plain]...), raw[plain:]
		size := 2
		switch c := raw[1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(raw)
			size = 6
			if utf16.IsSurrogate(r) {
				low, _ := hex4(raw[6:])
				r, size = utf16.DecodeRune(r, low), 12
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
		raw = raw[size:]
	}
	return out
}

// number reads over a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	start := s.i
	if s.peek() == '-' {
		s.i++
	}
	first := s.i
	if s.digits() == 0 || s.b[first] == '0' && s.i > first+1 {
		s.i = start
		return nil, s.fail("malformed number")
	}
	if s.peek() == '.' {
		s.i++
		if s.digits() == 0 {
			return nil, s.fail("malformed number")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if s.digits() == 0 {
			return nil, s.fail("malformed number")
		}
	}
	return s.b[start:s.i], nil
}

// digits reads over decimal digits and returns their count.
func (s *scanner) digits() int {
	start := s.i
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.i++
	}
	return s.i - start
}

// parseInt32 is strconv.ParseInt for the digits of a JSON number, without the copy to a string.
func parseInt32(text []byte) (int32, bool) {
	digits := bytes.TrimPrefix(text, []byte("-"))
	var v int64
	for _, c := range digits {
		if c < '0' || c > '9' || v > math.MaxInt32 {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	if len(digits) < len(text) {
		v = -v
	}
	return int32(v), math.MinInt32 <= v && v <= math.MaxInt32
}
