package fsx

import (
	"io"
	"os"
	"path/filepath"
	"sync"
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

// TestRenameLocked: who has the lock has the file of that name, whatever others rename meanwhile.
func TestRenameLocked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.part")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				f, err := OpenLocked(path)
				if fault.KindOf(err) == fault.Locked {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				info, err := f.Stat()
				if there, e := os.Stat(path); err != nil || e != nil || !os.SameFile(info, there) {
					t.Errorf("another file is there: %v, %v", err, e)
				}
				if err := RenameLocked(f, filepath.Join(dir, "log")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	wantNames(t, dir, "log")
	if f, err := OpenLocked(filepath.Join(dir, "log")); err != nil {
		t.Errorf("still locked: %v", err)
	} else if err := RenameLocked(f, filepath.Join(dir, "none", "log")); fault.KindOf(err) != fault.Environment {
		t.Errorf("into no directory: %v", err)
	}
}

// TestHold: what is held is not changed, but it may be replaced.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f"), "old")
	d, err := OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	open := func() File {
		f, err := d.Open("f", true)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if release, ok := Hold(filepath.Join(dir, "none")); !ok {
		t.Error("what is not there is held")
	} else {
		release()
	}
	release, ok := Hold(filepath.Join(dir, "f"))
	old := open()
	if !ok || old.Exclude() {
		t.Errorf("held: %v, and changed", ok)
	}
	if err := WriteFile(filepath.Join(dir, "f"), writes("new")); err != nil {
		t.Fatal(err)
	}
	release()
	if old.Exclude() {
		t.Error("what was replaced is changed")
	}
	now := open()
	defer now.Close()
	if !now.Exclude() {
		t.Error("what is there now is not changed")
	}
	if _, ok := Hold(filepath.Join(dir, "f")); ok {
		t.Error("held while it is changed")
	}
	old.Close()
}
