package fuse

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// isDir says whether the base is a directory.
func isDir(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fsx.Wrap(err, path, "open the base")
	}
	return info.IsDir(), nil
}

// placeOutput decides where the output goes and refuses what would harm what is there.
func (j *job) placeOutput() error {
	if j.AdapterOnly {
		if j.Out == "" {
			adapterIsDir, err := isDir(j.Adapters[0].Path)
			if err != nil {
				return err
			}
			j.Out = DefaultOut(j.Adapters[0].Path, adapterIsDir)
		}
		j.Out = filepath.Clean(j.Out)
		return j.checkAdapterOutput()
	}
	if j.Out == "" {
		j.Out = DefaultOut(j.Base, j.isDir)
	}
	j.Out = filepath.Clean(j.Out)
	if err := j.checkInputs(); err != nil {
		return err
	}
	return j.checkExisting()
}

// checkInputs refuses an output that is, lies in or holds an input.
func (j *job) checkInputs() error {
	inputs := []string{j.Base}
	for _, ref := range j.Adapters {
		inputs = append(inputs, ref.Path)
	}
	out, err := fsx.Resolve(j.Out)
	if err != nil {
		return fsx.Wrap(err, j.Out, "write")
	}
	for _, input := range inputs {
		in, err := fsx.Resolve(input)
		if err != nil {
			return fsx.Wrap(err, input, "open")
		}
		switch {
		case in == out || sameFile(in, out):
			return fault.New(fault.Usage, j.Out, "the output is the input %s", fault.Quote(input))
		case fsx.Within(out, in):
			return fault.New(fault.Usage, j.Out, "the output lies inside the input %s", fault.Quote(input))
		case fsx.Within(in, out) && j.AdapterOnly:
			return fault.New(fault.Usage, j.Out, "the output holds the input %s", fault.Quote(input))
		case fsx.Within(in, out) && j.isDir:
			return fault.New(fault.Usage, j.Out, "the output would replace the directory of the input %s", fault.Quote(input))
		}
	}
	return nil
}

// checkExisting refuses to overwrite without Force, and a directory that is no model even with it. A dry run overwrites
// nothing.
func (j *job) checkExisting() error {
	info, err := os.Stat(j.Out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	j.exists = err == nil
	switch {
	case err != nil:
		return fsx.Wrap(err, j.Out, "write")
	case info.IsDir() && !j.isDir:
		return fault.New(fault.Usage, j.Out, "is a directory, but the base is a single file").
			WithHint("name the file to write, e.g. -o %s", filepath.Join(j.Out, filepath.Base(j.Base)))
	case !info.IsDir() && j.isDir:
		return fault.New(fault.Usage, j.Out, "is a file, but the base is a directory")
	case j.DryRun:
	case !j.Force:
		return fault.New(fault.Usage, j.Out, "exists").WithHint("--force replaces it; -o names another output")
	case j.isDir && !disposable(j.Out):
		return fault.New(fault.Usage, j.Out, "is not empty and holds no model: will not replace it").
			WithHint("remove it, or name another output")
	}
	return nil
}

// disposable says whether a directory is empty or holds a model, so that a slip of the hand with Force costs no other
// files.
func disposable(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	model := len(entries) == 0
	for _, e := range entries {
		model = model || e.Name() == checkpoint.ModelFile || e.Name() == checkpoint.IndexFile
	}
	return model
}

// sameFile sees through hard links and file systems that ignore case.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
