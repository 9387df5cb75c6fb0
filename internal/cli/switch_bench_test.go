package cli

import (
	"strings"
	"testing"

	"shira/internal/switcher"
)

// TestBenchPaper compares with the paper what is of its size.
func TestBenchPaper(t *testing.T) {
	for bytes, want := range map[int64]bool{600 << 10: false, 1<<30 - 1: false, 1 << 30: true} {
		b := &switcher.Bench{Adapters: []string{"a", "b"}}
		b.Whole.Bytes = bytes
		rows := benchRows(b)
		if cell := rows[len(rows)-1][5]; (cell == paperModel+"×") != want {
			t.Errorf("%d bytes are compared with %q", bytes, cell)
		}
		if small := strings.Contains(benchNote(b), "too small to compare"); small == want {
			t.Errorf("%d bytes are said to be too small: %v", bytes, small)
		}
	}
}
