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

// appliedPrefix begins the name of the record of the last switch.
const appliedPrefix = "applied-"

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
	journals, err := journalsOf(real)
	if err != nil {
		return err
	}
	for _, name := range journals {
		if strings.HasSuffix(name, hotSuffix) {
			return fault.New(fault.Unrecoverable, path, "a switch of its adapter did not end: the weights are neither the old ones nor the new ones").
				WithHint("`shira switch %s --recover` puts the old ones back", real)
		}
	}
	return nil
}

// Replaceable refuses to put another model at path while the journals of a switch lie beside it: they are about the weights that
// are there now, and a recovery would write to the new ones.
func Replaceable(path string) error {
	if err := checkWhole(path); err != nil {
		return err
	}
	real := fsx.Follow(path)
	journals, err := journalsOf(real)
	if err != nil {
		return err
	}
	for _, name := range journals {
		if strings.HasPrefix(name, appliedPrefix) {
			return fault.New(fault.Incompatible, path, "not replaced: a switch has put an adapter into its weights, and keeps the base beside them").
				WithHint("`shira switch %s --revert` brings the base back first", real)
		}
	}
	return nil
}

// journalsOf returns the names of what switches left for the model at path, which is no link.
func journalsOf(path string) ([]string, error) {
	dir, state := StateDir(path)
	entries, err := os.ReadDir(filepath.Join(dir, state))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) { // none where it was never switched
		return nil, fsx.Wrap(err, filepath.Join(dir, state), "look for an interrupted switch")
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}
