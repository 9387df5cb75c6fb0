//go:build !amd64

package kernel

func available() []isa { return []isa{isGo} }
