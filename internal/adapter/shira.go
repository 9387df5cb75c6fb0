package adapter

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// The tensors of a SHiRA delta, as PEFT stores them.
const (
	sparseIndices = "shira_indices" // (2, K) int32: rows, then columns, in ascending row-major order
	sparseValues  = "shira_weight"  // (K,)

	// Of SHiRA-DoRA's second form, which PEFT does not have.
	sparseMagnitude = "shira_magnitude_vector" // (out)
)

// maxExactFloat is the largest n for which float32 tells n from n+1: 2^24.
const maxExactFloat = 1 << 24

// readSparse reads the delta of one module. Indices may be of any integer type, or float32 when exact, as PEFT writes them
// on Windows; values of any float type.
func readSparse(module string, parts map[string]checkpoint.Tensor, _ *Config, known shapes, p *problems) Delta {
	if s := readEntries(module, parts, known, p); s != nil {
		return s
	}
	return nil
}

// readShiraDora reads the delta of one module: that of readSparse and a magnitude.
func readShiraDora(module string, parts map[string]checkpoint.Tensor, _ *Config, known shapes, p *problems) Delta {
	s := readEntries(module, parts, known, p)
	if s == nil {
		return nil
	}
	d := &ShiraDora{S: s}
	t, ok := parts[sparseMagnitude]
	if !ok || len(t.Shape) != 1 {
		p.Add("%s: has no %s of shape (out)", fault.Quote(module), sparseMagnitude)
		return nil
	}
	var err error
	if d.Magnitude, err = t.Float32s(nil); err == nil {
		err = d.validate()
	}
	if err != nil {
		p.addErr(fault.Quote(module), err)
		return nil
	}
	return d
}

// readEntries reads the entries of one module.
func readEntries(module string, parts map[string]checkpoint.Tensor, known shapes, p *problems) *Sparse {
	name := fault.Quote(module)
	values, hasValues := parts[sparseValues]
	indices, hasIndices := parts[sparseIndices]
	gaps, isCompact := parts[sparseGaps]
	size, isKnown := known[module]
	switch {
	case !hasValues:
		p.Add("%s: has no %s", name, sparseValues)
		return nil
	case !hasIndices && !isCompact:
		p.Add("%s: has %s but no %s", name, sparseValues, sparseIndices)
		return nil
	case hasIndices && isCompact:
		p.Add("%s: has both %s and %s", name, sparseIndices, sparseGaps)
		return nil
	case len(values.Shape) != 1 || values.Shape[0] == 0:
		p.Add("%s: the shape of %s is %v, want (K) with K > 0", name, sparseValues, values.Shape)
		return nil
	case hasIndices && (len(indices.Shape) != 2 || indices.Shape[0] != 2 || indices.Shape[1] != values.Shape[0]):
		p.Add("%s: the shape of %s is %v, want (2, %d) for as many values", name, sparseIndices, indices.Shape, values.Shape[0])
		return nil
	case isCompact && (gaps.DType != checkpoint.U8 || len(gaps.Shape) != 1):
		p.Add("%s: %s is %s of shape %v, want bytes", name, sparseGaps, gaps.DType, gaps.Shape)
		return nil
	case isCompact && !isKnown:
		p.Add("%s: %s are of no use without the weight's shape, which the configuration does not say", name, sparseGaps)
		return nil
	}
	s := &Sparse{Name: module, Out: size[0], In: size[1], k: values.Shape[0]}
	places := indices
	if isCompact {
		places = gaps
	}
	decode := func() (*Sparse, error) {
		d := &Sparse{Name: module, Out: s.Out, In: s.In}
		var err error
		if isCompact {
			var data []byte
			if data, err = bytesOf(gaps); err == nil {
				d.RowIdx, d.ColIdx, err = readGaps(data, s.k, d.Out, d.In)
			}
		} else {
			d.RowIdx, d.ColIdx, err = readIndices(indices)
		}
		if err == nil {
			d.Values, err = values.Float32s(nil)
		}
		return d, err
	}
	d, err := decode()
	if err == nil {
		err = d.validate()
	}
	switch {
	case err != nil:
		p.addErr(name, err)
		return nil
	case isLazy(true, places, values):
		s.lazy = &lazy[Sparse]{decode: decode, tensors: []checkpoint.Tensor{places, values}}
		return s
	}
	return d
}

// readIndices returns the rows and columns of a (2, K) tensor.
func readIndices(t checkpoint.Tensor) (rows, cols []int32, err error) {
	k := t.Shape[1]
	var both []int32
	if t.DType == checkpoint.F32 {
		both = make([]int32, 2*k)
		err = floatIndices(both, t)
	} else {
		both, err = intIndices(t)
	}
	if err != nil {
		return nil, nil, err
	}
	return both[:k:k], both[k:], nil
}

func intIndices(t checkpoint.Tensor) ([]int32, error) {
	if t.DType.IsFloat() || t.DType == checkpoint.BOOL {
		return nil, fmt.Errorf("indices are %s: want integers", t.DType)
	}
	wrong := func(i int, v int64) error { return fmt.Errorf("index %d is %d: want 0 … %d", i, v, math.MaxInt32) }
	if t.DType == checkpoint.I32 {
		ints, err := t.Int32s()
		if i := slices.IndexFunc(ints, func(v int32) bool { return v < 0 }); i >= 0 {
			return nil, wrong(i, int64(ints[i]))
		}
		return ints, err
	}
	wide, err := t.Ints(nil)
	if err != nil {
		return nil, err
	}
	ints := make([]int32, len(wide))
	for i, v := range wide {
		if v < 0 || v > math.MaxInt32 {
			return nil, wrong(i, v)
		}
		ints[i] = int32(v)
	}
	return ints, nil
}

func floatIndices(dst []int32, t checkpoint.Tensor) error {
	floats, err := t.Float32s(nil)
	if err != nil {
		return err
	}
	for i, v := range floats {
		if !(v >= 0 && v < maxExactFloat) || v != float32(int32(v)) {
			return fmt.Errorf("index %d is the float32 %v: want a whole number from 0 to below 2^24, where float32 is exact", i, v)
		}
		dst[i] = int32(v)
	}
	return nil
}

// tensors returns values and indices, or gaps in a compact file.
func (s *Sparse) tensors(f Form) []checkpoint.Entry {
	s = s.whole()
	name := keyPrefix + s.Name + "."
	indices := checkpoint.Entry{Name: name + sparseIndices, DType: checkpoint.I32, Shape: []int{2, len(s.Values)}, Write: s.writeIndices}
	if f.Compact {
		indices = s.gapsEntry(name + sparseGaps)
	}
	return []checkpoint.Entry{
		f.float(name+sparseValues, []int{len(s.Values)}, s.Values),
		indices,
	}
}

// writeIndices writes all rows, then all columns, a part at a time: those of a large adapter are another 8 bytes for each
// value, which a training run that ends has no memory for.
func (s *Sparse) writeIndices(w io.Writer) error {
	buf := make([]byte, 0, 1<<16)
	for _, all := range [][]int32{s.RowIdx, s.ColIdx} {
		for part := range slices.Chunk(all, cap(buf)/4) {
			buf = buf[:0]
			for _, i := range part {
				buf = binary.LittleEndian.AppendUint32(buf, uint32(i))
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
	}
	return nil
}
