package kernel

import "golang.org/x/sys/cpu"

// available returns the instruction sets of this machine, the best last.
func available() []isa {
	have := []isa{isGo}
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return have
	}
	have = append(have, isAVX2)
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512BW {
		have = append(have, isAVX512)
		if cpu.X86.HasAVX512BF16 {
			have = append(have, isAVX512BF16)
			if cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 && allowTiles() {
				have = append(have, isAMX)
			}
		}
	}
	return have
}
