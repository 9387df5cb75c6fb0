package data

import (
	"bytes"
	"io"
)

// textRows is the source of a plain text: its documents.
type textRows struct {
	lines
	by   string // as Samples, or documentMark
	rest []byte // of the line that held the last document's end
}

func newText(in *input, f *File) (source, error) {
	s := &textRows{lines: lines{in: in}, by: f.SampleBy}
	if s.by == "" {
		marked, err := hasMark(in)
		if err != nil {
			return nil, err
		}
		if s.by = byLine; marked {
			s.by = documentMark
		}
	}
	return s, nil
}

// hasMark reads through the file for documentMark. How a text is cut must not depend on what its start happens to hold.
func hasMark(in *input) (bool, error) {
	other, err := openInput(in.path, in.maxRow)
	if err != nil {
		return false, err
	}
	defer other.close()
	keep := len(documentMark) - 1
	for buf := make([]byte, 0, 1<<20); ; {
		n, err := other.in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf, []byte(documentMark)) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		} else if err != nil {
			return false, other.fail(err)
		}
		if len(buf) > keep {
			buf = buf[:copy(buf, buf[len(buf)-keep:])]
		}
	}
}

func (s *textRows) next(dst []byte) ([]byte, int, error) {
	text, line, err := s.document()
	if err != nil {
		return dst, 0, err
	}
	dst = appendString(append(dst, `{"text":`...), bytes.TrimRight(text, "\r\n"))
	return append(dst, '}'), line, nil
}

// document returns the next document that is not blank, and the line that it starts in.
func (s *textRows) document() ([]byte, int, error) {
	if s.by == byLine {
		return s.lines.next(nil)
	}
	var text []byte
	first := 0
	for {
		part, done, err := s.part()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, 0, err
		}
		if len(text) == 0 {
			part = bytes.TrimLeft(part, "\r\n")
		}
		if first == 0 && len(part) > 0 {
			first = s.line
		}
		if text = append(text, part...); len(text) > s.in.maxRow {
			return nil, 0, s.in.tooLong(first)
		}
		if done && !blank(text) {
			return text, first, nil
		} else if done {
			text, first = text[:0], 0
		}
	}
	if blank(text) {
		return nil, 0, io.EOF
	}
	return text, first, nil
}

// part returns the next line, or what a mark leaves of it, and whether a document ends there.
func (s *textRows) part() (part []byte, done bool, err error) {
	if len(s.rest) == 0 {
		if s.end {
			return nil, false, io.EOF
		}
		if s.rest, err = s.in.line(nil, s.line+1); err != nil && err != io.EOF {
			return nil, false, err
		}
		s.end = err == io.EOF
		s.line++
	}
	part, s.rest = s.rest, nil
	switch at := bytes.Index(part, []byte(documentMark)); {
	case s.by == documentMark && at >= 0:
		part, s.rest, done = part[:at], part[at+len(documentMark):], true
	case s.by == byParagraph && blank(part):
		part, done = nil, true
	}
	return part, done, nil
}
