package merge

// The ways to elect the sign of an entry: that of the sum of its values, or that which most of them have.
const (
	Total     = "total"
	Frequency = "frequency"
)

// ties trims each change to its largest entries, elects a sign for each entry, and takes the mean over the values of that
// sign, times their weights (TIES-Merging, Yadav et al., 2023; as in PEFT, weights play no part in the election).
var ties = Method{
	Name:    "ties",
	Doc:     "trims as magnitude_prune, elects a sign for each entry, and takes the mean of what agrees with it",
	Density: true, Sign: true,
	prune:   keepLargest,
	combine: disjointMean,
}

// disjointMean is the mean of weights[i]·values[i] over the values of the elected sign.
func disjointMean(p *Params, values []float32, weights []float64) float64 {
	vote := 0.0
	for _, v := range values {
		switch {
		case p.MajoritySign == Total:
			vote += float64(v)
		case v > 0:
			vote++
		case v < 0:
			vote--
		}
	}
	sum, n := 0.0, 0
	for i, v := range values {
		if v != 0 && (v > 0) == (vote >= 0) {
			sum += float64(weights[i] * float64(v)) // rounded here: never fused with the sum
			n++
		}
	}
	return sum / float64(max(n, 1))
}
