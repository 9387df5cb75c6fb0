package fsx

import (
	"os"
	"path/filepath"
)

// RemoveDir removes a directory and all that is in it. It is renamed first, to a name as [CreateDir] gives, so that nobody
// takes for whole what is left of it after a crash, for which that name must be durable before anything goes.
func RemoveDir(path string) error {
	aside, err := uniqueName(path, tempMark, func(name string) error {
		if _, err := os.Lstat(name); err == nil {
			return os.ErrExist // a rename would replace it
		}
		return os.Rename(path, name)
	})
	if err == nil {
		err = syncDir(filepath.Dir(aside))
	}
	if err == nil {
		err = os.RemoveAll(aside)
	}
	return Wrap(err, path, "remove")
}
