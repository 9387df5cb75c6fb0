package mask

// walk collects the entries of a request from an order that comes upon them one by one, maybe more than once.
type walk struct {
	Request
	seen   []uint64 // a bit for each entry that was visited or is excluded
	passed int      // entries of the offset that are behind
	picked []int64
}

func newWalk(r Request) *walk {
	w := &walk{Request: r, seen: make([]uint64, (r.entries()+63)/64), picked: make([]int64, 0, r.K)}
	for _, i := range r.Exclude {
		w.seen[i/64] |= 1 << (i % 64)
	}
	return w
}

// visit takes the entry i as the next of the order, unless it has been there, and reports whether more are wanted.
func (w *walk) visit(i int64) bool {
	word, bit := &w.seen[i/64], uint64(1)<<(i%64)
	switch {
	case *word&bit != 0:
	case w.passed < w.Offset:
		w.passed++
		*word |= bit
	default:
		w.picked = append(w.picked, i)
		*word |= bit
	}
	return len(w.picked) < w.K
}
