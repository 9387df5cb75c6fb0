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

// largest keeps the entries of largest magnitude: those above a threshold, and of those that equal it the first ones.
type largest struct {
	threshold uint32 // bits of a magnitude
	ties      []int  // for each row, how many entries at the threshold may stay; nil: all
}

func (l *largest) row(row int, _ []int32, values []float32) {
	left := math.MaxInt
	if l.ties != nil {
		left = l.ties[row]
	}
	for k, v := range values {
		switch bits := magnitudeBits(v); {
		case bits > l.threshold:
		case bits == l.threshold && left > 0:
			left--
		default:
			values[k] = 0
		}
	}
}

// magnitudeBits orders values by magnitude.
func magnitudeBits(v float32) uint32 { return math.Float32bits(v) & 0x7fffffff }

// keepLargest finds the threshold of a change by two counts over its entries: of the upper halves of their magnitudes, and
// of the lower halves where the upper is that of the threshold. That takes no memory in proportion to the weight, which may
// be larger than what there is. Of a sparse change the density is a share of its entries, of any other one of all.
func keepLargest(t *Target, term *Term) (pruner, error) {
	const half = 1 << 16
	entries := int64(t.Shape[0]) * int64(t.Shape[1])
	if e, ok := term.entries(); ok {
		entries = int64(e.Parameters())
	}
	keep := int64(t.Params.Density * float64(entries))
	if keep >= entries {
		return nil, nil
	}
	if keep == 0 {
		return &largest{threshold: math.MaxUint32}, nil
	}
	upper, above, err := t.rank(term, keep, func(bits uint32) (int, bool) { return int(bits / half), true })
	if err != nil {
		return nil, err
	}
	lower, more, err := t.rank(term, keep-above, func(bits uint32) (int, bool) { return int(bits % half), int(bits/half) == upper })
	if err != nil {
		return nil, err
	}
	l := &largest{threshold: uint32(upper)*half + uint32(lower)}
	l.ties, err = t.shareTies(term, l.threshold, keep-above-more)
	return l, err
}
