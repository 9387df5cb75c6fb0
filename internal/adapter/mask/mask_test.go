package mask

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// request returns a request with normal weights.
func request(name string, out, in, k int) Request {
	g := rand.New(rand.NewPCG(7, uint64(out*in)))
	w := make([]float32, out*in)
	for i := range w {
		w[i] = float32(g.NormFloat64())
	}
	return Request{Name: name, Out: out, In: in, K: k, Seed: 42, Weights: w}
}

// TestStrategies holds every strategy to the contract of Select.
func TestStrategies(t *testing.T) {
	shapes := []struct{ out, in, k int }{
		{1, 1, 1}, {1, 7, 3}, {7, 1, 7}, {13, 17, 1}, {13, 17, 110}, {13, 17, 111}, {13, 17, 220}, {13, 17, 221}, {64, 172, 110},
	}
	for _, s := range strategies {
		for _, c := range shapes {
			r := request("w", c.out, c.in, c.k)
			if !s.NeedsWeights {
				r.Weights = nil
			}
			got, err := s.Select(r)
			if err != nil {
				t.Fatalf("%s %v: %v", s.Name, c, err)
			}
			if len(got) != c.k {
				t.Errorf("%s %v: %d entries, want %d", s.Name, c, len(got), c.k)
			}
			for i, v := range got {
				if v < 0 || v >= int64(c.out*c.in) || i > 0 && v <= got[i-1] {
					t.Fatalf("%s %v: entry %d is %d: out of range or not ascending", s.Name, c, i, v)
				}
			}
			again, err := s.Select(r)
			if err != nil || !slices.Equal(got, again) {
				t.Errorf("%s %v: a second call differs (err %v)", s.Name, c, err)
			}
		}
	}
}

func TestStrategyErrors(t *testing.T) {
	for _, s := range strategies {
		for _, c := range []struct {
			name    string
			out, in int
			k       int
			want    string
		}{
			{"no entries", 4, 5, 0, "selects nothing"},
			{"negative", 4, 5, -1, "selects nothing"},
			{"too many", 4, 5, 21, "a mask of 21 entries exceeds the weight's 4×5 = 20"},
			{"empty weight", 0, 5, 1, "exceeds the weight's 0×5 = 0"},
		} {
			_, err := s.Select(request("layers.3.q\x1b", c.out, c.in, c.k))
			if fault.KindOf(err) != fault.Usage {
				t.Fatalf("%s %s: kind %v of %v, want Usage", s.Name, c.name, fault.KindOf(err), err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"layers.3.q\x1b"`) {
				t.Errorf("%s %s: %q lacks %q or the weight's name", s.Name, c.name, err, c.want)
			}
		}
		if s.NeedsWeights {
			if _, err := s.Select(Request{Name: "w", Out: 2, In: 2, K: 1}); fault.KindOf(err) != fault.Internal {
				t.Errorf("%s without weights: %v, want an Internal error", s.Name, err)
			}
		}
	}
}

func TestLookup(t *testing.T) {
	for _, name := range Names() {
		if s, err := Lookup(name); err != nil || s.Name != name {
			t.Errorf("Lookup(%q) = %q, %v", name, s.Name, err)
		}
	}
	_, err := Lookup("magnitude")
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "rand, wm") {
		t.Errorf("unknown mask: %v", err)
	}
}

func TestBudgets(t *testing.T) {
	for _, c := range []struct {
		out, in int
		density float64
		want    int
	}{
		{64, 64, 0.01, 41}, {64, 172, 0.01, 110}, {32, 64, 0.01, 20}, {2, 2, 1e-9, 1}, {3, 5, 1, 15}, {1, 3, 0.5, 2},
	} {
		if got := BudgetDensity(c.density, c.out, c.in); got != c.want {
			t.Errorf("BudgetDensity(%v, %d, %d) = %d, want %d", c.density, c.out, c.in, got, c.want)
		}
	}
	for r, want := range map[int]int{2: 472, math.MaxInt: math.MaxInt, math.MaxInt/236 + 1: math.MaxInt} {
		if got := BudgetR(r, 64, 172); got != want {
			t.Errorf("BudgetR(%d, 64, 172) = %d, want %d", r, got, want)
		}
	}
}

// TestMagnitudeAgainstSort compares the counting selection with a full sort, over values with many ties.
func TestMagnitudeAgainstSort(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 1 + 0x1p-23, -1 - 0x1p-23, math.MaxFloat32, math.SmallestNonzeroFloat32, -0.5}
	for trial := range 200 {
		out, in := 1+g.IntN(9), 1+g.IntN(9)
		w := make([]float32, out*in)
		for i := range w {
			if w[i] = values[g.IntN(len(values))]; trial%2 == 0 {
				w[i] = float32(g.NormFloat64())
			}
		}
		order := make([]int64, len(w))
		for i := range order {
			order[i] = int64(i)
		}
		slices.SortStableFunc(order, func(a, b int64) int {
			x, y := math.Abs(float64(w[a])), math.Abs(float64(w[b]))
			switch {
			case x > y:
				return -1
			case x < y:
				return 1
			}
			return 0
		})
		k := 1 + g.IntN(len(w))
		want := order[:k]
		slices.Sort(want)
		got, err := pickMagnitude(Request{Out: out, In: in, K: k, Weights: w})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("top %d of %v: got %v (err %v), want %v", k, w, got, err, want)
		}
	}
}

func TestMagnitudeRefusesNonFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r := request("layers.0.q", 5, 7, 3)
		r.Weights[2*7+4] = float32(bad)
		_, err := pickMagnitude(r)
		if fault.KindOf(err) != fault.Numerical || !strings.Contains(err.Error(), `"layers.0.q": weight [2, 4]`) {
			t.Errorf("%v: %v, want a Numerical error that names the weight and the entry", bad, err)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	const out, in = 4096, 11008
	r := request("w", out, in, BudgetDensity(0.01, out, in))
	for _, s := range strategies {
		b.Run(s.Name, func(b *testing.B) {
			b.SetBytes(int64(len(r.Weights)) * 4)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Select(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
