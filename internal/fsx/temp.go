package fsx

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strconv"
)

// uniqueName calls create with names beside path, "<path>.tmp-<random>", until one does not exist yet, and returns it.
func uniqueName(path string, create func(name string) error) (string, error) {
	path = filepath.Clean(path) // "dir/" must give a sibling of dir, not a child
	var err error
	for range 100 {
		name := path + ".tmp-" + strconv.FormatUint(uint64(rand.Uint32()), 36)
		if err = create(name); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", err
}
