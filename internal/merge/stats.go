package merge

import "math"

// Stats is what merging finds in a weight, or in rows of it. Matrices have an element for each pair of adapters i < j.
type Stats struct {
	Survival         // of the merged change
	Squares  float64 // ‖M‖², of the merged change as it is added, in float32
	Adapters []AdapterStats
	Pairs    [][]PairStats
}

// Survival counts entries with a change other than 0, and of these the ones whose stored bits changed.
type Survival struct{ Entries, Changed int64 }

// AdapterStats is the part of one adapter.
type AdapterStats struct {
	Survival         // of what it contributes to the sum
	Mask     int64   // entries that it may change: those of its mask, or all
	Squares  float64 // ‖ΔW‖², unweighted, before anything is pruned
}

// PairStats is what the changes of two adapters have in common, weighted and before anything is pruned.
type PairStats struct {
	Both      int64   // entries in both masks
	Conflicts int64   // of these, how many have changes of opposite sign
	Dot       float64 // Σ of the products of the unweighted changes
}

// NewStats returns empty statistics of a number of adapters.
func NewStats(adapters int) Stats {
	s := Stats{Adapters: make([]AdapterStats, adapters), Pairs: make([][]PairStats, adapters)}
	for i := range s.Pairs {
		s.Pairs[i] = make([]PairStats, adapters)
	}
	return s
}

// Add adds those of other rows or another weight.
func (s *Stats) Add(o *Stats) {
	s.Entries += o.Entries
	s.Changed += o.Changed
	s.Squares += o.Squares
	for i := range o.Adapters {
		a, b := &s.Adapters[i], &o.Adapters[i]
		a.Entries += b.Entries
		a.Changed += b.Changed
		a.Mask += b.Mask
		a.Squares += b.Squares
		for j := range o.Pairs[i] {
			p, q := &s.Pairs[i][j], &o.Pairs[i][j]
			p.Both += q.Both
			p.Conflicts += q.Conflicts
			p.Dot += q.Dot
		}
	}
}

// Cosine returns that of the angle between the changes of two adapters, 0 where one of them is zero.
func (s *Stats) Cosine(i, j int) float64 {
	if n := math.Sqrt(s.Adapters[i].Squares) * math.Sqrt(s.Adapters[j].Squares); n > 0 {
		return s.Pairs[min(i, j)][max(i, j)].Dot / n
	}
	return 0
}

// view is a row of a change: values at ascending columns, or at all of them.
type view struct {
	all    bool
	cols   []int32 // nil with all
	values []float32
}

// compare counts what a row has, weighted by α and β, in common with that of another adapter.
func (p *PairStats) compare(a, b view, alpha, beta float64) {
	opposite := alpha*beta < 0
	one := func(x, y float32) {
		p.Both++
		product := float64(x) * float64(y) // exact
		p.Dot += product
		if product < 0 != opposite && product != 0 {
			p.Conflicts++
		}
	}
	switch {
	case a.all && b.all:
		p.Both += int64(len(a.values))
		dot, conflicts := 0.0, int64(0)
		for c, x := range a.values {
			product := float64(x) * float64(b.values[c]) // exact
			dot += product
			if product < 0 != opposite && product != 0 {
				conflicts++
			}
		}
		p.Dot += dot
		p.Conflicts += conflicts
	case a.all:
		for k, c := range b.cols {
			one(a.values[c], b.values[k])
		}
	case b.all:
		for k, c := range a.cols {
			one(a.values[k], b.values[c])
		}
	default:
		i, j := 0, 0
		for i < len(a.cols) && j < len(b.cols) {
			switch x, y := a.cols[i], b.cols[j]; {
			case x < y:
				i++
			case x > y:
				j++
			default:
				one(a.values[i], b.values[j])
				i++
				j++
			}
		}
	}
}

// squares returns Σ v² of values, each square exact in float64, in four chains.
func squares(values []float32) float64 {
	var s [4]float64
	for len(values) >= 4 {
		for l := range s {
			s[l] += float64(values[l]) * float64(values[l])
		}
		values = values[4:]
	}
	for l, v := range values {
		s[l] += float64(v) * float64(v)
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}
