package mask

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"
)

func pick(t *testing.T, r Request) ([]int64, error) {
	t.Helper()
	s, err := Lookup("rand")
	if err != nil {
		t.Fatal(err)
	}
	return s.Select(r)
}

// TestRandomPinned keeps the masks of existing seeds: training runs must be repeatable with every later version.
func TestRandomPinned(t *testing.T) {
	got, err := pick(t, Request{Name: "model.layers.0.self_attn.q_proj.weight", Out: 8, In: 8, K: 8, Seed: 42})
	if want := []int64{2, 4, 18, 28, 33, 54, 58, 62}; err != nil || !slices.Equal(got, want) {
		t.Errorf("8×8: %v (err %v), want %v", got, err, want)
	}
	for _, c := range []struct {
		k    int
		want string
	}{
		{k: 90177, want: "f3c25daf2af715e5"},
		{k: 6000000, want: "39a7721cd43ec7b7"},
	} {
		got, err := pick(t, Request{Name: "w", Out: 2048, In: 4096, K: c.k, Seed: math.MaxUint64})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if err := binary.Write(h, binary.LittleEndian, got); err != nil {
			t.Fatal(err)
		}
		if sum := hex.EncodeToString(h.Sum(nil)[:8]); sum != c.want {
			t.Errorf("2048×4096, %d entries: digest %s, want %s", c.k, sum, c.want)
		}
	}
}

// TestRandomIndependent checks that seed and name both change the mask, and that overlaps are those of chance.
func TestRandomIndependent(t *testing.T) {
	const out, in, k = 256, 256, 6554 // 10%
	masks := map[string][]int64{}
	for _, seed := range []uint64{0, 1, 42} {
		for _, name := range []string{"a", "b", "a\x00"} {
			got, err := pick(t, Request{Name: name, Out: out, In: in, K: k, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			masks[fmt.Sprint(seed, name)] = got
		}
	}
	for x, a := range masks {
		for y, b := range masks {
			if x >= y {
				continue
			}
			common := Common(a, b)
			// hypergeometric: mean k²/n, variance about mean·(1−k/n)²
			mean := float64(k) * k / (out * in)
			if z := (float64(common) - mean) / math.Sqrt(mean*0.81); math.Abs(z) > 6 {
				t.Errorf("masks %q and %q share %d entries, expected about %.0f (z = %.1f)", x, y, common, mean, z)
			}
		}
	}
}

// TestRandomUniform draws many masks and holds the counts per entry, row and column to a chi-square bound.
func TestRandomUniform(t *testing.T) {
	const out, in, masks = 16, 24, 4000
	for _, k := range []int{5, 190, 300} { // few, about half, and most
		entries, rows, cols := make([]int, out*in), make([]int, out), make([]int, in)
		for m := range masks {
			got, err := pick(t, Request{Name: "w", Out: out, In: in, K: k, Seed: uint64(m)})
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range got {
				entries[i]++
				rows[i/in]++
				cols[i%in]++
			}
		}
		// Without replacement the counts vary less than multinomial ones, by the factor (n−k)/(n−1).
		shrink := float64(out*in-k) / (out*in - 1)
		for name, counts := range map[string][]int{"entries": entries, "rows": rows, "columns": cols} {
			mean := float64(masks*k) / float64(len(counts))
			chi := 0.0
			for _, c := range counts {
				chi += (float64(c) - mean) * (float64(c) - mean) / mean
			}
			dof := float64(len(counts) - 1)
			if z := (chi/shrink - dof) / math.Sqrt(2*dof); math.Abs(z) > 6 {
				t.Errorf("k=%d: the %s are not uniform: chi-square %.1f on %.0f degrees of freedom", k, name, chi/shrink, dof)
			}
		}
	}
}
