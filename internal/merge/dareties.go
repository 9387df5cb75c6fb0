package merge

// dareTies elects signs among what DARE leaves.
var dareTies = Method{
	Name:    "dare_ties",
	Doc:     "drops and rescales as dare_linear, then elects signs as ties",
	Density: true, Sign: true, Random: true,
	prune:   keepRandom,
	combine: disjointMean,
}
