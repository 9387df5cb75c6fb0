package switcher

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// sums is the change W' = W + Σ αᵢ·ΔWᵢ that adapters make, to the bits that package fuse gives: the sum over the adapters is
// formed in float64, in an order that does not depend on how they were given; it is rounded to float32 and added to W in
// float32, and that is rounded once to the type in which W is stored. For a float64 weight all of it is in float64. Where the
// sum is 0 the bits stay.
type sums struct {
	terms map[string][]term // by tensor
	pool  sync.Pool         // of *scratch
}

// term is one adapter's part of a sum.
type term struct {
	delta  adapter.Delta
	weight float64
}

// scratch is memory for one block.
type scratch struct {
	sum          []float64
	values, rows []float32
	before       []byte
}

func newSums() *sums {
	return &sums{terms: map[string][]term{}, pool: sync.Pool{New: func() any { return new(scratch) }}}
}

// add adds a term, in the order in which sums are formed. One of weight 0 takes no part.
func (s *sums) add(d adapter.Delta, weight float64, dtype checkpoint.DType) {
	if weight == 0 {
		return
	}
	if dtype != checkpoint.F64 {
		weight = float64(float32(weight)) // products with float32 values are then exact
	}
	name := adapter.WeightName(d)
	s.terms[name] = append(s.terms[name], term{d, weight})
}

// entries implements change.
func (s *sums) entries(t *tensor, first int64, n int, dst []uint32) (list []uint32, all bool) {
	terms := s.terms[t.Name]
	for _, term := range terms {
		if _, ok := term.delta.(adapter.Entries); !ok {
			return nil, true
		}
	}
	for i, term := range terms {
		d := term.delta.(adapter.Entries)
		for r := range n / t.Cols {
			cols, _ := d.Row(int(first/int64(t.Cols)) + r)
			for _, c := range cols {
				dst = append(dst, uint32(r*t.Cols)+uint32(c))
			}
		}
		if i > 0 {
			slices.Sort(dst)
			dst = slices.Compact(dst)
		}
	}
	return dst, false
}

// values implements change.
func (s *sums) values(t *tensor, first int64, list []uint32, all bool, base, dst []byte) ([]byte, error) {
	w := s.pool.Get().(*scratch)
	defer s.pool.Put(w)
	n := len(base) / t.size
	w.values = slices.Grow(w.values[:0], n)[:n]
	dtype, _ := checkpoint.ParseDType(t.DType)
	if err := checkpoint.DecodeFloat32(w.values, dtype, base); err != nil {
		return nil, err
	}
	row := int(first / int64(t.Cols))
	terms := s.terms[t.Name]
	if _, sparse := terms[0].delta.(adapter.Entries); len(terms) == 1 && !sparse && dtype != checkpoint.F64 {
		// A product of two float32 rounds to the same float32 from float64 as at once: the sum of one term needs no float64.
		w.rows = slices.Grow(w.rows[:0], n)[:n]
		terms[0].delta.Rows(w.rows, w.values, row, n/t.Cols)
		return w.one(t, float32(terms[0].weight), first, dtype, base, dst)
	}
	w.sum = slices.Grow(w.sum[:0], n)[:n]
	clear(w.sum)
	for _, term := range terms {
		d, sparse := term.delta.(adapter.Entries)
		switch {
		case !sparse:
			w.rows = slices.Grow(w.rows[:0], n)[:n]
			term.delta.Rows(w.rows, w.values, row, n/t.Cols)
			for k, v := range w.rows {
				w.sum[k] += float64(term.weight * float64(v)) // rounded here: never fused with the sum
			}
		case all:
			w.addAll(d, term.weight, row, n/t.Cols, t.Cols)
		default:
			w.addList(d, term.weight, row, t.Cols, list)
		}
	}
	dst = append(dst[:0], base...)
	bad, err := w.round(dtype, dst)
	if err != nil {
		return nil, err
	}
	if bad >= 0 {
		flat := first + int64(bad)
		if !all {
			flat = first + int64(list[bad])
		}
		return nil, errNotFinite(t, flat, dtype, w.sum[bad])
	}
	return dst, nil
}

// one is the sum of one term, whose change is w.rows.
func (w *scratch) one(t *tensor, weight float32, first int64, dtype checkpoint.DType, base, dst []byte) ([]byte, error) {
	for k, v := range w.rows {
		w.values[k] += float32(weight * v) // never fused with the sum
	}
	dst = slices.Grow(dst[:0], len(base))[:len(base)]
	if err := checkpoint.EncodeFloat32(dst, dtype, w.values); err != nil {
		return nil, err
	}
	if err := checkpoint.DecodeFloat32(w.values, dtype, dst); err != nil {
		return nil, err
	}
	for k, v := range w.rows {
		if v == 0 {
			copy(dst[k*t.size:(k+1)*t.size], base[k*t.size:])
		} else if sum := w.values[k]; sum-sum != 0 {
			return nil, errNotFinite(t, first+int64(k), dtype, float64(weight)*float64(v))
		}
	}
	return dst, nil
}

// errNotFinite is the error of an element that its type cannot hold.
func errNotFinite(t *tensor, flat int64, dtype checkpoint.DType, sum float64) error {
	return fault.New(fault.Numerical, "", "%s: entry [%d, %d] would not be finite in %s: the adapters add %v",
		fault.Quote(t.Name), flat/int64(t.Cols), flat%int64(t.Cols), dtype, sum)
}

// addAll adds the entries of rows to the sums of all elements.
func (w *scratch) addAll(d adapter.Entries, weight float64, row, rows, cols int) {
	for r := range rows {
		at, values := d.Row(row + r)
		for k, c := range at {
			w.sum[r*cols+int(c)] += float64(weight * float64(values[k]))
		}
	}
}

// addList adds the entries of rows to the sums of the elements of list, which has all of them.
func (w *scratch) addList(d adapter.Entries, weight float64, row, cols int, list []uint32) {
	for k := 0; k < len(list); {
		r := int(list[k]) / cols
		at, values := d.Row(row + r)
		end := uint32((r + 1) * cols)
		for i, c := range at {
			for element := uint32(r*cols) + uint32(c); list[k] != element; k++ {
			}
			w.sum[k] += float64(weight * float64(values[i]))
		}
		for k < len(list) && list[k] < end {
			k++
		}
	}
}

// round adds the sums to what stored has, and returns the first element that would not be finite, −1 for none. w.values has
// the same numbers in float32.
func (w *scratch) round(dtype checkpoint.DType, stored []byte) (bad int, err error) {
	size := dtype.Size()
	if dtype == checkpoint.F64 {
		for k, d := range w.sum {
			v := math.Float64frombits(binary.LittleEndian.Uint64(stored[8*k:])) + d
			if d == 0 {
				continue
			}
			if v-v != 0 {
				return k, nil
			}
			binary.LittleEndian.PutUint64(stored[8*k:], math.Float64bits(v))
		}
		return -1, nil
	}
	for k, d := range w.sum {
		w.values[k] += float32(d)
	}
	w.before = append(w.before[:0], stored...)
	if err := checkpoint.EncodeFloat32(stored, dtype, w.values); err != nil {
		return 0, err
	}
	if err := checkpoint.DecodeFloat32(w.values, dtype, stored); err != nil {
		return 0, err
	}
	for k, d := range w.sum {
		switch v := w.values[k]; {
		case d == 0:
			copy(stored[k*size:(k+1)*size], w.before[k*size:])
		case v-v != 0:
			return k, nil
		}
	}
	return -1, nil
}
