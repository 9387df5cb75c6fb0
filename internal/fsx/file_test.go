package fsx

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"shira/internal/fault"
)

func writes(content string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	long := strings.Repeat("long ", writeBuffer)
	for _, content := range []string{"first", "second", "", long} {
		if err := WriteFile(path, writes(content)); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, content)
		wantNames(t, dir, "f")
	}
}

func TestWriteFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permission bits here")
	}
	dir := t.TempDir()
	mode := func(path string) fs.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	// What the umask leaves of 0644 is what any other way of creating a file gives.
	usual := filepath.Join(dir, "usual")
	put(t, usual, "")
	fresh := filepath.Join(dir, "fresh")
	if err := WriteFile(fresh, writes("x")); err != nil {
		t.Fatal(err)
	}
	if mode(fresh) != mode(usual) {
		t.Errorf("a new file has mode %v, want %v", mode(fresh), mode(usual))
	}
	for _, want := range []fs.FileMode{0o600, 0o640, 0o444, 0o666} {
		if err := os.Chmod(fresh, want); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(fresh, writes("y")); err != nil {
			t.Fatal(err)
		}
		if mode(fresh) != want {
			t.Errorf("mode %v became %v", want, mode(fresh))
		}
	}
}

// Whatever ends a write early leaves the old file, or none, and nothing else.
func TestWriteFileFails(t *testing.T) {
	own := errors.New("own")
	panics := func(path string, w func(io.Writer) error) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = r.(error)
			}
		}()
		return WriteFile(path, w)
	}
	tests := []struct {
		name  string
		write func(io.Writer) error
	}{
		{"error", func(w io.Writer) error { io.WriteString(w, "part"); return own }},
		{"error after much data", func(w io.Writer) error { w.Write(make([]byte, 3*writeBuffer)); return own }},
		{"panic", func(w io.Writer) error { io.WriteString(w, "part"); panic(own) }},
	}
	for _, tt := range tests {
		for _, old := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "f")
				var names []string
				if old {
					put(t, path, "old")
					names = []string{"f"}
				}
				if err := panics(path, tt.write); err != own {
					t.Errorf("error is %v, want %v", err, own)
				}
				wantNames(t, dir, names...)
				if old {
					wantFile(t, path, "old")
				}
			})
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := Create(filepath.Join(dir, "missing", "f"))
	wantFault(t, err, fault.Environment, "cannot create a temporary file beside it")
	_, err = Create(dir)
	wantFault(t, err, fault.Environment, "is a directory, not a regular file")
	_, err = Create(os.DevNull)
	wantFault(t, err, fault.Environment, "is a device, not a regular file")
	put(t, filepath.Join(dir, "f"), "old")
	_, err = Create(filepath.Join(dir, "f", "child"))
	wantFault(t, err, fault.Environment, "cannot ")
	wantNames(t, dir, "f")
	if os.Symlink(os.DevNull, filepath.Join(dir, "link")) == nil {
		_, err = Create(filepath.Join(dir, "link"))
		wantFault(t, err, fault.Environment, "is a device")
	}
}

func TestCreateNoReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	a, err := Create(path, Replace(false))
	if err != nil {
		t.Fatal(err)
	}
	// Someone else is faster.
	put(t, path, "theirs")
	err = a.Commit()
	wantFault(t, err, fault.Usage, "will not overwrite")
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v is not fs.ErrExist", err)
	}
	_, err = Create(path, Replace(false))
	wantFault(t, err, fault.Usage, "will not overwrite")
	wantFile(t, path, "theirs")
	wantNames(t, dir, "f")

	if err := WriteFile(filepath.Join(dir, "g"), writes("new"), Replace(false)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(dir, "g"), "new")
	wantNames(t, dir, "f", "g")
}

// A link is replaced; what it points to, which others may share, stays. So do other names of the old file.
func TestWriteFileLinks(t *testing.T) {
	dir := t.TempDir()
	shared, link := filepath.Join(dir, "shared"), filepath.Join(dir, "link")
	put(t, shared, "shared")
	for _, newLink := range []func(a, b string) error{os.Symlink, os.Link} {
		if err := newLink(shared, link); err != nil {
			t.Skip("no links here:", err)
		}
		if err := WriteFile(link, writes("own")); err != nil {
			t.Fatal(err)
		}
		wantFile(t, shared, "shared")
		wantFile(t, link, "own")
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, dir, "shared")
}

// Abort comes from any goroutine at any time; the file is then the old or the new one, and writing fails.
func TestAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	put(t, path, "old")
	for range 50 {
		a, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		group.Go(a.Abort)
		var writeErr error
		for writeErr == nil {
			_, writeErr = a.Write(make([]byte, 1<<10))
		}
		group.Wait()
		wantFault(t, writeErr, fault.Interrupted, "writing was aborted")
		wantFault(t, a.Commit(), fault.Interrupted, "writing was aborted")
		a.Abort()
		wantFile(t, path, "old")
	}
	wantNames(t, dir, "f")
}

func TestUseAfterCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	a, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(a, "new"); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	a.Abort()
	_, err = a.Write([]byte("more"))
	wantFault(t, err, fault.Internal, "after the end")
	wantFault(t, a.Commit(), fault.Internal, "after the end")
	wantFile(t, path, "new")
	wantNames(t, dir, "f")
}

// A rename that fails leaves nothing.
func TestCommitFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	a, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	wantFault(t, a.Commit(), fault.Environment, "cannot write")
	wantNames(t, dir, "f")
	wantNames(t, path, "x")
}
