package mask

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// tied are values of which many are equal in magnitude.
var tied = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 1 + 0x1p-23, -1 - 0x1p-23, math.MaxFloat32, math.SmallestNonzeroFloat32, -0.5}

// ranked returns the entries of r by descending |score|, ties by index, as a full sort has them.
func ranked(s *score, r *Request) []int64 {
	scores := s.values(r, make([]float32, r.Out*r.In), 0)
	var order []int64
	for i := range int64(len(scores)) {
		if !slices.Contains(r.Exclude, i) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int64) int {
		x, y := math.Abs(float64(scores[a])), math.Abs(float64(scores[b]))
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return order
}

// TestTopAgainstSort compares the counting selection with a full sort, over values with many ties.
func TestTopAgainstSort(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	for trial := range 300 {
		r := Request{Out: 1 + g.IntN(9), In: 1 + g.IntN(9)}
		n := r.Out * r.In
		for _, v := range []*[]float32{&r.Weights, &r.Gradients} {
			for range n {
				x := tied[g.IntN(len(tied))]
				if trial%2 == 0 {
					x = float32(g.NormFloat64())
				}
				*v = append(*v, min(x, 1e6)) // products stay finite
			}
		}
		if trial%3 == 0 {
			for i := range int64(n) {
				if g.IntN(4) == 0 && len(r.Exclude) < n-1 {
					r.Exclude = append(r.Exclude, i)
				}
			}
		}
		left := n - len(r.Exclude)
		r.Offset = g.IntN(left)
		r.K = 1 + g.IntN(left-r.Offset)
		for _, s := range strategies {
			if !s.Scored() {
				continue
			}
			want := ranked(s.score, &r)[r.Offset:][:r.K]
			slices.Sort(want)
			if got, err := s.Select(r); err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: %d after %d of %v, %v without %v: got %v (err %v), want %v", s.Name, r.K, r.Offset, r.Weights, r.Gradients, r.Exclude, got, err, want)
			}
		}
	}
}

func TestScoresAreFinite(t *testing.T) {
	for _, s := range strategies {
		if !s.Scored() {
			continue
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			r := request("layers.0.q", 5, 7, 3)
			r.Weights[2*7+4], r.Gradients[2*7+4] = float32(bad), float32(bad)
			_, err := s.Select(r)
			if fault.KindOf(err) != fault.Numerical || !strings.Contains(err.Error(), `"layers.0.q": `+s.score.of+" [2, 4]") {
				t.Errorf("%s: %v: %v, want a Numerical error that names the weight and the entry", s.Name, bad, err)
			}
		}
	}
}

// TestGlobal compares one ranking of several weights with a full sort.
func TestGlobal(t *testing.T) {
	g := rand.New(rand.NewPCG(3, 4))
	names := []string{"a", "b", "c"}
	for trial := range 100 {
		type entry struct {
			name  string
			index int64
			score float64
		}
		s := strategies[2+trial%3]
		var all []entry
		var requests []Request
		for _, name := range names {
			r := request(name, 1+g.IntN(80), 1+g.IntN(80), 1)
			r.Exclude = []int64{0}
			if trial%2 == 0 {
				for i := range r.Weights {
					r.Weights[i], r.Gradients[i] = min(tied[g.IntN(len(tied))], 9), 1
				}
			}
			scores := s.score.values(&r, make([]float32, r.Out*r.In), 0)
			for _, i := range ranked(s.score, &r) {
				all = append(all, entry{name, i, math.Abs(float64(scores[i]))})
			}
			requests = append(requests, r)
		}
		if len(all) < 2 {
			continue
		}
		slices.SortStableFunc(all, func(a, b entry) int {
			switch {
			case a.score > b.score:
				return -1
			case a.score < b.score:
				return 1
			}
			return 0
		})
		offset := g.IntN(len(all) - 1)
		k := 1 + g.IntN(len(all)-offset)
		want := map[string][]int64{}
		for _, e := range all[offset : offset+k] {
			want[e.name] = append(want[e.name], e.index)
		}
		ranking, err := s.NewGlobal(k, offset)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requests {
			if err := ranking.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ranking.Masks()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			slices.Sort(want[name])
			if !slices.Equal(got[name], want[name]) {
				t.Fatalf("%s, %d after %d: %s has %d entries, want %d", s.Name, k, offset, name, len(got[name]), len(want[name]))
			}
		}
	}
}

// TestGlobalDropsCandidates ranks more entries than it may hold at a time.
func TestGlobalDropsCandidates(t *testing.T) {
	s, err := Lookup("wm")
	if err != nil {
		t.Fatal(err)
	}
	r := request("w", 700, 500, 1000)
	want, err := s.Select(r)
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.NewGlobal(r.K, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Add(r); err != nil {
		t.Fatal(err)
	}
	if n, most := cap(g.running), 2*(r.K+r.K/4+slack+blockSize); n > most {
		t.Errorf("%d candidates held, want at most %d", n, most)
	}
	got, err := g.Masks()
	if err != nil || !slices.Equal(got["w"], want) {
		t.Errorf("%d entries (err %v), want those of one weight alone", len(got["w"]), err)
	}
}

func TestGlobalErrors(t *testing.T) {
	for _, s := range strategies {
		g, err := s.NewGlobal(1, 0)
		if !s.Scored() {
			if fault.KindOf(err) != fault.Internal {
				t.Errorf("%s has no score: %v", s.Name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Masks(); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: nothing to rank: %v", s.Name, err)
		}
		if err := g.Add(Request{Name: "w", Out: 2, In: 2}); fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: values are lacking: %v", s.Name, err)
		}
	}
}
