//go:build unix

package data

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"shira/internal/fault"
)

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	_, err := Load(context.Background(), Options{Files: Files(path)})
	if got, want := fmt.Sprint(err), path+": is a named pipe, not a regular file"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
	if got := fault.KindOf(err); got != fault.Malformed {
		t.Errorf("kind is %d, want %d", got, fault.Malformed)
	}
}

func TestReadFault(t *testing.T) {
	path := filepath.Join(write(t, `{"text":"a"}`), "below a file")
	_, err := Load(context.Background(), Options{Files: Files(path)})
	if got, want := fmt.Sprint(err), path+": cannot open: not a directory"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
	if got := fault.KindOf(err); got != fault.Environment {
		t.Errorf("kind is %d, want %d", got, fault.Environment)
	}
}
