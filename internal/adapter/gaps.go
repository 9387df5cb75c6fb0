package adapter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"shira/internal/checkpoint"
)

// sparseGaps are the entries of a compact file, instead of sparseIndices: bytes.
//
// The entries' flat indices row·in + column ascend. Each is stored as the gap before it, the number of entries of the weight
// between it and the one before; for the first, those before it. A gap below 255 is one byte; another is the byte 255 and
// gap − 255 as a varint of protocol buffers (LEB128), in as few bytes as there can be. At a density of 1% that is 1.1 bytes
// an entry.
const sparseGaps = "shira_gaps" // (n) U8

const wideGap = 255

// gapsEntry is the tensor of gaps. Its size is counted first.
func (s *Sparse) gapsEntry(name string) checkpoint.Entry {
	n := 0
	for gap := range s.gaps() {
		n += len(gap)
	}
	return checkpoint.Entry{Name: name, DType: checkpoint.U8, Shape: []int{n}, Write: func(w io.Writer) error {
		buf := make([]byte, 0, 1<<16)
		for gap := range s.gaps() {
			if len(buf)+len(gap) > cap(buf) {
				if _, err := w.Write(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
			buf = append(buf, gap...)
		}
		_, err := w.Write(buf)
		return err
	}}
}

// gaps yields the bytes of each gap, in memory that the next ones take.
func (s *Sparse) gaps() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var b [1 + binary.MaxVarintLen64]byte
		next := int64(0)
		s := s.whole()
		for k, row := range s.RowIdx {
			i := int64(row)*int64(s.In) + int64(s.ColIdx[k])
			gap, n := i-next, 1
			if gap < wideGap {
				b[0] = byte(gap)
			} else {
				b[0] = wideGap
				n += binary.PutUvarint(b[1:], uint64(gap-wideGap))
			}
			if !yield(b[:n]) {
				return
			}
			next = i + 1
		}
	}
}

// readGaps decodes exactly k entries of a weight of shape (out, in).
func readGaps(data []byte, k, out, in int) (rows, cols []int32, err error) {
	if len(data) < k {
		return nil, nil, fmt.Errorf("%s has %d bytes for %d entries", sparseGaps, len(data), k)
	}
	both := make([]int32, 2*k)
	rows, cols = both[:k:k], both[k:]
	next, size := int64(0), int64(out)*int64(in)
	row, start := int64(0), int64(0) // of the entry before, and that row's first index
	for i := range k {
		gap, n, err := readGap(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s, entry %d: %w", sparseGaps, i, err)
		}
		if gap >= size-next {
			return nil, nil, fmt.Errorf("%s, entry %d lies outside the weight's shape (%d, %d)", sparseGaps, i, out, in)
		}
		data = data[n:]
		flat := next + gap
		if flat-start >= int64(in) {
			row = flat / int64(in)
			start = row * int64(in)
		}
		rows[i], cols[i] = int32(row), int32(flat-start)
		next = flat + 1
	}
	if len(data) > 0 {
		return nil, nil, fmt.Errorf("%s has %d bytes after the last of %d entries", sparseGaps, len(data), k)
	}
	return rows, cols, nil
}

// readGap decodes the gap at the start of data and returns how many bytes it takes.
func readGap(data []byte) (gap int64, n int, err error) {
	switch {
	case len(data) == 0:
		return 0, 0, errors.New("the data ends")
	case data[0] != wideGap:
		return int64(data[0]), 1, nil
	}
	wide, n := binary.Uvarint(data[1:])
	switch {
	case n == 0:
		return 0, 0, errors.New("the data ends")
	case n < 0 || wide > math.MaxInt64-wideGap:
		return 0, 0, errors.New("the gap is beyond 2^63")
	case n > 1 && data[n] == 0:
		return 0, 0, errors.New("the gap has more bytes than it needs")
	}
	return int64(wide) + wideGap, 1 + n, nil
}

// bytesOf returns the data of a tensor of bytes, copied from the file.
func bytesOf(t checkpoint.Tensor) ([]byte, error) {
	var b bytes.Buffer
	err := t.Entry().Write(&b)
	return b.Bytes(), err
}
