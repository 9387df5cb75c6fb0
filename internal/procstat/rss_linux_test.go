package procstat

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryOfContainer(t *testing.T) {
	defer func(l []string) { limits = l }(limits)
	path := filepath.Join(t.TempDir(), "memory.max")
	limits = []string{path}
	machine := Memory()
	for text, want := range map[string]int64{"1048576\n": 1 << 20, "max\n": machine, "9223372036854771712\n": machine} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := Memory(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
