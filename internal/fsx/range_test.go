package fsx

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestRanges writes a file in parts, out of order and from several goroutines.
func TestRanges(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	if err := os.WriteFile(source, data, 0o666); err != nil {
		t.Fatal(err)
	}
	src, err := os.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	path := filepath.Join(dir, "out")
	a, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Abort()
	if err := a.Resize(int64(len(data)) + 5); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	const part = 100_001
	for off := (len(data) - 1) / part * part; off >= 0; off -= part {
		group.Go(func() {
			n := min(part, len(data)-off)
			if off/part%3 == 0 {
				if _, err := a.WriteAt(data[off:off+n], int64(off)+5); err != nil {
					t.Error(err)
				}
			} else if err := a.CopyRange(int64(off)+5, src, int64(off), int64(n)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := a.CopyRange(0, src, int64(len(data))-2, 5); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("past the end of the source: %v", err)
	}
	if _, err := a.WriteAt([]byte("start"), 0); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "start"+string(data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := a.WriteAt([]byte("late"), 0); err == nil {
		t.Error("a part is written after the end")
	}
	if err := a.CopyRange(0, src, 0, 1); err == nil {
		t.Error("a part is copied after the end")
	}
}
