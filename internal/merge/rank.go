package merge

import (
	"math"

	"shira/internal/kernel"
)

// Ranking finds the largest values of a matrix that is computed in blocks of rows, again and again, since it may be larger
// than what memory there is.
type Ranking struct {
	Rows   int
	Blocks int

	// Scan calls visit with each row of a block, or with those of its values that count. Calls may run beside each other.
	Scan func(block int, visit func(row int, values []float32)) error
}

// Largest says which values of a matrix are among its largest: those of a magnitude above a threshold, and of those that
// equal it the first ones.
type Largest struct {
	threshold uint32 // bits of a magnitude
	ties      []int  // for each row, how many values at the threshold belong to them; nil: all
}

// classes is the number of values of half of a magnitude's bits.
const classes = 1 << 16

// Largest finds the keep largest values. It scans the matrix twice, counting the upper halves of magnitudes and then the
// lower halves where the upper is that of the threshold, and a third time where only some of the values at the threshold
// belong to the largest.
func (r *Ranking) Largest(keep int64) (*Largest, error) {
	if keep <= 0 {
		return &Largest{threshold: math.MaxUint32}, nil
	}
	upper, above, err := r.rank(keep, func(bits uint32) (int, bool) { return int(bits / classes), true })
	if err != nil {
		return nil, err
	}
	lower, more, err := r.rank(keep-above, func(bits uint32) (int, bool) { return int(bits % classes), int(bits/classes) == upper })
	if err != nil {
		return nil, err
	}
	l := &Largest{threshold: uint32(upper)*classes + uint32(lower)}
	l.ties, err = r.shareTies(l.threshold, keep-above-more)
	return l, err
}

// Keep sets the values of a row that are not among the largest to 0. values must be those that a scan gave.
func (l *Largest) Keep(row int, values []float32) {
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

// rank returns the class of the keep-th largest value, and how many are of larger classes. class says of which class a
// value is, by its magnitude, or that it does not count.
func (r *Ranking) rank(keep int64, class func(bits uint32) (int, bool)) (found int, above int64, err error) {
	counts := make([]int64, classes)
	free := make(chan []int64, r.Blocks) // counts for the next block
	err = parallel(r.Blocks, func(i int) error {
		var own []int64
		select {
		case own = <-free:
		default:
			own = make([]int64, classes)
		}
		defer func() { free <- own }()
		return r.Scan(i, func(_ int, values []float32) {
			for _, v := range values {
				if c, ok := class(magnitudeBits(v)); ok {
					own[c]++
				}
			}
		})
	})
	close(free)
	for own := range free {
		for c, k := range own {
			counts[c] += k
		}
	}
	for c := classes - 1; c >= 0; c-- {
		if above+counts[c] >= keep {
			return c, above, err
		}
		above += counts[c]
	}
	return 0, above, err
}

// shareTies says how many values at the threshold belong to the keep first of them, for each row. It returns nil when all do.
func (r *Ranking) shareTies(threshold uint32, keep int64) ([]int, error) {
	ties := make([]int, r.Rows)
	err := parallel(r.Blocks, func(i int) error {
		return r.Scan(i, func(row int, values []float32) {
			for _, v := range values {
				if magnitudeBits(v) == threshold {
					ties[row]++
				}
			}
		})
	})
	total := int64(0)
	for row, n := range ties {
		ties[row] = int(min(int64(n), max(0, keep-total)))
		total += int64(n)
	}
	if total <= keep {
		return nil, err
	}
	return ties, err
}

// parallel calls f(0) … f(n−1) on all threads and returns the first error by index.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	kernel.Parallel(n, func(i int) { errs[i] = f(i) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
