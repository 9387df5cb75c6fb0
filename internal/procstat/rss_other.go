//go:build !linux

package procstat

// RSS returns 0: the resident set is not known on this system.
func RSS() int64 { return 0 }

// Memory returns 0: the memory is not known on this system.
func Memory() int64 { return 0 }
