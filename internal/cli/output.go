package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// checkFile refuses a file that a command shall write when it is there and force does not say that it be replaced; and
// whatever force says, when it is one of the inputs, or a file of one that is a directory. New files may lie in inputs.
func checkFile(path string, force bool, inputs ...string) error {
	if err := spare(path, inputs...); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil && !force {
		return fault.New(fault.Usage, path, "exists").WithHint("--force replaces it")
	}
	_, err := os.Stat(filepath.Dir(path))
	return fsx.Wrap(err, path, "write")
}

// spare refuses an output that would replace an input, what is in one, or what one is in.
func spare(path string, inputs ...string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fsx.Wrap(err, path, "write")
	}
	out, err := fsx.Resolve(path)
	if err != nil {
		return fsx.Wrap(err, path, "write")
	}
	for _, input := range inputs {
		in, err := fsx.Resolve(input)
		if err != nil {
			continue // who reads it says so
		}
		there, err := os.Stat(in)
		if in == out || fsx.Within(out, in) || fsx.Within(in, out) || err == nil && os.SameFile(info, there) {
			return fault.New(fault.Usage, path, "the output is, lies in or holds the input %s", fault.Quote(input))
		}
	}
	return nil
}

// paths are those of adapters.
func paths(refs []adapter.Ref) []string {
	var list []string
	for _, r := range refs {
		list = append(list, r.Path)
	}
	return list
}

// holdsModel says whether dir is a model's.
func holdsModel(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, checkpoint.ConfigFile))
	return err == nil
}
