package kernel

import (
	"fmt"
	"slices"
	"testing"
)

func TestAdamW(t *testing.T) {
	c := &AdamW{Scale: 0.5, OneLessBeta1: 0.1, Beta2: 0.999, OneLessBeta2: 0.001, Rate: 0.01, Root: 1.5, Epsilon: 1e-8, Keep: 0.99}
	withISA(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 31, 32, 33, 100} {
			state := [][]float32{random(1, n), random(2, n), random(3, n), random(4, n)}
			for i, v := range state[3] {
				state[3][i] = v * v
			}
			want := make([][]float32, 4)
			for i, s := range state {
				want[i] = slices.Clone(s)
			}
			for range 3 {
				c.Step(state[0], state[1], state[2], state[3])
				refAdamW(c, want[0], want[1], want[2], want[3])
			}
			for i, name := range []string{"w", "g", "m", "v"} {
				requireClose(t, fmt.Sprintf("%s of %d", name, n), state[i], want[i], 1e-6)
			}
		}
	})
}
