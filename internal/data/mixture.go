package data

import (
	"math"
	"slices"
)

// mixture chooses the examples of an epoch where files have weights.
type mixture struct {
	parts []share
	opt   LoaderOptions
}

// share is what an epoch takes of a file: the next count of the file's own endless stream, which is pass after pass over
// its examples, each in an order of its own if they are shuffled.
type share struct {
	first, examples int // of the file
	count           int
}

// newMixture returns a mixture without parts where no file has a weight. A file without one among others that have has
// weight 1.
func newMixture(ds *Dataset, o LoaderOptions) mixture {
	m := mixture{opt: o}
	weighted := false
	// The file that would run out first decides how large an epoch is.
	perWeight := math.Inf(1)
	sources := slices.DeleteFunc(slices.Clone(ds.Sources), func(s Source) bool { return s.Examples == 0 })
	for _, s := range sources {
		weighted = weighted || s.Weight > 0
		perWeight = min(perWeight, float64(s.Examples)/weightOf(s))
	}
	if !weighted || len(sources) < 2 {
		return m
	}
	for _, s := range sources {
		count := min(s.Examples, max(1, int(math.Round(perWeight*weightOf(s)))))
		m.parts = append(m.parts, share{s.First, s.Examples, count})
	}
	return m
}

func weightOf(s Source) float64 {
	if s.Weight > 0 {
		return s.Weight
	}
	return 1
}

// mixStream is where the random streams of files' passes start; they must not meet those of epochs and of packing.
const mixStream = 1 << 63

// examples returns the examples of an epoch in the order in which they are packed, nil where all are taken.
func (m *mixture) examples(epoch int) []int32 {
	if len(m.parts) == 0 {
		return nil
	}
	var all []int32
	for i, p := range m.parts {
		perm := make([]int32, p.examples)
		pass := -1
		for k := range p.count {
			at := epoch*p.count + k
			if at/p.examples != pass {
				pass = at / p.examples
				if m.opt.Shuffle {
					permute(perm, m.opt.Seed, mixStream+uint64(i)<<40+uint64(pass))
				} else {
					identity(perm)
				}
			}
			all = append(all, int32(p.first)+perm[at%p.examples])
		}
	}
	if !m.opt.Shuffle {
		return m.interleave(all)
	}
	order := make([]int32, len(all))
	permute(order, m.opt.Seed, mixStream+1<<62+uint64(epoch))
	for i, at := range order {
		order[i] = all[at]
	}
	return order
}

// interleave spreads each file's examples evenly over the epoch, so that its proportions hold everywhere.
func (m *mixture) interleave(all []int32) []int32 {
	starts := make([]int, len(m.parts))
	for i := 1; i < len(starts); i++ {
		starts[i] = starts[i-1] + m.parts[i-1].count
	}
	taken := make([]int, len(m.parts))
	out := make([]int32, 0, len(all))
	for range all {
		best, least := 0, math.Inf(1)
		for i, p := range m.parts {
			if due := (float64(taken[i]) + 0.5) / float64(p.count); taken[i] < p.count && due < least {
				best, least = i, due
			}
		}
		out = append(out, all[starts[best]+taken[best]])
		taken[best]++
	}
	return out
}
