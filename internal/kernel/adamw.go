package kernel

// AdamW holds the constants of a step of the optimizer of Loshchilov & Hutter (2019, algorithm 2) for gradients g and
// moments m and v:
//
//	g ← Scale·g,  m ← m + (1−β₁)·(g−m),  v ← β₂·v + (1−β₂)·g²,  w ← Keep·w − Rate·m / (√v·Root + ε)
//
// Rate is the learning rate divided by 1−β₁ᵗ, Root is 1/√(1−β₂ᵗ), and Keep is 1 − learning rate·decay.
type AdamW struct {
	Scale, OneLessBeta1, Beta2, OneLessBeta2, Rate, Root, Epsilon, Keep float32 // in the order that the assembly knows
}

// Step updates the values w and their moments in place. It works in the calling goroutine.
func (c *AdamW) Step(w, g, m, v []float32) {
	n := len(w)
	g, m, v = g[:n], m[:n], v[:n]
	whole := n &^ (Block - 1)
	adamW(c, w[:whole], g[:whole], m[:whole], v[:whole])
	refAdamW(c, w[whole:], g[whole:], m[whole:], v[whole:])
}
