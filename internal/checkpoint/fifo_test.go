//go:build linux || darwin

package checkpoint

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"shira/internal/fault"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Skip("no named pipes here:", err)
	}
}

// A named pipe in any place is refused at once: an open that waits for a writer would hang the test.
func TestFIFO(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "w.safetensors")
		mkfifo(t, path)
		_, err := Open(path)
		checkFault(t, err, fault.Malformed, path, "is a named pipe")
		_, err = OpenModel(path)
		checkFault(t, err, fault.Malformed, path, "is a named pipe")
	})
	for _, name := range []string{ModelFile, IndexFile, shard2} {
		t.Run(name, func(t *testing.T) {
			l := layout{t, t.TempDir()}
			if name == shard2 {
				l.sharded()
				l.remove(shard2)
			}
			path := filepath.Join(l.dir, name)
			mkfifo(t, path)
			_, err := OpenModel(l.dir)
			checkFault(t, err, fault.Malformed, path, "is a named pipe")
		})
	}
	_, err := Open("/dev/zero")
	checkFault(t, err, fault.Malformed, "/dev/zero", "is a device")
}
