//go:build !linux

package kernel

// allowTiles: other systems are not asked for tile registers.
func allowTiles() bool { return false }
