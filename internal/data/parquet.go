package data

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"shira/internal/fault"
)

// parquetRows is the source of a Parquet file. A row's place is its number, from 1.
type parquetRows struct {
	in     *input
	schema *parquet.Schema
	groups []parquet.RowGroup // that are left
	rows   parquet.Rows       // of the current one
	buf    []parquet.Row
	ready  []parquet.Row
	done   int // rows yielded
}

// parquetBatch is how many rows are decoded at a time.
const parquetBatch = 64

func newParquet(in *input) (_ source, err error) {
	defer func() { in.recovered(0, recover(), &err) }()
	info, err := in.file.Stat()
	if err != nil {
		return nil, in.fail(err)
	}
	if in.gzipped {
		return nil, fault.New(fault.Malformed, in.path, "a Parquet file within gzip is not supported: it has compression of its own")
	}
	if info.Size() < 12 { // two magic numbers and a length
		return nil, fault.New(fault.Malformed, in.path, "is cut off: a Parquet file of %d bytes", info.Size())
	}
	if err := in.checkFooter(info.Size()); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(in.file, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fault.Wrap(fault.Malformed, in.path, err, "is not a Parquet file that can be read")
	}
	// The digest is of the whole file, which the library reads here and there.
	if _, err := io.Copy(in.sum, io.NewSectionReader(in.file, int64(in.in.Buffered()), info.Size())); err != nil {
		return nil, in.fail(err)
	}
	return &parquetRows{in: in, schema: file.Schema(), groups: file.RowGroups(), buf: make([]parquet.Row, parquetBatch)}, nil
}

// checkFooter compares the length of a file's footer, which stands before the magic number at the end, with what there is. The
// library believes it, and makes room.
func (in *input) checkFooter(size int64) error {
	var tail [8]byte
	if _, err := in.file.ReadAt(tail[:], size-8); err != nil {
		return in.fail(err)
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); string(tail[4:]) == "PAR1" && n > size-12 {
		return fault.New(fault.Malformed, in.path, "is not a Parquet file that can be read: it claims a footer of %d bytes, but has %d", n, size)
	}
	return nil
}

// recovered turns a panic of the library, which a damaged file may cause, into an error.
func (in *input) recovered(row int, v any, err *error) {
	if v == nil {
		return
	}
	path := in.path
	if row > 0 {
		path = fmt.Sprintf("%s:%d", path, row)
	}
	*err = fault.New(fault.Malformed, path, "the Parquet file is damaged: %.200v", v)
}

func (p *parquetRows) next(dst []byte) (_ []byte, row int, err error) {
	defer func() { p.in.recovered(p.done+1, recover(), &err) }()
	for len(p.ready) == 0 {
		if p.rows == nil {
			if len(p.groups) == 0 {
				return dst, 0, io.EOF
			}
			p.rows, p.groups = p.groups[0].Rows(), p.groups[1:]
		}
		n, err := p.rows.ReadRows(p.buf)
		p.ready = p.buf[:n]
		if err == io.EOF {
			err = p.rows.Close()
			p.rows = nil
		}
		if err != nil {
			return dst, 0, p.in.at(p.done+1, "the Parquet file is damaged: %v", err)
		}
	}
	values := map[string]any{}
	if err := p.schema.Reconstruct(&values, p.ready[0]); err != nil {
		return dst, 0, p.in.at(p.done+1, "the row cannot be read: %v", err)
	}
	p.ready = p.ready[1:]
	p.done++
	dst = appendFields(dst, p.schema.Fields(), values)
	if len(dst) > p.in.maxRow {
		return dst, 0, p.in.tooLong(p.done)
	}
	return dst, p.done, nil
}

// appendFields writes a group of columns as a JSON object, in the order of the schema.
func appendFields(dst []byte, fields []parquet.Field, values map[string]any) []byte {
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, f.Name()), ':')
		dst = appendColumn(dst, f, values[f.Name()])
	}
	return append(dst, '}')
}

func appendColumn(dst []byte, f parquet.Field, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		if fields := groupOf(f); len(fields) == len(v) {
			return appendFields(dst, fields, v)
		}
		names := make([]string, 0, len(v)) // a map: keys as they sort
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		dst = append(dst, '{')
		for i, name := range names {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendColumn(append(appendString(dst, name), ':'), f, v[name])
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendColumn(dst, f, item)
		}
		return append(dst, ']')
	case string:
		return appendText(dst, v)
	case []byte:
		return appendText(dst, string(v))
	case float32:
		return appendFloat(dst, float64(v), 32)
	case float64:
		return appendFloat(dst, v, 64)
	case nil:
		return append(dst, "null"...)
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Append(dst, v)
	}
	return appendText(dst, fmt.Sprint(v)) // dates and the like
}

// groupOf returns the fields of the group that f is, or that the list f holds.
func groupOf(f parquet.Field) []parquet.Field {
	for fields := f.Fields(); ; fields = fields[0].Fields() {
		if len(fields) != 1 || fields[0].Leaf() || !slices.Contains([]string{"list", "element", "array", "bag", "item"}, fields[0].Name()) {
			return fields
		}
	}
}

func appendFloat(dst []byte, v float64, bits int) []byte {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

// appendText writes a text. Columns of bytes, which are no texts, are written in base64, so that they do no harm.
func appendText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = base64.StdEncoding.EncodeToString([]byte(s))
	}
	return appendString(dst, s)
}
