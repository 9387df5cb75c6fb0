package merge

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// pruner decides which entries of a change stay.
type pruner interface {
	// row changes one row of the change: values at ascending columns, or at all where cols is nil. What goes becomes 0.
	row(row int, cols []int32, values []float32)
}

// random keeps each entry with the probability density, and divides what stays by it. Its choice is a function of the seed,
// the weight's name, the adapter and the entry's place alone.
type random struct {
	key       uint64
	in        int
	threshold uint64 // of 2^53
	density   float32
}

func keepRandom(t *Target, term *Term) (pruner, error) {
	b := binary.LittleEndian.AppendUint64(nil, t.Params.Seed)
	b = append(append(append(b, t.Name...), 0), term.Salt...)
	sum := sha256.Sum256(b)
	return &random{
		key: binary.LittleEndian.Uint64(sum[:]), in: t.Shape[1],
		threshold: uint64(math.Ceil(t.Params.Density * (1 << 53))), density: float32(t.Params.Density),
	}, nil
}

func (r *random) row(row int, cols []int32, values []float32) {
	for k := range values {
		col := k
		if cols != nil {
			col = int(cols[k])
		}
		if splitmix(r.key+uint64(row*r.in+col))>>11 < r.threshold {
			values[k] /= r.density
		} else {
			values[k] = 0
		}
	}
}

// splitmix is the output function of SplitMix64 (Steele et al., 2014) at a place of its sequence.
func splitmix(at uint64) uint64 {
	z := (at + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// largest keeps the entries of largest magnitude.
type largest struct{ *Largest }

func (l largest) row(row int, _ []int32, values []float32) { l.Keep(row, values) }

// keepLargest keeps the largest entries: of a sparse change the density is a share of its entries, of any other one of all.
func keepLargest(t *Target, term *Term) (pruner, error) {
	entries := int64(t.Shape[0]) * int64(t.Shape[1])
	if e, ok := term.entries(); ok {
		entries = int64(e.Parameters())
	}
	keep := int64(t.Params.Density * float64(entries))
	if keep >= entries {
		return nil, nil
	}
	r := Ranking{Rows: t.Shape[0], Blocks: t.Blocks(), Scan: func(block int, visit func(row int, values []float32)) error {
		return t.scan(term, block, visit)
	}}
	found, err := r.Largest(keep)
	return largest{found}, err
}

// scan calls visit with each row of a block of the change.
func (t *Target) scan(term *Term, block int, visit func(row int, values []float32)) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	first, n := t.Rows(block)
	if e, ok := term.entries(); ok {
		for row := first; row < first+n; row++ {
			_, values := e.Row(row)
			visit(row, values)
		}
		return nil
	}
	in := t.Shape[1]
	base, err := t.base(first, n)
	if err != nil {
		return err
	}
	dst := make([]float32, n*in)
	term.Delta.Rows(dst, base, first, n)
	for i := range n {
		visit(first+i, dst[i*in:(i+1)*in])
	}
	return nil
}
