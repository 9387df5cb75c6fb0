package fsx

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"shira/internal/fault"
)

func TestOpenFS(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.List("sub"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	for _, step := range []func() error{
		func() error { return d.Mkdir("sub") },
		func() error { return d.SyncDir(".") },
		func() error {
			f, err := d.Create("sub/a")
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("content"), 3); err != nil {
				return err
			}
			f.WriteBehind(0, 10)
			return f.Datasync()
		},
		func() error { return d.Rename("sub/a", "sub/b") },
		func() error { return d.SyncDir("sub") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	f, err := d.Open("sub/b", true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 0); n != 10 || err != nil || string(b) != "\x00\x00\x00content" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if _, err := f.ReadAt(b, 5); err != io.EOF {
		t.Errorf("beyond the end: %v", err)
	}
	if st, err := f.Stat(); err != nil || st.Size != 10 || st.Links != 1 || st.Info.Name() != "b" {
		t.Errorf("%+v, %v", st, err)
	}
	if names, err := d.List("sub"); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Errorf("%v, %v", names, err)
	}
	_, err = d.Create("sub/b")
	wantFault(t, err, fault.Environment, filepath.Join(dir, "sub", "b")+": cannot create: file exists")
	_, err = d.Open("sub", false)
	wantFault(t, err, fault.Malformed, "is a directory")
	_, err = d.List("sub/b")
	wantFault(t, err, fault.Incompatible, "not a directory")
	if free, err := d.Free(); err != nil || free == 0 {
		t.Errorf("%d bytes free, %v", free, err)
	}
	if err := d.Remove("sub/b"); err != nil {
		t.Error(err)
	}
}

// A lock and a reader keep out whoever would change a file.
func TestExclude(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f"), "x")
	d, err := OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	lock, ok, err := d.Lock("lock")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := d.Lock("lock"); ok || err != nil {
		t.Errorf("a second lock: %v, %v", ok, err)
	}
	lock.Close()
	reader, err := Open(filepath.Join(dir, "f"))
	if err != nil || !Share(reader) {
		t.Fatal(err)
	}
	writer, err := d.Open("f", true)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if writer.Exclude() {
		t.Error("beside a reader")
	}
	reader.Close()
	if !writer.Exclude() {
		t.Error("without a reader")
	}
	if late, err := Open(filepath.Join(dir, "f")); err != nil || Share(late) {
		t.Errorf("a reader beside a writer: %v", err)
	}
}

// Who asks for a lock keeps nobody from it.
func TestLocked(t *testing.T) {
	d, err := OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if locked, err := d.Locked("lock"); locked || err != nil {
		t.Errorf("without a file: %v, %v", locked, err)
	}
	if names, err := d.List("."); err != nil || len(names) != 0 {
		t.Errorf("asking left %v, %v", names, err)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := d.Locked("lock"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		lock, ok, err := d.Lock("lock")
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if locked, err := d.Locked("lock"); !locked || err != nil {
			t.Errorf("while it is locked: %v, %v", locked, err)
		}
		lock.Close()
	}
	close(stop)
	group.Wait()
}

// Nothing outside the directory is reached.
func TestOpenFSStaysInside(t *testing.T) {
	top := t.TempDir()
	put(t, filepath.Join(top, "outside"), "x")
	dir := filepath.Join(top, "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Open("../outside", true); err == nil {
		t.Error("a name that leads out")
	}
	if err := os.Symlink("../outside", filepath.Join(dir, "link")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	_, err = d.Open("link", true)
	wantFault(t, err, fault.Incompatible, "is a symbolic link")
	if err := os.Symlink("..", filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create("up/new"); err == nil {
		t.Error("a directory that leads out")
	}
	wantNames(t, top, "dir", "outside")
}
