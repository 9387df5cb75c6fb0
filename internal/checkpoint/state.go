package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// stateName is the directory in a model's where package switcher keeps the journals of switches in place.
const stateName = ".shira"

// Names of journals, N being a number: that of a switch in the making, that of one that has begun to change weights and did not
// end, and the record of a complete one.
const (
	JournalMaking  = "undo-%d.tmp"
	JournalHot     = "undo-%d.hot"
	JournalApplied = "applied-%d"
)

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
	return errHot(path, real, journals)
}

func errHot(path, real string, journals []string) error {
	if !slices.ContainsFunc(journals, func(name string) bool { return isJournal(name, JournalHot) }) {
		return nil
	}
	return fault.New(fault.Unrecoverable, path, "a switch of its adapter did not end: the weights are neither the old ones nor the new ones").
		WithHint("`shira switch %s --recover` puts the old ones back", real)
}

// Reserve keeps switches from the model at path, which another one is to replace, until release. A model that is being
// switched is a Locked error. A file beside which journals of a switch lie is refused too: they are about the weights that are
// there now, and a recovery would write to the new ones. Those of a directory go with it.
func Reserve(path string) (release func(), err error) {
	held := []func(){}
	release = func() {
		for _, r := range held {
			r()
		}
	}
	real := fsx.Follow(path)
	files := []string{real}
	info, err := os.Stat(real)
	isDir := err == nil && info.IsDir()
	if isDir {
		if files, err = weightFiles(real); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		r, ok := fsx.Hold(f)
		held = append(held, r)
		if !ok {
			release()
			return nil, errSwitched(f)
		}
	}
	if isDir {
		return release, nil
	}
	if err := checkJournals(path, real); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// weightFiles returns the paths of the files in dir that may be a model's weights.
func weightFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fsx.Wrap(err, dir, "read")
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".safetensors") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// checkJournals refuses a file, which path leads to, beside which journals lie.
func checkJournals(path, real string) error {
	journals, err := journalsOf(real)
	if err == nil {
		err = errHot(path, real, journals)
	}
	if err == nil && slices.ContainsFunc(journals, func(name string) bool { return isJournal(name, JournalApplied) }) {
		return fault.New(fault.Incompatible, path, "not replaced: a switch has put an adapter into its weights, and keeps the base beside them").
			WithHint("`shira switch %s --revert` brings the base back first", real)
	}
	return err
}

// isJournal says whether name is one of a kind, of any number.
func isJournal(name, kind string) bool {
	before, after, _ := strings.Cut(kind, "%d")
	return strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
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
