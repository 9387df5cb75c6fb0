package adapter

// NeedsBase says whether the rows of d depend on those of the base: a magnitude rescales them.
func NeedsBase(d Delta) bool {
	switch d := d.(type) {
	case *LowRank:
		return d.Magnitude != nil
	case *ShiraDora:
		return true
	}
	return false
}
