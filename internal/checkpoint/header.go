package checkpoint

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"shira/internal/fault"
)

const (
	// maxHeader is the format's limit on the JSON header, in bytes.
	maxHeader = 100_000_000
	// maxRank is PyTorch's limit on the dimensions of a tensor.
	maxRank = 64

	metadataKey = "__metadata__"
)

// header is what the JSON at the start of a file says.
type header struct {
	tensors  []Tensor // in the order of their data; offsets count from the start of the data
	byName   map[string]int
	metadata map[string]string
}

// parseHeader reads the JSON header of a file with dataSize bytes of tensor data. The tensors cover the data exactly,
// without hole or overlap. Memory stays within a small multiple of len(b).
func parseHeader(b []byte, dataSize int64) (*header, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("not UTF-8")
	}
	if len(b) == 0 || b[0] != '{' {
		return nil, fmt.Errorf("does not begin with {")
	}
	h := &header{byName: map[string]int{}}
	s := &scanner{b: b}
	err := s.object(func(key string) error {
		if key == metadataKey {
			return h.readMetadata(s)
		}
		if err := checkName(key); err != nil {
			return err
		}
		if _, ok := h.byName[key]; ok {
			return fmt.Errorf("tensor %s twice", fault.Quote(key))
		}
		t, err := readTensor(s)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", fault.Quote(key), err)
		}
		t.Name = key
		h.byName[key] = 0
		h.tensors = append(h.tensors, t)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = h.layOut(dataSize)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// checkName refuses names that could not be shown on a terminal as they are.
func checkName(name string) error {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("tensor %s: control characters in the name", fault.Quote(name))
	}
	return nil
}

// readMetadata reads the map of strings that a file may carry. MLX writes null for an empty one.
func (h *header) readMetadata(s *scanner) error {
	if h.metadata != nil {
		return fmt.Errorf("%s twice", metadataKey)
	}
	h.metadata = map[string]string{}
	if s.null() {
		return nil
	}
	err := s.object(func(key string) error {
		if _, ok := h.metadata[key]; ok {
			return fmt.Errorf("key %s twice", fault.Quote(key))
		}
		value, err := s.str()
		if err != nil {
			return fmt.Errorf("key %s: %w", fault.Quote(key), err)
		}
		h.metadata[key] = value
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", metadataKey, err)
	}
	return nil
}

// readTensor reads the value of one tensor: an object of exactly dtype, shape and data_offsets.
func readTensor(s *scanner) (t Tensor, err error) {
	var dtype, shape, offsets bool
	once := func(seen *bool, key string) error {
		if *seen {
			return fmt.Errorf("key %s twice", fault.Quote(key))
		}
		*seen = true
		return nil
	}
	var end int64
	err = s.object(func(key string) (err error) {
		switch key {
		case "dtype":
			if err := once(&dtype, key); err != nil {
				return err
			}
			t.DType, err = readDType(s)
		case "shape":
			if err := once(&shape, key); err != nil {
				return err
			}
			t.Shape, err = readShape(s)
		case "data_offsets":
			if err := once(&offsets, key); err != nil {
				return err
			}
			t.offset, end, err = readOffsets(s)
		default:
			return fmt.Errorf("unknown key %s", fault.Quote(key))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return t, err
	case !dtype:
		return t, fmt.Errorf("dtype is missing")
	case !shape:
		return t, fmt.Errorf("shape is missing")
	case !offsets:
		return t, fmt.Errorf("data_offsets is missing")
	}
	size, ok := byteSize(t.DType, t.Shape)
	if !ok {
		return t, fmt.Errorf("shape %v of %s overflows", t.Shape, t.DType)
	}
	t.size = end - t.offset
	if size != t.size {
		return t, fmt.Errorf("shape %v of %s is %d bytes, but data_offsets span %d", t.Shape, t.DType, size, t.size)
	}
	return t, nil
}

func readDType(s *scanner) (DType, error) {
	name, err := s.str()
	if err != nil {
		return 0, err
	}
	d, ok := ParseDType(name)
	if !ok {
		return 0, fmt.Errorf("unknown type %s", fault.Quote(name))
	}
	return d, nil
}

func readShape(s *scanner) ([]int, error) {
	var dims [maxRank]int
	rank := 0
	err := s.array(func() error {
		if rank == maxRank {
			return s.errorf("more than %d dimensions", maxRank)
		}
		n, err := s.natural()
		if err != nil {
			return err
		}
		if dims[rank] = int(n); int64(dims[rank]) != n {
			return s.errorf("a dimension beyond this machine")
		}
		rank++
		return nil
	})
	return append([]int{}, dims[:rank]...), err
}

func readOffsets(s *scanner) (begin, end int64, err error) {
	var at [2]int64
	n := 0
	err = s.array(func() error {
		if n == len(at) {
			return s.errorf("more than two numbers")
		}
		at[n], err = s.natural()
		n++
		return err
	})
	switch {
	case err != nil:
		return 0, 0, err
	case n < len(at):
		return 0, 0, s.errorf("fewer than two numbers")
	case at[0] > at[1]:
		return 0, 0, fmt.Errorf("begin %d is after end %d", at[0], at[1])
	}
	return at[0], at[1], nil
}

// byteSize returns the bytes of a tensor, and false where a count of elements or of bytes, zero dimensions aside, does
// not fit an int.
func byteSize(d DType, shape []int) (int64, bool) {
	n, zero := uint64(d.Size()), false
	for _, dim := range shape {
		if dim < 0 {
			return 0, false
		}
		if dim == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(dim))
		if hi != 0 || lo > maxInt {
			return 0, false
		}
		n = lo
	}
	if zero {
		return 0, true
	}
	return int64(n), true
}

const maxInt = uint64(^uint(0) >> 1)

// layOut sorts the tensors by their place in the data and checks that they cover it.
func (h *header) layOut(dataSize int64) error {
	slices.SortStableFunc(h.tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size))
	})
	var end int64
	for i, t := range h.tensors {
		switch {
		case t.offset < end:
			return fmt.Errorf("tensors %s and %s overlap", fault.Quote(h.tensors[i-1].Name), fault.Quote(t.Name))
		case t.offset > end:
			return fmt.Errorf("%d bytes before tensor %s belong to no tensor", t.offset-end, fault.Quote(t.Name))
		}
		end += t.size
		if end > dataSize {
			return fmt.Errorf("tensor %s ends at byte %d of %d bytes of data; the file is cut short", fault.Quote(t.Name), end, dataSize)
		}
		h.byName[t.Name] = i
	}
	if end < dataSize {
		return fmt.Errorf("%d bytes after the last tensor belong to no tensor", dataSize-end)
	}
	return nil
}
