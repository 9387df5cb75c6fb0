package merge

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"shira/internal/checkpoint"
)

// adder adds changes to stored numbers, with one rounding, and tells which of them have other bits then.
type adder struct {
	old, new []byte    // the stored bytes of the entries
	values   []float32 // scratch
	halfs    []uint16  // scratch
	flags    []bool    // of each entry, whether its bits changed

	entries, changed int64   // entries with a change other than 0, and of those the ones with other bits
	squares          float64 // Σ of the squares of the changes
}

// block adds sum[k] to the number at index at[k] of block, or with all at k. Where the change is 0 the bits stay. It
// returns the first entry k whose sum is not finite, −1 for none.
func (a *adder) block(dtype checkpoint.DType, block []byte, all bool, at []int32, sum []float64) (bad int, err error) {
	size := dtype.Size()
	a.old = a.old[:0]
	if all {
		a.old, at = append(a.old, block...), nil
	}
	for _, i := range at {
		a.old = append(a.old, block[int(i)*size:(int(i)+1)*size]...)
	}
	a.new = append(a.new[:0], a.old...)
	if dtype == checkpoint.F64 {
		for k, d := range sum {
			binary.LittleEndian.PutUint64(a.new[8*k:], math.Float64bits(a.before(dtype, k)+d))
		}
	} else if err := a.narrow(dtype, sum); err != nil {
		return 0, err
	}
	if bad := a.compare(size, sum); bad >= 0 {
		return bad, nil
	}
	if all {
		copy(block, a.new)
	}
	for k, i := range at {
		copy(block[int(i)*size:(int(i)+1)*size], a.new[k*size:])
	}
	return -1, nil
}

// sparseHalves is block for some entries of bfloat16 numbers. Where a sum is not finite it says so and leaves h as it was.
func (a *adder) sparseHalves(h []uint16, at []int32, sum []float64) (finite bool) {
	a.halfs = slices.Grow(a.halfs[:0], len(at))[:len(at)]
	a.values = slices.Grow(a.values[:0], len(at))[:len(at)]
	a.flags = slices.Grow(a.flags[:0], len(at))[:len(at)]
	a.squares = 0
	for k, i := range at {
		a.halfs[k] = h[i]
		a.values[k] = float32(sum[k])
		a.squares += float64(sum[k] * sum[k])
	}
	if !a.halves(a.halfs, a.values, a.flags) {
		return false
	}
	for k, i := range at {
		h[i] = a.halfs[k]
	}
	return true
}

// narrow adds in float32. values then has what was stored, which decides, not what was meant.
func (a *adder) narrow(dtype checkpoint.DType, sum []float64) error {
	a.values = slices.Grow(a.values[:0], len(sum))[:len(sum)]
	if err := checkpoint.DecodeFloat32(a.values, dtype, a.old); err != nil {
		return err
	}
	for k, d := range sum {
		a.values[k] += float32(d)
	}
	if err := checkpoint.EncodeFloat32(a.new, dtype, a.values); err != nil {
		return err
	}
	return checkpoint.DecodeFloat32(a.values, dtype, a.new)
}

// compare counts, and puts the old bits back where nothing is added. It returns the first entry that is not finite.
func (a *adder) compare(size int, sum []float64) (bad int) {
	a.flags = slices.Grow(a.flags[:0], len(sum))[:len(sum)]
	a.entries, a.changed, a.squares = 0, 0, 0
	for k, d := range sum {
		a.flags[k] = false
		old, now := a.old[k*size:(k+1)*size], a.new[k*size:(k+1)*size]
		if d == 0 {
			copy(now, old)
			continue
		}
		a.entries++
		a.squares += float64(d * d)
		if !bytes.Equal(old, now) {
			a.flags[k] = true
			a.changed++
		}
		var v float64
		if size == 8 {
			v = math.Float64frombits(binary.LittleEndian.Uint64(now))
		} else {
			v = float64(a.values[k])
		}
		if v-v != 0 {
			return k
		}
	}
	return -1
}

// before returns what was stored at entry k.
func (a *adder) before(dtype checkpoint.DType, k int) float64 {
	size := dtype.Size()
	b := a.old[k*size : (k+1)*size]
	if dtype == checkpoint.F64 {
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	var v [1]float32
	if checkpoint.DecodeFloat32(v[:], dtype, b) != nil {
		return math.NaN()
	}
	return float64(v[0])
}
