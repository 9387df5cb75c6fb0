package adapter

// NeedsBase says whether the rows of d depend on those of the base: a magnitude rescales them, and a whole
// weight replaces them.
func NeedsBase(d Delta) bool {
	switch d := d.(type) {
	case *LowRank:
		return d.Magnitude != nil
	case *ShiraDora, *Whole:
		return true
	}
	return false
}
