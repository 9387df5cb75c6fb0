package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// stateName is the directory in a model's where package switcher keeps the journals of switches in place.
const stateName = ".shira"

// hotSuffix ends the name of the journal of a switch that has begun to change weights and did not end.
const hotSuffix = ".hot"

// StateDir returns a model's directory, and the name of the one in it that holds the journals of its switches: .shira, or
// NAME.shira for a single file of another name than a directory's weights have, so that both ways to name a file agree.
func StateDir(path string) (dir, name string) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return path, stateName
	}
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if base == ModelFile || shardName.MatchString(base) {
		return filepath.Clean(dir), stateName
	}
	return filepath.Clean(dir), base + stateName
}

// checkWhole refuses a model that a switch left between two states. The journals of a file lie beside it, and not beside a
// link to it.
func checkWhole(path string) error {
	real := fsx.Follow(path)
	dir, name := StateDir(real)
	entries, err := os.ReadDir(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) { // none where it was never switched
		return fsx.Wrap(err, filepath.Join(dir, name), "look for an interrupted switch")
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), hotSuffix) {
			return fault.New(fault.Unrecoverable, path, "a switch of its adapter did not end: the weights are neither the old ones nor the new ones").
				WithHint("`shira switch %s --recover` puts the old ones back", real)
		}
	}
	return nil
}
