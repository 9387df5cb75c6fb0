package fsx

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// What stands between a path and 16 hexadecimal digits in the name of what lies beside it for a while.
const (
	tempMark = ".tmp-" // of something in the making, or to be removed
	oldMark  = ".old-" // of what was at the path, while it may be the only one there is
)

// uniqueName calls create with names beside path until one does not exist yet, and returns it.
func uniqueName(path, mark string, create func(name string) error) (string, error) {
	path = filepath.Clean(path) // "dir/" must give a sibling of dir, not a child
	var err error
	for range 100 {
		name := fmt.Sprintf("%s%s%016x", path, mark, rand.Uint64())
		if err = create(name); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", err
}

// hold takes the lock that says that somebody is at work on what has been made under a temporary name. It reports false when a
// sweep has come between, to which it looked left behind.
func hold(f *os.File, name string) bool {
	if ok, err := tryLock(f); err == nil && !ok {
		return false
	}
	// A file system without locks is no reason not to work: no sweep removes anything there.
	return isAt(f, func() (fs.FileInfo, error) { return os.Lstat(name) })
}

// sweep removes what processes that are gone left beside path under temporary names.
func sweep(path string) {
	dir, base := filepath.Split(filepath.Clean(path))
	Sweep(filepath.Clean(dir), func(name string) bool { return name == base })
}

// Sweep removes what processes that are gone left in dir under temporary names, of the files and directories that of says. What
// cannot be removed stays, as it does no harm but for its size.
func Sweep(dir string, of func(name string) bool) {
	names := marked(dir, tempMark, of)
	// A directory under such a name may be what another one replaced a moment before the process ended or the power failed: first
	// that exchange must be durable.
	if len(names) == 0 || syncDir(dir) != nil {
		return
	}
	for _, name := range names {
		removeUnheld(name)
	}
}

// marked returns the files and directories in dir whose names uniqueName made with mark, of those that of says.
func marked(dir, mark string, of func(name string) bool) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name, digits := e.Name(), ""
		if at := len(name) - 16 - len(mark); at > 0 && name[at:at+len(mark)] == mark {
			name, digits = name[:at], name[at+len(mark):]
		}
		if digits != "" && strings.Trim(digits, "0123456789abcdef") == "" && of(name) && (e.IsDir() || e.Type().IsRegular()) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

func removeUnheld(name string) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	if ok, err := tryLock(f); ok && err == nil {
		_ = os.RemoveAll(name)
	}
}
