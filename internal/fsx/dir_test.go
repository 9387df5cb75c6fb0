package fsx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"shira/internal/fault"
)

// fill writes a small tree whose files hold content.
func fill(t *testing.T, content string) func(string) error {
	return func(dir string) error {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
			return err
		}
		put(t, filepath.Join(dir, "a"), content)
		put(t, filepath.Join(dir, "sub", "b"), content)
		return nil
	}
}

func wantTree(t *testing.T, dir, content string) {
	t.Helper()
	wantNames(t, dir, "a", "sub")
	wantFile(t, filepath.Join(dir, "a"), content)
	wantFile(t, filepath.Join(dir, "sub", "b"), content)
}

func TestWriteDir(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "d")
	if err := WriteDir(path+"/", fill(t, "first")); err != nil {
		t.Fatal(err)
	}
	wantTree(t, path, "first")

	err := WriteDir(path, fill(t, "second"))
	wantFault(t, err, fault.Usage, "will not overwrite")
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v is not fs.ErrExist", err)
	}
	wantTree(t, path, "first")

	put(t, filepath.Join(path, "sub", "only in the old one"), "")
	if err := WriteDir(path, fill(t, "third"), Replace(true)); err != nil {
		t.Fatal(err)
	}
	wantTree(t, path, "third")
	wantNames(t, filepath.Join(path, "sub"), "b")

	empty := filepath.Join(top, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteDir(empty, fill(t, "fourth")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(empty); err != nil || info.Mode().Perm() != 0o700 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v: the mode is not kept", info, err)
	}
	wantTree(t, empty, "fourth")
	wantNames(t, top, "d", "empty")
}

func TestWriteDirFails(t *testing.T) {
	own := errors.New("own")
	for _, panics := range []bool{false, true} {
		top := t.TempDir()
		path := filepath.Join(top, "d")
		if err := WriteDir(path, fill(t, "old")); err != nil {
			t.Fatal(err)
		}
		err := func() (err error) {
			defer func() {
				if r := recover(); r != nil {
					err = r.(error)
				}
			}()
			return WriteDir(path, func(dir string) error {
				if err := fill(t, "new")(dir); err != nil {
					return err
				}
				if panics {
					panic(own)
				}
				return own
			}, Replace(true))
		}()
		if err != own {
			t.Errorf("error is %v, want %v", err, own)
		}
		wantTree(t, path, "old")
		wantNames(t, top, "d")
	}
}

func TestCreateDirRefuses(t *testing.T) {
	top := t.TempDir()
	put(t, filepath.Join(top, "f"), "old")
	for _, replace := range []bool{false, true} {
		_, err := CreateDir(filepath.Join(top, "f"), Replace(replace))
		wantFault(t, err, fault.Usage, "is not a directory")
		_, err = CreateDir(filepath.Join(top, "missing", "d"), Replace(replace))
		wantFault(t, err, fault.Environment, "cannot create a temporary directory")
	}
	wantFile(t, filepath.Join(top, "f"), "old")
	wantNames(t, top, "f")
}

// Something that appears at the path meanwhile stays.
func TestCommitDirRace(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "d")
	d, err := CreateDir(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(d.Path(), "mine"), "")
	if err := WriteDir(path, fill(t, "theirs")); err != nil {
		t.Fatal(err)
	}
	wantFault(t, d.Commit(), fault.Usage, "will not overwrite")
	wantTree(t, path, "theirs")
	wantNames(t, top, "d")
	wantFault(t, d.Commit(), fault.Internal, "already committed")
	d.Abort()
}

func TestAbortDir(t *testing.T) {
	top := t.TempDir()
	d, err := CreateDir(filepath.Join(top, "d"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(d.Path(), "f"), "")
	d.Abort()
	d.Abort()
	wantNames(t, top)
	wantFault(t, d.Commit(), fault.Internal, "already committed or aborted")
}

// A link to a directory is replaced, not what it points to.
func TestWriteDirLink(t *testing.T) {
	top := t.TempDir()
	shared, link := filepath.Join(top, "shared"), filepath.Join(top, "link")
	if err := WriteDir(shared, fill(t, "shared")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(shared, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := WriteDir(link, fill(t, "own"), Replace(true)); err != nil {
		t.Fatal(err)
	}
	wantTree(t, shared, "shared")
	wantTree(t, link, "own")
	wantNames(t, top, "link", "shared")
}

// Where names cannot be exchanged, two renames do, and are undone when the second fails.
func TestRenameAside(t *testing.T) {
	top := t.TempDir()
	staging, path := filepath.Join(top, "staging"), filepath.Join(top, "d")
	for dir, content := range map[string]string{staging: "new", path: "old"} {
		if err := WriteDir(dir, fill(t, content)); err != nil {
			t.Fatal(err)
		}
	}
	old, err := renameAside(staging, path)
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, path, "new")
	wantTree(t, old, "old")
	wantNames(t, top, "d", filepath.Base(old))

	if _, err := renameAside(staging, path); err == nil {
		t.Error("renamed a directory that is not there")
	}
	wantTree(t, path, "new")
	wantNames(t, top, "d", filepath.Base(old))
}
