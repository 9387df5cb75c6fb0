package kernel

import (
	"fmt"
	"os"
	"strings"
)

// isa is an instruction set that the kernels are written in, in rising order of speed.
type isa int

const (
	isGo isa = iota
	isNEON
	isAVX2
	isAVX512
	isAVX512BF16
	isAMX
)

var isaNames = [...]string{isGo: "go", isNEON: "neon", isAVX2: "avx2", isAVX512: "avx512", isAVX512BF16: "avx512bf16", isAMX: "amx"}

// active is the instruction set in use; only tests change it after start.
var active, errForced = choose(os.Getenv("SHIRA_KERNEL"), available())

// choose returns the instruction set that the environment names, or the best of those available with an error where
// it names none of them, or the best where it is silent.
func choose(forced string, have []isa) (isa, error) {
	best := have[len(have)-1]
	if forced == "" {
		return best, nil
	}
	names := make([]string, len(have))
	for i, k := range have {
		if names[i] = isaNames[k]; strings.EqualFold(names[i], forced) {
			return k, nil
		}
	}
	return best, fmt.Errorf("SHIRA_KERNEL is %q; this machine has %s", forced, strings.Join(names, ", "))
}

// Features names the instruction set that the kernels run on: "amx", "avx512bf16", "avx512", "avx2", "neon" or "go", the
// portable reference. The environment variable SHIRA_KERNEL, read once at start, forces one, in letters of any case.
func Features() string { return isaNames[active] }

// Check returns an error when SHIRA_KERNEL names an instruction set that is unknown or that this machine lacks.
func Check() error { return errForced }
