package fsx

import (
	"os"
	"path/filepath"
	"testing"

	"shira/internal/fault"
)

func TestCreateLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := CreateLocked(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("mine"); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateLocked(path); fault.KindOf(err) != fault.Locked {
		t.Errorf("a second writer: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "mine" || err != nil {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = CreateLocked(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the old content is still there: %v", err)
	}
	if _, err := CreateLocked(filepath.Join(path, "x")); fault.KindOf(err) != fault.Environment {
		t.Errorf("below a file: %v", err)
	}
}
