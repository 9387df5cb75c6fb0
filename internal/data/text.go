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
	dst = append(dst, `{"text":`...)
	if s.by == byLine {
		text, line, err := s.lines.next(nil)
		if err != nil {
			return dst[:len(dst)-8], 0, err
		}
		return append(appendString(dst, bytes.TrimRight(text, "\r\n")), '}'), line, nil
	}
	var text []byte
	first := 0 // line that the document starts in
	for {
		line := s.line
		if len(s.rest) == 0 {
			if s.end {
				break
			}
			var err error
			if s.rest, err = s.in.line(s.rest[:0], s.line+1); err != nil && err != io.EOF {
				return dst, 0, err
			}
			s.end = err == io.EOF
			s.line++
			line = s.line
		}
		part, done := s.rest, false
		s.rest = nil
		switch at := bytes.Index(part, []byte(documentMark)); {
		case s.by == documentMark && at >= 0:
			part, s.rest, done = part[:at], part[at+len(documentMark):], true
		case s.by == byParagraph && blank(part):
			part, done = nil, true
		}
		if len(text) == 0 {
			part = bytes.TrimLeft(part, "\r\n")
		}
		if first == 0 && len(part) > 0 {
			first = line
		}
		if text = append(text, part...); len(text) > s.in.maxRow {
			return dst, 0, s.in.tooLong(first)
		}
		if done && !blank(text) {
			break
		} else if done {
			text, first = text[:0], 0
		}
	}
	if blank(text) {
		return dst[:len(dst)-8], 0, io.EOF
	}
	return append(appendString(dst, bytes.TrimRight(text, "\r\n")), '}'), first, nil
}
