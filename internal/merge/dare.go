package merge

// dare drops entries at random and rescales the others, so that the expected change stays, and sums (DARE, Yu et al., 2024).
var dare = Method{
	Name: "dare_linear", Aliases: []string{"dare"},
	Doc:     "keeps the share `density` of each adapter's entries at random, divided by the density, then as linear",
	Density: true, Random: true,
	prune: keepRandom,
}
