package checkpoint

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"shira/internal/fsx"
)

// maxCompanion is the largest file that is copied beside weights; tokenizers take some tens of MB.
const maxCompanion = 256 << 20

// companionExtensions are those of what goes with weights: configuration, tokenizer, chat template, model card, code. Weights
// in other formats would still be those of the old model, and what else lies in a directory is not for publishing.
var companionExtensions = []string{".json", ".model", ".txt", ".jinja", ".tiktoken", ".md", ".py"}

// companionNames begin the names of further files that do.
var companionNames = []string{"LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"}

// leftOutNames are files of those extensions that describe something else: an adapter, or the state of a training run.
var leftOutNames = []string{"adapter_config.json", "trainer_state.json", "all_results.json", "train_results.json", "eval_results.json"}

// Companions returns the names of the files in Dir that go with weights made from these (configuration, tokenizer, code,
// licence, and the index of a model in shards) and of the entries that do not, both sorted. The model's own files are
// neither.
func (m *Model) Companions() (names, leftOut []string) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, nil
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case slices.ContainsFunc(m.files, func(f *File) bool { return filepath.Base(f.path) == name }):
		case strings.HasSuffix(name, stateName): // what switches keep belongs to these very files
		case belongs(m.dir, name):
			names = append(names, name)
		default:
			leftOut = append(leftOut, name)
		}
	}
	return names, leftOut
}

func belongs(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	lower := strings.ToLower(name)
	switch {
	case err != nil || !info.Mode().IsRegular() || info.Size() > maxCompanion:
		return false
	case strings.HasPrefix(name, "."), slices.Contains(leftOutNames, lower):
		return false
	case strings.HasSuffix(lower, ".index.json"): // of the weights; that of another format goes with it
		return name == IndexFile
	}
	return slices.Contains(companionExtensions, filepath.Ext(lower)) ||
		slices.ContainsFunc(companionNames, func(prefix string) bool { return strings.HasPrefix(strings.ToUpper(name), prefix) })
}

// CopyCompanion writes a copy of one of the Companions to dst, durably. A symbolic link that leaves Dir is Malformed.
func (m *Model) CopyCompanion(name, dst string) error {
	src := filepath.Join(m.dir, name)
	if err := m.checkLink(src); err != nil {
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

// checkLink refuses a symbolic link that leaves the model's directory, as a directory from elsewhere must not reach other
// files. Links of a hub cache, …/snapshots/<revision>/<name> → ../../blobs/<hash>, may.
func (m *Model) checkLink(path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	target, err := fsx.Resolve(path)
	if err != nil {
		return fsx.Wrap(err, path, "open")
	}
	base, err := fsx.Resolve(m.dir)
	if err != nil {
		return fsx.Wrap(err, m.dir, "open")
	}
	snapshots := filepath.Dir(base)
	blobs := filepath.Join(filepath.Dir(snapshots), "blobs")
	if fsx.Within(target, base) || filepath.Base(snapshots) == "snapshots" && fsx.Within(target, blobs) {
		return nil
	}
	return fsx.ErrLink(path)
}
