package fsx

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"shira/internal/fault"
)

func TestOpenLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := OpenLocked(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("mine"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLocked(path); fault.KindOf(err) != fault.Locked {
		t.Errorf("a second writer: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "mine" || err != nil {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = OpenLocked(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "mine" || err != nil {
		t.Errorf("opened again, the file holds %q, %v", b, err)
	}
	if _, err := OpenLocked(filepath.Join(path, "x")); fault.KindOf(err) != fault.Environment {
		t.Errorf("below a file: %v", err)
	}
}
