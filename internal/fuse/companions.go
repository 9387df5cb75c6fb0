package fuse

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// maxCompanion is the largest file that is copied beside the weights; tokenizers take some tens of MB.
const maxCompanion = 256 << 20

// leftOutNames are files that belong to a base, but not to what is fused from it.
var leftOutNames = []string{
	"adapter_config.json", // would make the directory an adapter
	"optimizer.pt", "scheduler.pt", "trainer_state.json", "training_args.bin",
}

// leftOutExtensions are weights in other formats, which would still be those of the base, and pickles.
var leftOutExtensions = []string{
	".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".onnx", ".gguf", ".npz", ".tflite",
}

// companions returns the files of the base's directory that the output gets too, beside the weights, and the entries that
// it does not get.
func (j *job) companions() (copied, leftOut []string) {
	if !j.isDir {
		return nil, nil
	}
	entries, err := os.ReadDir(j.Base)
	if err != nil {
		return nil, nil
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case j.isShard(name):
		case j.belongs(name):
			copied = append(copied, name)
		default:
			leftOut = append(leftOut, name)
		}
	}
	return copied, leftOut
}

func (j *job) isShard(name string) bool {
	return slices.ContainsFunc(j.model.Files(), func(f *checkpoint.File) bool { return filepath.Base(f.Path()) == name })
}

// belongs says whether an entry of the base's directory goes with the weights: configuration, tokenizer, code, licence.
func (j *job) belongs(name string) bool {
	info, err := os.Stat(filepath.Join(j.Base, name))
	lower := strings.ToLower(name)
	switch {
	case err != nil || !info.Mode().IsRegular() || info.Size() > maxCompanion:
		return false
	case strings.HasPrefix(name, "."), slices.Contains(leftOutNames, lower):
		return false
	case strings.HasSuffix(lower, ".index.json"): // of the weights; that of another format goes with it
		return name == checkpoint.IndexFile
	}
	return !slices.Contains(leftOutExtensions, filepath.Ext(lower))
}

// leftOut returns what the output lacks of the base's directory, never nil.
func (j *job) leftOut() []string {
	_, names := j.companions()
	return append([]string{}, names...)
}

// copyCompanions copies the files that go with the weights into dir.
func (j *job) copyCompanions(ctx context.Context, dir string) error {
	names, _ := j.companions()
	for _, name := range names {
		if err := interrupted(ctx, j.Out); err != nil {
			return err
		}
		if err := j.copyFile(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) copyFile(name, dst string) error {
	src := filepath.Join(j.Base, name)
	if err := j.checkLink(src); err != nil {
		return err
	}
	in, err := fsx.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	return fsx.WriteFile(dst, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return fsx.Wrap(err, src, "copy")
	})
}

// checkLink refuses a symbolic link that leaves the base's directory, as a directory from elsewhere must not reach other
// files. Links of a hub cache, …/snapshots/<revision>/<name> → ../../blobs/<hash>, may.
func (j *job) checkLink(path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	target, err := resolve(path)
	if err != nil {
		return fsx.Wrap(err, path, "open")
	}
	base, err := resolve(j.Base)
	if err != nil {
		return fsx.Wrap(err, j.Base, "open")
	}
	snapshots := filepath.Dir(base)
	blobs := filepath.Join(filepath.Dir(snapshots), "blobs")
	if within(target, base) || filepath.Base(snapshots) == "snapshots" && within(target, blobs) {
		return nil
	}
	return fault.New(fault.Malformed, path, "is a symbolic link out of the model's directory").
		WithHint("replace it by a copy of the file")
}
