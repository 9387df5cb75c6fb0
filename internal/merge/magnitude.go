package merge

// magnitude sums what is left when each change keeps its entries of largest magnitude.
var magnitude = Method{
	Name: "magnitude_prune", Aliases: []string{"magnitude"},
	Doc:     "keeps the share `density` of largest |ΔW| of each adapter, then as linear",
	Density: true,
	prune:   keepLargest,
}
