package merge

// rank returns the class of the keep-th largest of a change's entries, and how many are of larger classes. class says of
// which of 2^16 classes an entry is, by its magnitude, or that it does not count.
func (t *Target) rank(term *Term, keep int64, class func(bits uint32) (int, bool)) (found int, above int64, err error) {
	n := t.Blocks()
	counts := make([]int64, 1<<16)
	partial := make(chan []int64, n) // counts that are free for the next block
	err = t.parallel(n, func(i int) error {
		var own []int64
		select {
		case own = <-partial:
		default:
			own = make([]int64, len(counts))
		}
		defer func() { partial <- own }()
		return t.scan(term, i, func(_ int, values []float32) {
			for _, v := range values {
				if c, ok := class(magnitudeBits(v)); ok {
					own[c]++
				}
			}
		})
	})
	close(partial)
	for own := range partial {
		for c, k := range own {
			counts[c] += k
		}
	}
	for c := len(counts) - 1; c >= 0; c-- {
		if above+counts[c] >= keep {
			return c, above, err
		}
		above += counts[c]
	}
	return 0, above, err
}

// shareTies says how many entries at the threshold each row may keep when keep do in all: the first ones of the weight. It
// returns nil when all may.
func (t *Target) shareTies(term *Term, threshold uint32, keep int64) ([]int, error) {
	ties := make([]int, t.Shape[0])
	err := t.parallel(t.Blocks(), func(i int) error {
		return t.scan(term, i, func(row int, values []float32) {
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

// scan calls visit with each row of a block of the change.
func (t *Target) scan(term *Term, block int, visit func(row int, values []float32)) error {
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
