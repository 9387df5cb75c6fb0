package fsx

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestMap(t *testing.T) {
	page := os.Getpagesize()
	for _, size := range []int{0, 1, page, 3*page + 7} {
		content := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
		path := filepath.Join(t.TempDir(), "f")
		put(t, path, string(content))
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Map(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close() // the mapping stays
		// Advice over any range changes nothing that can be seen.
		for _, r := range [][2]int{{0, size}, {0, 0}, {1, size}, {page - 1, 2}, {page, 2 * page}, {-1, 5}, {5, -1}, {size, 1}, {size + page, page}, {0, 1 << 62}} {
			m.WillNeed(r[0], r[1])
			m.Release(r[0], r[1])
			if !bytes.Equal(m.Bytes(), content) {
				t.Fatalf("size %d: other bytes after advice about %v", size, r)
			}
		}
		for range 2 {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
		m.Release(0, size)
		if m.Bytes() != nil {
			t.Error("bytes after Close")
		}
	}
}

// Release leaves pages that hold other data too, WillNeed takes them.
func TestPages(t *testing.T) {
	p := os.Getpagesize()
	m := &Mapping{data: make([]byte, 3*p+7)}
	tests := []struct {
		off, n       int
		partly, full [2]int // expected ranges; empty when equal
	}{
		{0, p, [2]int{0, p}, [2]int{0, p}},
		{1, p, [2]int{0, p + 1}, [2]int{}},
		{p - 1, p + 2, [2]int{0, 2*p + 1}, [2]int{p, 2 * p}},
		{p, 2*p + 7, [2]int{p, 3*p + 7}, [2]int{p, 3*p + 7}},
		{3 * p, 7, [2]int{3 * p, 3*p + 7}, [2]int{3 * p, 3*p + 7}},
		{3 * p, 6, [2]int{3 * p, 3*p + 6}, [2]int{}},
		{3*p + 1, 6, [2]int{3 * p, 3*p + 7}, [2]int{}},
	}
	for _, tt := range tests {
		for _, partly := range []bool{true, false} {
			want := tt.full
			if partly {
				want = tt.partly
			}
			got := m.pages(tt.off, tt.n, partly)
			if len(got) != want[1]-want[0] || len(got) > 0 && &got[0] != &m.data[want[0]] {
				t.Errorf("pages(%d, %d, %v) has %d bytes, want %v", tt.off, tt.n, partly, len(got), want)
			}
		}
	}
}
