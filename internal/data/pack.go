package data

import (
	"math/bits"
	"math/rand/v2"
)

// rows is how examples form the rows of batches: row i holds the examples order[ends[i-1]:ends[i]].
type rows struct {
	order []int32
	ends  []int32
}

// row returns the examples of row i.
func (r rows) row(i int) []int32 {
	start := int32(0)
	if i > 0 {
		start = r.ends[i-1]
	}
	return r.order[start:r.ends[i]]
}

// maxOpenRows bounds first-fit's search, so that packing takes time linear in the number of examples.
const maxOpenRows = 64

// pack puts the examples, taken in the given order, into rows of at most maxLength tokens by first-fit: into the oldest
// open row with room, or a new one. When too many rows are open the fullest is closed. Rows stand in the order they
// were opened. Examples are never split; each must fit in a row.
func pack(ds *Dataset, order []int32, maxLength int) rows {
	type openRow struct{ row, room int }
	var open []openRow
	count := 0
	rowOf := make([]int32, len(order))
	for i, ex := range order {
		n := ds.Tokens(int(ex))
		fit, fullest := -1, 0
		for j, o := range open {
			if o.room >= n {
				fit = j
				break
			}
			if o.room < open[fullest].room {
				fullest = j
			}
		}
		if fit < 0 {
			if len(open) == maxOpenRows {
				open = append(open[:fullest], open[fullest+1:]...)
			}
			fit = len(open)
			open = append(open, openRow{count, maxLength})
			count++
		}
		open[fit].room -= n
		rowOf[i] = int32(open[fit].row)
	}
	return group(order, rowOf, count)
}

// group sorts order by row, keeping the order within a row.
func group(order, rowOf []int32, count int) rows {
	ends := make([]int32, count)
	for _, r := range rowOf {
		ends[r]++
	}
	next := make([]int32, count)
	sum := int32(0)
	for r, n := range ends {
		next[r] = sum
		sum += n
		ends[r] = sum
	}
	grouped := make([]int32, len(order))
	for i, r := range rowOf {
		grouped[next[r]] = order[i]
		next[r]++
	}
	return rows{grouped, ends}
}

// identity fills p with 0, 1, 2, ….
func identity(p []int32) {
	for i := range p {
		p[i] = int32(i)
	}
}

// permute fills p with the permutation of (seed, stream). Fisher–Yates is written out here because a run must resume
// alike under every Go release, which rand.Rand's methods do not promise and the PCG generator does.
func permute(p []int32, seed, stream uint64) {
	identity(p)
	var src rand.PCG
	src.Seed(seed, stream)
	for i := len(p) - 1; i > 0; i-- {
		j, _ := bits.Mul64(src.Uint64(), uint64(i+1))
		p[i], p[j] = p[j], p[i]
	}
}
