package data

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"shira/internal/fault"
)

// chunkBytes is how much text is encoded as one unit of parallel work: small enough that a file of a few hundred rows
// uses every core.
const chunkBytes = 32 << 10

// chunk is some whole lines of the file.
type chunk struct {
	line int    // of the first line, from 1
	row  int    // index of its first row
	text []byte // lines with their ends
}

// each calls f for every row of the chunk, that is every line that is not blank.
func (c chunk) each(f func(line, row int, text []byte)) {
	line, row := c.line, c.row
	for text := range bytes.Lines(c.text) {
		if !blank(text) {
			f(line, row, text)
			row++
		}
		line++
	}
}

// blank reports whether a line holds only JSON white space.
func blank(line []byte) bool { return len(bytes.Trim(line, " \t\r\n")) == 0 }

// chunkReader cuts a file into chunks. It holds one chunk, and a line no longer than maxLine, in memory.
type chunkReader struct {
	path    string
	file    *os.File
	in      *bufio.Reader
	maxLine int
	limit   int // rows to read; 0 reads all
	lines   int // read so far
	rows    int // of those, not blank
	sum     hash.Hash
}

// openChunks opens a dataset. Only regular files are taken: opening a FIFO would wait for its writer.
func openChunks(o *Options) (*chunkReader, error) {
	info, err := os.Stat(o.Path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Environment, o.Path, "no such file")
		}
		return nil, ioFault(o.Path, err)
	}
	if info.IsDir() {
		return nil, fault.New(fault.Malformed, o.Path, "is a directory, not a JSONL file")
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Malformed, o.Path, "is not a regular file")
	}
	file, err := os.Open(o.Path)
	if err != nil {
		return nil, ioFault(o.Path, err)
	}
	maxLine := o.MaxLineBytes
	if maxLine == 0 {
		maxLine = DefaultMaxLineBytes
	}
	r := &chunkReader{
		path: o.Path, file: file, in: bufio.NewReaderSize(file, 2*chunkBytes),
		maxLine: maxLine, limit: o.Limit, sum: sha256.New(),
	}
	r.skipBOM()
	return r, nil
}

// skipBOM passes over a byte order mark, which Windows tools put before UTF-8.
func (r *chunkReader) skipBOM() {
	if start, _ := r.in.Peek(len(byteOrderMark)); string(start) == byteOrderMark {
		r.sum.Write(start)
		_, _ = r.in.Discard(len(byteOrderMark)) // cannot fail: these bytes are buffered
	}
}

const byteOrderMark = "\ufeff"

// ioFault wraps an error of the file system without repeating the path, which os errors carry too.
func ioFault(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fault.Wrap(fault.Environment, path, err, "cannot be read")
}

func (r *chunkReader) close() { _ = r.file.Close() }

// digest returns the SHA-256 of what next has returned, in hex.
func (r *chunkReader) digest() string { return hex.EncodeToString(r.sum.Sum(nil)) }

// next returns the next chunk, or io.EOF after the last.
func (r *chunkReader) next() (chunk, error) {
	c := chunk{line: r.lines + 1, row: r.rows, text: make([]byte, 0, 2*chunkBytes)}
	for len(c.text) < chunkBytes && (r.limit == 0 || r.rows < r.limit) {
		start := len(c.text)
		var err error
		c.text, err = r.line(c.text)
		if err != nil && err != io.EOF {
			return chunk{}, err
		}
		if line := c.text[start:]; len(line) > 0 {
			r.lines++
			if !blank(line) {
				r.rows++
			}
		}
		if err == io.EOF {
			break
		}
	}
	if len(c.text) == 0 {
		return chunk{}, io.EOF
	}
	r.sum.Write(c.text)
	return c, nil
}

// line appends the next line to dst with its end; io.EOF marks the last, which may be empty.
func (r *chunkReader) line(dst []byte) ([]byte, error) {
	start := len(dst)
	for {
		part, err := r.in.ReadSlice('\n')
		dst = append(dst, part...)
		switch {
		case len(dst)-start > r.maxLine:
			at := fmt.Sprintf("%s:%d", r.path, r.lines+1)
			return dst, fault.New(fault.Malformed, at, "the line is longer than %d bytes", r.maxLine)
		case err == nil || err == io.EOF:
			return dst, err
		case err != bufio.ErrBufferFull:
			return dst, ioFault(r.path, err)
		}
	}
}
