package data

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
)

// csvRows is the source of a CSV file (RFC 4180): the first row names the columns.
type csvRows struct {
	in     *input
	r      *csv.Reader
	capped *capped
	*object
}

// capped passes on what a reader yields until it has been too much for one row.
type capped struct {
	io.Reader
	left int
}

var errCapped = errors.New("too long")

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errCapped
	}
	n, err := c.Reader.Read(p)
	c.left -= n
	return n, err
}

func newCSV(in *input) (source, error) {
	s := &csvRows{in: in, capped: &capped{in.in, in.maxRow}}
	s.r = csv.NewReader(s.capped)
	s.r.ReuseRecord = true
	names, line, err := s.read()
	if err == io.EOF {
		return s, nil
	} else if err != nil {
		return nil, err
	}
	s.object, err = in.newObject(line, append([]string{}, names...))
	return s, err
}

func (s *csvRows) next(dst []byte) ([]byte, int, error) {
	values, line, err := s.read()
	if err != nil {
		return dst, 0, err
	}
	return s.append(dst, values), line, nil
}

// read returns the next record and the line that it starts in.
func (s *csvRows) read() ([]string, int, error) {
	s.capped.left = s.in.maxRow
	values, err := s.r.Read()
	if err == nil {
		line, _ := s.r.FieldPos(0)
		return values, line, nil
	}
	if err == io.EOF {
		return nil, 0, io.EOF
	}
	pe, ok := errors.AsType[*csv.ParseError](err)
	switch {
	case errors.Is(err, errCapped):
		line, _ := s.r.FieldPos(0)
		return nil, 0, s.in.tooLong(max(line, 1))
	case !ok:
		return nil, 0, s.in.fail(err)
	case errors.Is(err, csv.ErrFieldCount):
		return nil, 0, s.in.at(pe.StartLine, "%d values, and the first line names %d columns", len(values), len(s.names))
	}
	return nil, 0, s.in.at(pe.Line, "invalid CSV: column %d: %s", pe.Column, strings.TrimPrefix(pe.Err.Error(), "csv: "))
}

// tsvRows is the source of a TSV file: a row a line, values between tabs, and no quoting, as in IANA's
// text/tab-separated-values and the files of GLUE. The first row names the columns.
type tsvRows struct {
	lines
	*object
}

func newTSV(in *input) (source, error) {
	s := &tsvRows{lines: lines{in: in}}
	values, line, err := s.read()
	if err == io.EOF {
		return s, nil
	} else if err != nil {
		return nil, err
	}
	s.object, err = in.newObject(line, values)
	return s, err
}

func (s *tsvRows) read() ([]string, int, error) {
	text, line, err := s.lines.next(nil)
	if err != nil {
		return nil, 0, err
	}
	return strings.Split(strings.TrimRight(string(text), "\r\n"), "\t"), line, nil
}

func (s *tsvRows) next(dst []byte) ([]byte, int, error) {
	values, line, err := s.read()
	if err != nil {
		return dst, 0, err
	}
	if len(values) != len(s.names) {
		return dst, 0, s.in.at(line, "%d values, and the first line names %d columns", len(values), len(s.names)).
			WithHint("a TSV file has a row a line, and no quotes; the first names the columns")
	}
	return s.append(dst, values), line, nil
}
