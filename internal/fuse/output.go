package fuse

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

// isDir says whether an input, called what in messages, is a directory.
func isDir(path, what string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fsx.Wrap(err, path, "open the "+what)
	}
	return info.IsDir(), nil
}

// Place sets Out to where the fusion goes. All inputs that are missing are one Environment error.
func (o *Options) Place() error {
	dir, err := isDir(o.Base, "base")
	from, errs := o.Base, []error{err}
	for i, source := range o.Adapters {
		adapterIsDir, err := isDir(source.Path, "adapter")
		errs = append(errs, err)
		if i == 0 && o.AdapterOnly {
			from, dir = source.Path, adapterIsDir
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if o.Out == "" {
		o.Out = DefaultOut(from, dir)
	}
	o.Out = filepath.Clean(o.Out)
	return nil
}

// Makes says whether a path is that of the output, or of a file that the fusion puts into an output that is a directory. Out must
// be placed.
func (o *Options) Makes(path string) bool {
	out, err := fsx.Resolve(o.Out)
	if err != nil {
		return false // who writes it says so
	}
	dir, name := filepath.Split(filepath.Clean(path))
	if dir, err = fsx.Resolve(filepath.Join(dir, ".")); err != nil {
		return false
	}
	if filepath.Join(dir, name) == out || sameFile(path, o.Out) {
		return true
	}
	if dir != out {
		return false
	}
	if o.AdapterOnly {
		return name == adapter.TensorsFile || name == adapter.ConfigFile
	}
	_, err = os.Lstat(filepath.Join(o.Base, name)) // what is not copied is no name to give either
	return err == nil
}

// checkOutput refuses an output that would harm what is there, which is then not switched until close.
func (j *job) checkOutput() (err error) {
	if !j.DryRun {
		if j.letGo, err = checkpoint.Reserve(j.Out); err != nil {
			return err
		}
	}
	if j.AdapterOnly {
		return j.checkAdapterOutput()
	}
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
		if j.isDir && isFileName(j.Out) {
			return fault.New(fault.Usage, j.Out, "is the name of a file, but the base is a directory, and so is the output").
				WithHint("name a directory, or give the base as a single file")
		}
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
