package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"shira/internal/fault"
)

func TestWrap(t *testing.T) {
	own := errors.New("own")
	given := fault.New(fault.Gate, "other", "given")
	tests := []struct {
		name string
		err  error
		want string
		kind fault.Kind
		is   error
		hint string
	}{
		{"path error", &fs.PathError{Op: "open", Path: "/tmp/x", Err: syscall.EACCES}, "p: cannot write: permission denied", fault.Environment, fs.ErrPermission, ""},
		{"link error", &os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.EXDEV}, "p: cannot write: " + syscall.EXDEV.Error(), fault.Environment, syscall.EXDEV, ""},
		{"system call error", os.NewSyscallError("mmap", syscall.ENODEV), "p: cannot write: " + syscall.ENODEV.Error(), fault.Environment, syscall.ENODEV, ""},
		{"disk full", &fs.PathError{Op: "write", Path: "/tmp/x", Err: syscall.ENOSPC}, "p: cannot write: " + syscall.ENOSPC.Error(), fault.Environment, syscall.ENOSPC, "disk is full"},
		{"read-only", syscall.EROFS, "p: cannot write: " + syscall.EROFS.Error(), fault.Environment, syscall.EROFS, "read-only"},
		{"wrapped", fmt.Errorf("outer: %w", &fs.PathError{Op: "sync", Path: "/tmp/x", Err: syscall.EIO}), "p: cannot write: " + syscall.EIO.Error(), fault.Environment, syscall.EIO, ""},
		{"closed file", &fs.PathError{Op: "write", Path: "/tmp/x", Err: fs.ErrClosed}, "p: cannot write: file already closed", fault.Environment, fs.ErrClosed, ""},
		{"missing", fs.ErrNotExist, "p: cannot write: file does not exist", fault.Environment, fs.ErrNotExist, ""},
		{"a fault", fmt.Errorf("outer: %w", given), "outer: other: given", fault.Gate, given, ""},
		{"any other", own, "own", fault.Internal, own, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Wrap(tt.err, "p", "write")
			if got.Error() != tt.want || fault.KindOf(got) != tt.kind || !errors.Is(got, tt.is) {
				t.Errorf("got %q of kind %d, want %q of kind %d", got, fault.KindOf(got), tt.want, tt.kind)
			}
			if hint := fault.HintOf(got); !strings.Contains(hint, tt.hint) || tt.hint == "" && hint != "" {
				t.Errorf("hint is %q, want %q", hint, tt.hint)
			}
		})
	}
	if err := Wrap(nil, "p", "write"); err != nil {
		t.Errorf("Wrap(nil) = %v", err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	put(t, path, "12345")
	if b, err := ReadFile(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	_, err := ReadFile(path, 4)
	wantFault(t, err, fault.Malformed, "longer than the 4 bytes")
	_, err = ReadFile(dir, 4)
	wantFault(t, err, fault.Malformed, "is a directory, not a regular file")
	_, err = ReadFile(path+"x", 4)
	wantFault(t, err, fault.Environment, "cannot open")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestOpenIn(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "outside"), "x")
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(inner, "f"), "content")
	root, err := os.OpenRoot(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := OpenIn(root, "f", "shown")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	_, err = OpenIn(root, "../outside", "shown")
	wantFault(t, err, fault.Malformed, "shown: cannot open: path escapes")
	_, err = OpenIn(root, "missing", "shown")
	wantFault(t, err, fault.Environment, "shown: cannot open")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	if err := os.Symlink("../outside", filepath.Join(inner, "link")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	_, err = OpenIn(root, "link", "shown")
	wantFault(t, err, fault.Malformed, "shown: is a symbolic link out of the model's directory")
}

func TestFreeSpace(t *testing.T) {
	free, err := FreeSpace(t.TempDir())
	if err != nil || free == 0 || free > 1<<62 {
		t.Errorf("%d bytes, %v", free, err)
	}
	_, err = FreeSpace(filepath.Join(t.TempDir(), "missing"))
	wantFault(t, err, fault.Environment, "free space")
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantFile checks a file's content.
func wantFile(t *testing.T, path, content string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != content {
		t.Errorf("%s holds %q, %v; want %q", path, b, err, content)
	}
}

// wantNames checks what a directory holds.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := slices.Sorted(slices.Values(want)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v (kind %d), want %q of kind %d", err, fault.KindOf(err), text, kind)
	}
}
