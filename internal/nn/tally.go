package nn

// Tally sums the dense gradient of a linear layer's weight, which is not trained, over runs of a training graph: what masks
// that rank entries by their gradients are chosen by.
type Tally struct {
	Sum []float32 // out × in; each run adds to it

	// stand stands for the weight in the graph, which has gradients with respect to its nodes only. Its value is not used.
	stand Param
}

// NewTally makes the graphs that are built from now on add w's gradients to sum, until w.Tally is nil again.
func NewTally(w *Weight, sum []float32) {
	w.Tally = &Tally{Sum: sum, stand: Param{Name: "tally of " + w.Name, Value: make([]float32, 1)}}
}
