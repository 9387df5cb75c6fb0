package data

import (
	"errors"
	"io"
)

// array is the source of a JSON array of objects. It finds where the elements end; whether they are JSON is seen when they
// are parsed.
type array struct {
	in    *input
	line  int
	rows  int
	ended bool
}

func newArray(in *input) (source, error) {
	a := &array{in: in, line: 1}
	_, err := a.token() // the bracket that told that this is an array
	return a, err
}

// token returns the next byte that is not white space.
func (a *array) token() (byte, error) {
	for {
		c, err := a.in.in.ReadByte()
		switch {
		case err == io.EOF:
			return 0, io.EOF
		case err != nil:
			return 0, a.in.fail(err)
		case c == '\n':
			a.line++
		case c != ' ' && c != '\t' && c != '\r':
			return c, nil
		}
	}
}

func (a *array) next(dst []byte) ([]byte, int, error) {
	if a.ended {
		return dst, 0, io.EOF
	}
	c, err := a.token()
	if err == nil && c != ']' && a.rows > 0 {
		if c != ',' {
			return dst, 0, a.in.at(a.line, "invalid JSON: expected ',' or ']' after row %d, found %q", a.rows, c)
		}
		if c, err = a.token(); err == nil && c == ']' {
			return dst, 0, a.in.at(a.line, "invalid JSON: a comma before the end of the array")
		}
	}
	switch {
	case err == io.EOF:
		return dst, 0, a.in.at(a.line, "the array does not end: the file is cut off")
	case err != nil:
		return dst, 0, err
	case c == ']':
		a.ended = true
		return dst, 0, a.rest()
	}
	a.rows++
	line := a.line
	dst, err = a.element(append(dst, c), c)
	return dst, line, err
}

// rest checks that nothing follows the array.
func (a *array) rest() error {
	c, err := a.token()
	if err == nil {
		return a.in.at(a.line, "invalid JSON: %q after the end of the array", c)
	}
	return err
}

// element appends the rest of an element that starts with c: up to the bracket that closes it, or where it is none that has
// brackets, up to what can follow it.
func (a *array) element(dst []byte, c byte) ([]byte, error) {
	start, line := len(dst)-1, a.line
	depth, inString := 0, false
	for {
		switch {
		case inString && c == '\\':
			next, err := a.in.in.ReadByte()
			if err != nil {
				return dst, a.cut(err)
			}
			dst = append(dst, next)
		case c == '"':
			if inString = !inString; !inString && depth == 0 {
				return dst, nil
			}
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth <= 0 {
				return dst, nil
			}
		}
		if len(dst)-start > a.in.maxRow {
			return dst, a.in.tooLong(line)
		}
		if depth == 0 && !inString {
			if next, _ := a.in.in.Peek(1); len(next) == 0 || next[0] == ',' || next[0] == ']' || next[0] == '\n' {
				return dst, nil
			}
		}
		var err error
		if c, err = a.in.in.ReadByte(); err != nil {
			return dst, a.cut(err)
		}
		if c == '\n' {
			a.line++
		}
		dst = append(dst, c)
	}
}

func (a *array) cut(err error) error {
	if errors.Is(err, io.EOF) {
		return a.in.at(a.line, "row %d does not end: the file is cut off", a.rows)
	}
	return a.in.fail(err)
}
