package mask

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// request returns a request with normal weights and gradients.
func request(name string, out, in, k int) Request {
	g := rand.New(rand.NewPCG(7, uint64(out*in)))
	normal := func() []float32 {
		v := make([]float32, out*in)
		for i := range v {
			v[i] = float32(g.NormFloat64())
		}
		return v
	}
	return Request{Name: name, Out: out, In: in, K: k, Seed: 42, Axis: Rows, Weights: normal(), Gradients: normal()}
}

// orders are the strategies, struct with every axis.
func orders() map[string]func(Request) ([]int64, error) {
	all := map[string]func(Request) ([]int64, error){}
	for _, s := range strategies {
		all[s.Name] = s.Select
	}
	for _, axis := range Axes {
		all["struct "+string(axis)] = func(r Request) ([]int64, error) {
			r.Axis = axis
			s, err := Lookup("struct")
			if err != nil {
				return nil, err
			}
			return s.Select(r)
		}
	}
	return all
}

// TestStrategies holds every strategy to the contract of Select.
func TestStrategies(t *testing.T) {
	shapes := []struct{ out, in, k int }{
		{1, 1, 1}, {1, 7, 3}, {7, 1, 7}, {13, 17, 1}, {13, 17, 110}, {13, 17, 111}, {13, 17, 220}, {13, 17, 221}, {64, 172, 110},
	}
	for name, pick := range orders() {
		for _, c := range shapes {
			r := request("w", c.out, c.in, c.k)
			got := mustPick(t, name, pick, r)
			again, err := pick(r)
			if err != nil || !slices.Equal(got, again) {
				t.Errorf("%s %v: a second call differs (err %v)", name, c, err)
			}
		}
	}
}

// mustPick returns the mask of r, which must be of the right size, in bounds, ascending and beside what is excluded.
func mustPick(t *testing.T, name string, pick func(Request) ([]int64, error), r Request) []int64 {
	t.Helper()
	got, err := pick(r)
	if err != nil {
		t.Fatalf("%s %d×%d, %d after %d: %v", name, r.Out, r.In, r.K, r.Offset, err)
	}
	if len(got) != r.K {
		t.Errorf("%s %d×%d: %d entries, want %d", name, r.Out, r.In, len(got), r.K)
	}
	for i, v := range got {
		if v < 0 || v >= r.entries() || i > 0 && v <= got[i-1] {
			t.Fatalf("%s %d×%d: entry %d is %d: out of range or not ascending", name, r.Out, r.In, i, v)
		}
	}
	if n := Common(got, r.Exclude); n > 0 {
		t.Errorf("%s %d×%d: %d excluded entries", name, r.Out, r.In, n)
	}
	return got
}

// TestStretches cuts weights into masks of one size by offset and wants every entry once, excluded ones aside.
func TestStretches(t *testing.T) {
	shapes := []struct{ out, in, k int }{{1, 7, 3}, {7, 1, 2}, {13, 17, 20}, {16, 16, 64}, {9, 30, 100}, {31, 9, 200}, {64, 32, 700}}
	for name, pick := range orders() {
		for _, c := range shapes {
			for _, exclude := range [][]int64{nil, {0, 2, 5, 6}} {
				r := request("w", c.out, c.in, c.k)
				r.Exclude = exclude
				var all []int64
				for {
					r.K = min(c.k, int(r.entries())-len(exclude)-r.Offset)
					if r.K <= 0 {
						break
					}
					if r.K < c.k && strings.HasPrefix(name, "struct") {
						break // its order is one of budgets of one size
					}
					part := mustPick(t, name, pick, r)
					if n := Common(all, part); n > 0 {
						t.Errorf("%s %v: %d entries after %d are not new", name, c, n, r.Offset)
					}
					all = Union(all, part)
					r.Offset += r.K
				}
				if len(all) != r.Offset || r.Offset == 0 && c.k < c.out*c.in-len(exclude) {
					t.Errorf("%s %v: %d entries in all, offsets to %d", name, c, len(all), r.Offset)
				}
			}
		}
	}
}

// TestOffsetOrder wants what follows any mask to be disjoint from it, whatever the budgets.
func TestOffsetOrder(t *testing.T) {
	for _, s := range strategies {
		if s.Name == "struct" {
			continue // disjoint for budgets of one size
		}
		first, next := request("w", 20, 30, 450), request("w", 20, 30, 77)
		next.Offset = 450
		if n := Common(mustPick(t, s.Name, s.Select, first), mustPick(t, s.Name, s.Select, next)); n > 0 {
			t.Errorf("%s: %d entries in common", s.Name, n)
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
			{"beyond int", 4, 5, math.MaxInt, "exceeds the weight's 4×5 = 20"},
		} {
			_, err := s.Select(request("layers.3.q\x1b", c.out, c.in, c.k))
			if fault.KindOf(err) != fault.Usage {
				t.Fatalf("%s %s: kind %v of %v, want Usage", s.Name, c.name, fault.KindOf(err), err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"layers.3.q\x1b"`) {
				t.Errorf("%s %s: %q lacks %q or the weight's name", s.Name, c.name, err, c.want)
			}
		}
		r := request("w", 4, 5, 3)
		r.Offset, r.Exclude = 16, []int64{3, 4}
		if _, err := s.Select(r); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "3 entries after an offset of 16 exceeds the 18 of the weight's 4×5 = 20 that are not excluded") {
			t.Errorf("%s: too little left: %v", s.Name, err)
		}
		for name, r := range map[string]Request{
			"lacking values":            {Name: "w", Out: 2, In: 2, K: 1},
			"a negative offset":         {Name: "w", Out: 2, In: 2, K: 1, Offset: -1, Weights: make([]float32, 4), Gradients: make([]float32, 4)},
			"an excluded entry outside": {Name: "w", Out: 2, In: 2, K: 1, Exclude: []int64{4}, Weights: make([]float32, 4), Gradients: make([]float32, 4)},
		} {
			if name == "lacking values" && !s.NeedsWeights && !s.NeedsGradients {
				continue
			}
			if _, err := s.Select(r); fault.KindOf(err) != fault.Internal {
				t.Errorf("%s with %s: %v, want an Internal error", s.Name, name, err)
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
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "struct, rand, wm, grad, snip") {
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
