package procstat

import (
	"bytes"
	"os"
	"strconv"
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
