package fsx

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/fault"
)

// What a killed process left goes with the next write to the same path; what somebody is at work on stays, and so does what has
// another name.
func TestSweep(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	put(t, at("f.tmp-0123456789abcdef"), "left behind")
	if err := os.MkdirAll(at("d.tmp-fedcba9876543210/in/it"), 0o755); err != nil {
		t.Fatal(err)
	}
	others := []string{"f.tmp-0123456789abcde", "f.tmp-0123456789abcdeg", "f.tmp-backup", "f.old-0123456789abcdef", "g.tmp-0123456789abcdef", "d.tmp-"}
	for _, name := range others {
		put(t, at(name), "somebody's")
	}
	f, err := Create(at("f"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := CreateDir(at("d"))
	if err != nil {
		t.Fatal(err)
	}
	want := append([]string{filepath.Base(f.f.Name()), filepath.Base(d.Path())}, others...)
	wantNames(t, top, want...)
	for range 2 { // others at work
		sweep(at("f"))
		sweep(at("d"))
	}
	wantNames(t, top, want...)
	if err := errors.Join(f.Seal(), d.Commit()); err != nil {
		t.Fatal(err)
	}
	sweep(at("f"))
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	wantNames(t, top, append([]string{"f", "d"}, others...)...)
}

func TestSeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	a, err := PrepareFile(path, writes("content"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(a, "more"); fault.KindOf(err) != fault.Internal {
		t.Errorf("written after the end: %v", err)
	}
	if _, err := a.WriteAt([]byte("more"), 0); fault.KindOf(err) != fault.Internal {
		t.Errorf("written after the end: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || a.Placed() {
		t.Errorf("is in place: %v", err)
	}
	if err := errors.Join(a.Seal(), a.Commit()); err != nil || !a.Placed() {
		t.Error(err)
	}
	wantFile(t, path, "content")
	a.Abort()
	wantFile(t, path, "content")
}

func TestWithdraw(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "f")
	restore, drop, err := Withdraw(path)
	if err != nil || restore() != nil {
		t.Fatal(err)
	}
	drop()
	wantNames(t, top)
	put(t, path, "old")
	for _, back := range []bool{true, false} {
		if restore, drop, err = Withdraw(path); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("is still there: %v", err)
		}
		if sweep(path); !back {
			put(t, path+".old-0123456789abcdef", "withdrawn by a process that was killed")
			drop()
			wantNames(t, top)
			continue
		}
		if err := restore(); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, "old")
		wantNames(t, top, "f")
	}
}

// TestUnpack stops the moving after each file, as a crash would, and does it again.
func TestUnpack(t *testing.T) {
	names := []string{"config", "tokenizer", "weights"}
	for stop := range len(names) + 2 {
		top := t.TempDir()
		from, to := filepath.Join(top, "to", "new"), filepath.Join(top, "to")
		if err := os.MkdirAll(from, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			put(t, filepath.Join(from, name), "new")
			put(t, filepath.Join(to, name), "old")
		}
		put(t, filepath.Join(to, "other"), "other")
		if stop > 0 { // the old last one went first
			if err := os.Remove(filepath.Join(to, "weights")); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range names[:max(0, stop-1)] {
			if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := Unpack(from, to, "weights"); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			wantFile(t, filepath.Join(to, name), "new")
		}
		wantNames(t, to, append([]string{"other"}, names...)...)
	}
	top := t.TempDir()
	put(t, filepath.Join(top, "weights"), "old")
	for _, dir := range []string{"new", "config"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		put(t, filepath.Join(top, "new", name), "new")
	}
	wantFault(t, Unpack(filepath.Join(top, "new"), top, "weights"), fault.Environment, "is a directory")
	wantFile(t, filepath.Join(top, "weights"), "old")
	wantNames(t, filepath.Join(top, "new"), names...)
}

func TestMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := MkdirAll(dir + string(filepath.Separator)); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Error(err)
	}
	put(t, filepath.Join(dir, "f"), "")
	if err := MkdirAll(filepath.Join(dir, "f", "d")); fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}
