package mask

import "shira/internal/fault"

// Global selects entries of several weights by one ranking, so that each gets as many as its scores earn. It holds little
// more than the entries that are in the running, 16 bytes each.
type Global struct {
	strategy  Strategy
	k, offset int
	running   []candidate
	floor     uint32 // entries of this rank or below cannot be among the first offset + k any more
	weights   []string
	block     rankBlock
}

// candidate is an entry in the running.
type candidate struct {
	index  int64
	weight int32 // which of the weights
	rank   uint32
}

// slack is how many candidates more than needed are held before the last of them are dropped.
const slack = 1 << 16

// most is how many are ever held of wanted candidates: a block of a weight comes before the last are dropped.
func most(wanted int) int { return wanted + wanted/4 + slack + blockSize }

// GlobalMemory is what a ranking for k entries after the first offset ones takes, in bytes.
func GlobalMemory(k, offset int) int64 { return 16 * int64(most(offset+k)) }

// NewGlobal returns a ranking from which Masks takes k entries after the first offset ones. The strategy must be a scored
// one.
func (s Strategy) NewGlobal(k, offset int) (*Global, error) {
	if !s.Scored() || k < 1 || offset < 0 {
		return nil, fault.New(fault.Internal, "", "mask %s cannot rank %d entries of several weights after %d", s.Name, k, offset)
	}
	// Room that grew would be twice as large while it does. What is never used of it is never resident.
	return &Global{strategy: s, k: k, offset: offset, running: make([]candidate, 0, most(offset+k))}, nil
}

// Add ranks the entries of another weight; r.K and r.Offset do not count. Among equal scores those of the weight that was
// added first come first.
func (g *Global) Add(r Request) error {
	if err := g.strategy.check(&r); err != nil {
		return err
	}
	wanted := g.offset + g.k
	for from := 0; from < r.Out*r.In; from += blockSize {
		ranks, err := g.block.at(g.strategy.score, &r, from)
		if err != nil {
			return err
		}
		for i, rank := range ranks {
			if rank > g.floor {
				g.running = append(g.running, candidate{int64(from + i), int32(len(g.weights)), rank})
			}
		}
		if len(g.running) > most(wanted)-blockSize {
			if g.floor, err = g.keep(wanted); err != nil {
				return err
			}
		}
	}
	g.weights = append(g.weights, r.Name)
	return nil
}

// keep drops all candidates but the first n, and returns the least rank of those.
func (g *Global) keep(n int) (uint32, error) {
	last, err := g.cut(n)
	if err != nil {
		return 0, err
	}
	least := last.rank
	kept := g.running[:0]
	for _, c := range g.running {
		if last.before(c.rank) {
			kept = append(kept, c)
		}
	}
	g.running = kept
	return least, nil
}

// cut returns the cut after the first n candidates.
func (g *Global) cut(n int) (cut, error) {
	return cutAfter(n, func(visit func([]uint32)) error {
		for from := 0; from < len(g.running); from += blockSize {
			part := g.running[from:min(from+blockSize, len(g.running))]
			for i, c := range part {
				g.block.ranks[i] = c.rank
			}
			visit(g.block.ranks[:len(part)])
		}
		return nil
	})
}

// Masks returns the selected entries of each weight, ascending, by its name; a weight of which none is selected is not
// there. Weights that together have fewer entries than wanted are a Usage error.
func (g *Global) Masks() (map[string][]int64, error) {
	if left := len(g.running); left < g.offset+g.k {
		return nil, fault.New(fault.Usage, "", "a mask of %d entries after an offset of %d exceeds the %d entries of all weights that are not excluded", g.k, g.offset, left).
			WithHint("lower r or density")
	}
	if _, err := g.keep(g.offset + g.k); err != nil {
		return nil, err
	}
	passed, err := g.cut(g.offset)
	if err != nil {
		return nil, err
	}
	counts := make([]int, len(g.weights))
	ahead := passed // it counts equal ranks
	for _, c := range g.running {
		if !ahead.before(c.rank) {
			counts[c.weight]++
		}
	}
	masks := map[string][]int64{}
	for i, n := range counts {
		if n > 0 {
			masks[g.weights[i]] = make([]int64, 0, n)
		}
	}
	for _, c := range g.running {
		if !passed.before(c.rank) {
			name := g.weights[c.weight]
			masks[name] = append(masks[name], c.index)
		}
	}
	return masks, nil
}
