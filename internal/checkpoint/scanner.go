package checkpoint

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON strictly, token by token, from bytes that are valid UTF-8. encoding/json will not do for untrusted
// headers: into structs it accepts duplicate keys, keys of other case, short arrays and trailing values.
type scanner struct {
	b   []byte
	pos int
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("%s at byte %d", fmt.Sprintf(format, args...), s.pos)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.b) {
		switch c := s.b[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if got := s.peek(); got != c || s.pos == len(s.b) {
		return s.unexpected(string(rune(c)))
	}
	s.pos++
	return nil
}

func (s *scanner) unexpected(want string) error {
	if s.pos >= len(s.b) {
		return s.errorf("it ends where %s is expected", want)
	}
	r, _ := utf8.DecodeRune(s.b[s.pos:])
	return s.errorf("%q where %s is expected", r, want)
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.b) {
		return s.unexpected("the end")
	}
	return nil
}

// null consumes a null and reports whether there was one.
func (s *scanner) null() bool {
	if s.peek() == 'n' && len(s.b)-s.pos >= 4 && string(s.b[s.pos:s.pos+4]) == "null" {
		s.pos += 4
		return true
	}
	return false
}

// object reads an object and calls value after each key, to read its value. Duplicate keys are value's to find.
func (s *scanner) object(value func(key string) error) error {
	return s.list('{', '}', func() error {
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return value(key)
	})
}

// array reads an array and calls element for each element, to read it.
func (s *scanner) array(element func() error) error { return s.list('[', ']', element) }

func (s *scanner) list(open, shut byte, element func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.peek() == shut {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch c := s.peek(); c {
		case ',':
			s.pos++
		case shut:
			s.pos++
			return nil
		default:
			return s.unexpected("a comma or " + string(rune(shut)))
		}
	}
}

// str reads a string.
func (s *scanner) str() (string, error) {
	if s.peek() != '"' {
		return "", s.unexpected("a string")
	}
	s.pos++
	start := s.pos
	for ; s.pos < len(s.b); s.pos++ {
		switch c := s.b[s.pos]; {
		case c == '"':
			s.pos++
			return string(s.b[start : s.pos-1]), nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return "", s.errorf("a control character in a string")
		}
	}
	return "", s.errorf("a string without end")
}

// escaped finishes str from the first backslash on.
func (s *scanner) escaped(start int) (string, error) {
	out := append([]byte(nil), s.b[start:s.pos]...)
	for s.pos < len(s.b) {
		c := s.b[s.pos]
		switch {
		case c == '"':
			s.pos++
			return string(out), nil
		case c < ' ':
			return "", s.errorf("a control character in a string")
		case c != '\\':
			out = append(out, c)
			s.pos++
			continue
		}
		r, err := s.escape()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	return "", s.errorf("a string without end")
}

var simpleEscapes = map[byte]rune{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// escape reads one escape sequence; s.pos is at its backslash.
func (s *scanner) escape() (rune, error) {
	if s.pos+1 >= len(s.b) {
		return 0, s.errorf("a string without end")
	}
	if r, ok := simpleEscapes[s.b[s.pos+1]]; ok {
		s.pos += 2
		return r, nil
	}
	r, ok := s.hex4()
	if !ok {
		return 0, s.errorf("an invalid escape sequence")
	}
	s.pos += 6
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	low, ok := s.hex4()
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, s.errorf("a lone surrogate")
	}
	s.pos += 6
	return r, nil
}

// hex4 returns the code unit of the \uXXXX at s.pos, which it leaves there.
func (s *scanner) hex4() (rune, bool) {
	if len(s.b)-s.pos < 6 || s.b[s.pos] != '\\' || s.b[s.pos+1] != 'u' {
		return 0, false
	}
	r, err := strconv.ParseUint(string(s.b[s.pos+2:s.pos+6]), 16, 16)
	return rune(r), err == nil
}

// natural reads an integer from 0 to 2^63−1, in digits only: no sign, fraction, exponent or leading zero.
func (s *scanner) natural() (int64, error) {
	c := s.peek()
	start := s.pos
	if c == '-' {
		return 0, s.errorf("a negative number")
	}
	for s.pos < len(s.b) && s.b[s.pos] >= '0' && s.b[s.pos] <= '9' {
		s.pos++
	}
	digits := s.b[start:s.pos]
	if len(digits) == 0 {
		return 0, s.unexpected("a natural number")
	}
	if s.pos < len(s.b) {
		switch s.b[s.pos] {
		case '.', 'e', 'E':
			return 0, s.errorf("a number that is not written as an integer")
		}
	}
	if len(digits) > 1 && digits[0] == '0' {
		return 0, s.errorf("a number with a leading zero")
	}
	if len(digits) > 19 {
		return 0, s.errorf("a number beyond 2^63")
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0, s.errorf("a number beyond 2^63")
	}
	return n, nil
}

// maxDepth bounds the nesting of values that skip passes over.
const maxDepth = 32

// skip passes over one value of any kind.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.errorf("values nested more than %d deep", maxDepth)
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(func(string) error { return s.skip(depth + 1) })
	case c == '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case c == '"':
		_, err := s.str()
		return err
	}
	start := s.pos
	for s.pos < len(s.b) && isScalarByte(s.b[s.pos]) {
		s.pos++
	}
	switch word := string(s.b[start:s.pos]); word {
	case "null", "true", "false":
		return nil
	default:
		if !isNumber(word) {
			s.pos = start
			return s.unexpected("a value")
		}
		return nil
	}
}

func isScalarByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '-' || c == '.'
}

// isNumber says whether s follows JSON's grammar of numbers.
func isNumber(s string) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	if s != "" && s[0] == '0' {
		s = s[1:]
	} else if !digits() {
		return false
	}
	if s != "" && s[0] == '.' {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}
