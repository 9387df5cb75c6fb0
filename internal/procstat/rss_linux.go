package procstat

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// RSS returns the resident set of this process, in bytes, or 0 where it is not known. It counts pages of mapped files as
// well.
func RSS() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// limits are where the limit of a container stands, of version 2 of control groups and of version 1.
var limits = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// Memory returns the memory of this machine, or of the container that this is, in bytes, or 0 where it is not known.
func Memory() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	n := int64(info.Totalram) * int64(info.Unit)
	for _, path := range limits {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil && limit > 0 { // "max" is none
			n = min(n, limit)
		}
	}
	return n
}
