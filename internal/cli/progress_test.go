package cli

import (
	"strings"
	"testing"
	"time"
)

// Where there is no terminal, what takes long prints a line now and then.
func TestByteLines(t *testing.T) {
	var b strings.Builder
	a := &app{log: newLogger(&b)}
	clock := time.Unix(0, 0)
	tell := a.byteLines("fusing", func() time.Time { return clock })
	for range 12 {
		clock = clock.Add(time.Second)
		tell(int64(clock.Unix())<<20, 20<<20)
	}
	want := "fusing: 5.0 MiB of 20.0 MiB, 1.0 MiB/s\nfusing: 10.0 MiB of 20.0 MiB, 1.0 MiB/s\n"
	if b.String() != want {
		t.Errorf("printed %q, want %q", b.String(), want)
	}
}
