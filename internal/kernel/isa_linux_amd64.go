package kernel

import "golang.org/x/sys/unix"

// allowTiles asks the kernel for the use of tile registers in this process and tells whether it agrees, which it does only
// where the processor and the kernel have them (Linux, Documentation/arch/x86/xstate.rst).
func allowTiles() bool {
	const (
		archReqXcompPerm = 0x1023
		tileData         = 18 // number of the state component
	)
	_, _, failed := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archReqXcompPerm, tileData, 0)
	return failed == 0
}
