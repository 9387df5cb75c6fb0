package fuse

import (
	"bytes"
	"encoding/binary"
	"math"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// summer adds the terms of a target to blocks of its rows.
type summer struct {
	*target
	counts counts

	// The entries of one block, in row-major order, and the parts of their sums.
	at    []int     // index into the block
	delta []float64 // Σ weight·value
	parts []part

	// Scratch: the stored bytes of those entries before and after, their values, and the rest of the current row.
	before, after []byte
	values        []float32
	rows          []rowOf
}

// part is what one adapter adds to one entry.
type part struct {
	entry, adapter int
	value          float64
}

// rowOf is what is left of one term's row.
type rowOf struct {
	cols   []int32
	values []float32
	weight float64
}

// addTo adds to block, the bytes of whole rows from row first on.
func (s *summer) addTo(block []byte, first int) error {
	in, size := s.Shape[1], s.DType.Size()
	s.at, s.delta, s.parts = s.at[:0], s.delta[:0], s.parts[:0]
	for r := range len(block) / (in * size) {
		if err := s.merge(first+r, r*in, block[r*in*size:(r+1)*in*size]); err != nil {
			return err
		}
	}
	s.before = s.before[:0]
	for _, i := range s.at {
		s.before = append(s.before, block[i*size:(i+1)*size]...)
	}
	s.after = append(s.after[:0], s.before...)
	if bad, err := s.add(); err != nil {
		return err
	} else if bad >= 0 {
		flat := first*in + s.at[bad]
		return fault.New(fault.Numerical, s.Path(),
			"%s: entry [%d, %d] would not be finite in %s: the base has %v, the adapters add %v",
			fault.Quote(s.Name), flat/in, flat%in, s.DType, s.baseValue(bad), s.delta[bad])
	}
	for k, i := range s.at {
		copy(block[i*size:(i+1)*size], s.after[k*size:])
	}
	s.count()
	return nil
}

// merge appends the entries of one row that any term has, columns ascending. Its first element is entry base of the block;
// stored has the base's bytes.
func (s *summer) merge(row, base int, stored []byte) error {
	s.rows = s.rows[:0]
	for _, t := range s.terms {
		cols, values, err := s.row(t.delta, row, stored)
		if err != nil {
			return err
		}
		weight := t.weight
		if s.DType != checkpoint.F64 {
			weight = float64(float32(weight)) // products with float32 values are then exact
		}
		s.rows = append(s.rows, rowOf{cols, values, weight})
	}
	for {
		col, found := int32(math.MaxInt32), false
		for _, r := range s.rows {
			if len(r.cols) > 0 && r.cols[0] <= col {
				col, found = r.cols[0], true
			}
		}
		if !found {
			return nil
		}
		sum := 0.0
		for i := range s.rows {
			r := &s.rows[i]
			if len(r.cols) == 0 || r.cols[0] != col {
				continue
			}
			v := float64(r.weight * float64(r.values[0])) // rounded here: never fused with the sum
			sum += v
			s.parts = append(s.parts, part{entry: len(s.at), adapter: s.terms[i].adapter, value: v})
			r.cols, r.values = r.cols[1:], r.values[1:]
		}
		s.at, s.delta = append(s.at, base+int(col)), append(s.delta, sum)
	}
}

// row returns the entries of one row of a delta: all of them where it is not sparse.
func (s *summer) row(d adapter.Delta, row int, stored []byte) (cols []int32, values []float32, err error) {
	if d, ok := d.(adapter.Entries); ok {
		cols, values = d.Row(row)
		return cols, values, nil
	}
	in := s.Shape[1]
	weight := make([]float32, in)
	if err := checkpoint.DecodeFloat32(weight, s.DType, stored); err != nil {
		return nil, nil, err
	}
	cols, values = make([]int32, in), make([]float32, in)
	d.Rows(values, weight, row, 1)
	for c := range cols {
		cols[c] = int32(c)
	}
	return cols, values, nil
}

// add makes after, a copy of before, the rounded sums. Entries whose delta is 0 keep their bits. It returns the first
// entry whose sum is not finite, −1 for none.
func (s *summer) add() (bad int, err error) {
	if s.DType == checkpoint.F64 {
		return s.add64(), nil
	}
	size := s.DType.Size()
	s.values = resize(s.values, len(s.at))
	if err := checkpoint.DecodeFloat32(s.values, s.DType, s.before); err != nil {
		return 0, err
	}
	for k, d := range s.delta {
		s.values[k] += float32(d)
	}
	if err := checkpoint.EncodeFloat32(s.after, s.DType, s.values); err != nil {
		return 0, err
	}
	// What was stored decides, not what was meant: read it back.
	if err := checkpoint.DecodeFloat32(s.values, s.DType, s.after); err != nil {
		return 0, err
	}
	for k, d := range s.delta {
		switch v := s.values[k]; {
		case d == 0:
			copy(s.after[k*size:(k+1)*size], s.before[k*size:])
		case v-v != 0:
			return k, nil
		}
	}
	return -1, nil
}

func (s *summer) add64() (bad int) {
	for k, d := range s.delta {
		if d == 0 {
			continue
		}
		v := s.baseValue(k) + d
		if v-v != 0 {
			return k
		}
		binary.LittleEndian.PutUint64(s.after[8*k:], math.Float64bits(v))
	}
	return -1
}

// baseValue returns what the base has at entry k.
func (s *summer) baseValue(k int) float64 {
	size := s.DType.Size()
	b := s.before[k*size : (k+1)*size]
	if s.DType == checkpoint.F64 {
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	var v [1]float32
	if err := checkpoint.DecodeFloat32(v[:], s.DType, b); err != nil {
		return math.NaN()
	}
	return float64(v[0])
}

// count compares stored bits before and after.
func (s *summer) count() {
	size := s.DType.Size()
	changed := func(k int) bool {
		return !bytes.Equal(s.before[k*size:(k+1)*size], s.after[k*size:(k+1)*size])
	}
	for k, d := range s.delta {
		if d == 0 {
			continue
		}
		s.counts.entries++
		if changed(k) {
			s.counts.changed++
		}
	}
	for i, p := range s.parts {
		if p.value != 0 {
			c := &s.counts.of[p.adapter]
			c.entries++
			if changed(p.entry) {
				c.changed++
			}
		}
		for _, q := range s.parts[i+1:] {
			if q.entry != p.entry {
				break
			}
			a, b := min(p.adapter, q.adapter), max(p.adapter, q.adapter)
			s.counts.both[a][b]++
			if p.value*q.value < 0 {
				s.counts.conflicts[a][b]++
			}
		}
	}
}

// resize returns a slice of n elements, in the memory of b where that suffices.
func resize(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}
