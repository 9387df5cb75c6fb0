package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// source yields the rows of a file.
type source interface {
	// next appends the next row to dst as a JSON object and returns its line in the file; io.EOF after the last. The
	// object may be malformed where the file holds JSON.
	next(dst []byte) (row []byte, line int, err error)
}

// input is an open file, and the bytes of it once they are decompressed.
type input struct {
	path    string
	file    *os.File
	sum     hash.Hash
	in      *bufio.Reader
	maxRow  int // bytes of a row
	gzipped bool
}

const byteOrderMark = "\ufeff"

// openInput opens a file. Only regular ones are taken: opening a FIFO would wait for its writer.
func openInput(path string, maxRow int) (*input, error) {
	file, err := fsx.Open(path)
	if err != nil {
		return nil, err
	}
	in := &input{path: path, file: file, sum: sha256.New(), maxRow: maxRow}
	in.in = bufio.NewReaderSize(io.TeeReader(file, in.sum), 2*chunkBytes)
	if start, _ := in.in.Peek(2); string(start) == "\x1f\x8b" {
		z, err := gzip.NewReader(in.in)
		if err != nil {
			file.Close()
			return nil, fault.Wrap(fault.Malformed, path, err, "is not gzip")
		}
		in.gzipped = true
		in.in = bufio.NewReaderSize(z, 2*chunkBytes)
	}
	if start, _ := in.in.Peek(len(byteOrderMark)); string(start) == byteOrderMark { // of Windows tools
		_, _ = in.in.Discard(len(byteOrderMark)) // cannot fail: these bytes are buffered
	}
	return in, nil
}

func (in *input) close() { _ = in.file.Close() }

// digest returns the SHA-256 of the file, all of which has been read, in hex.
func (in *input) digest() string { return hex.EncodeToString(in.sum.Sum(nil)) }

// fail explains a read error.
func (in *input) fail(err error) error {
	if in.gzipped && !errors.Is(err, os.ErrClosed) {
		return fault.Wrap(fault.Malformed, in.path, err, "cannot be decompressed")
	}
	return fsx.Wrap(err, in.path, "read")
}

// at returns a Malformed fault about a line.
func (in *input) at(line int, format string, args ...any) *fault.Error {
	return fault.New(fault.Malformed, fmt.Sprintf("%s:%d", in.path, line), format, args...)
}

func (in *input) tooLong(line int) error {
	return in.at(line, "the row is longer than %d bytes", in.maxRow)
}

// line appends the next line to dst with its end; io.EOF marks the last, which may be empty.
func (in *input) line(dst []byte, line int) ([]byte, error) {
	start := len(dst)
	for {
		part, err := in.in.ReadSlice('\n')
		dst = append(dst, part...)
		switch {
		case len(dst)-start > in.maxRow:
			return dst, in.tooLong(line)
		case err == nil || err == io.EOF:
			return dst, err
		case err != bufio.ErrBufferFull:
			return dst, in.fail(err)
		}
	}
}

// formats maps the ends of names to formats. Other files are JSON.
var formats = map[string]string{
	".csv": formatCSV, ".tsv": formatTSV, ".tab": formatTSV, ".txt": formatText, ".text": formatText, ".parquet": formatParquet,
}

// source finds out what the file holds: Parquet by its first bytes, JSON lines or an array by the first character, and the
// rest by the name.
func (in *input) source(f *File) (source, error) {
	format := f.Format
	magic, _ := in.in.Peek(4)
	switch {
	case format != "":
	case string(magic) == "PAR1":
		format = formatParquet
	default:
		name := strings.ToLower(filepath.Base(f.Path))
		if in.gzipped {
			name = strings.TrimSuffix(name, ".gz")
		}
		if format = formats[filepath.Ext(name)]; format == "" {
			format = formatJSON
		}
	}
	switch format {
	case formatCSV:
		return newCSV(in)
	case formatTSV:
		return newTSV(in)
	case formatText:
		return newText(in, f)
	case formatParquet:
		return newParquet(in)
	}
	for n := 1; ; n *= 2 {
		start, _ := in.in.Peek(n) // an error is met again when the rows are read
		if text := bytes.TrimLeft(start, " \t\r\n"); len(text) > 0 && text[0] == '[' {
			return newArray(in)
		} else if len(text) > 0 || len(start) < n || n >= chunkBytes {
			return &lines{in: in}, nil
		}
	}
}

// chunkBytes is how much text is encoded as one unit of parallel work: small enough that a file of a few hundred rows
// uses every core.
const chunkBytes = 32 << 10

// chunk is some rows of a file.
type chunk struct {
	row   int    // index of the first
	lines []int  // of each
	ends  []int  // of each in text
	text  []byte // JSON objects
}

// chunkReader cuts a file's rows into chunks. It holds one chunk, and a row no longer than the cap, in memory.
type chunkReader struct {
	source
	limit int // rows to read; 0 reads all
	rows  int // read so far
}

// next returns the next chunk, or io.EOF after the last. An error may come with the rows before it.
func (r *chunkReader) next() (chunk, error) {
	c := chunk{row: r.rows, text: make([]byte, 0, 2*chunkBytes)}
	for len(c.text) < chunkBytes && len(c.lines) < chunkBytes/16 {
		if r.limit > 0 && r.rows == r.limit {
			return c, io.EOF
		}
		text, line, err := r.source.next(c.text)
		if err != nil {
			return c, err
		}
		c.text, c.lines, c.ends = text, append(c.lines, line), append(c.ends, len(text))
		r.rows++
	}
	return c, nil
}

// lines is the source of JSON lines.
type lines struct {
	in   *input
	line int // lines read
	end  bool
}

func (l *lines) next(dst []byte) ([]byte, int, error) {
	start := len(dst)
	for !l.end {
		text, err := l.in.line(dst[:start], l.line+1)
		if err != nil && err != io.EOF {
			return dst, 0, err
		}
		l.end = err == io.EOF
		l.line++
		if !blank(text[start:]) {
			return text, l.line, nil
		}
	}
	return dst, 0, io.EOF
}

// blank reports whether a line holds only JSON white space.
func blank(line []byte) bool { return len(bytes.Trim(line, " \t\r\n")) == 0 }

// object writes rows of texts as JSON objects.
type object struct{ names [][]byte } // as JSON, with the colon

// newObject refuses names that come twice.
func (in *input) newObject(line int, names []string) (*object, error) {
	o := &object{}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, in.at(line, "two columns are called %s", fault.Quote(name))
		}
		if i > maxColumns {
			return nil, in.at(line, "more than %d columns", maxColumns)
		}
		o.names = append(o.names, append(appendString(nil, name), ':'))
	}
	return o, nil
}

const maxColumns = 1 << 12

// append writes a row of as many values as there are names.
func (o *object) append(dst []byte, values []string) []byte {
	dst = append(dst, '{')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(append(dst, o.names[i]...), v)
	}
	return append(dst, '}')
}

// appendString writes a JSON string. Bytes that are not UTF-8 stay as they are, for the row's parser to find.
func appendString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
