package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// withISA runs f on each instruction set of this machine.
func withISA(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	before := active
	defer func() { active = before }()
	for _, k := range available() {
		active = k
		t.Run(isaNames[k], f)
	}
}

// random returns n values in [−1, 1), the same for each seed.
func random(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	s := make([]float32, n)
	for i := range s {
		s[i] = 2*r.Float32() - 1
	}
	return s
}

// column is random for one value per token.
func column(seed uint64) *[Block]float32 { return (*[Block]float32)(random(seed, Block)) }

// nan is what tests fill places with that must not be read.
var nan = float32(math.NaN())

// requireClose fails unless each value differs by at most tol·max(1, |want|). NaN is close to NaN.
func requireClose(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) || math.Abs(g-w) <= tol*max(1, math.Abs(w)) {
			continue
		}
		t.Fatalf("%s: value %d is %g, want %g", what, i, g, w)
	}
}

// requireSame fails unless all bits are equal.
func requireSame(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// requirePanic fails unless f panics, as it must where a slice is too short.
func requirePanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Fatalf("%s: no panic", what)
		}
	}()
	f()
}
