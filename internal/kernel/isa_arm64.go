package kernel

// available returns the instruction sets of this machine, the best last. Every arm64 processor that Go supports has NEON.
func available() []isa { return []isa{isGo, isNEON} }
