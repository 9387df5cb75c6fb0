//go:build !amd64 && !arm64

package kernel

func available() []isa { return []isa{isGo} }
