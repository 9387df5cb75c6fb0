package checkpoint

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// modelDir opens the files of a model directory, following symbolic links only as far as they may lead.
type modelDir struct {
	path string   // as given
	root *os.Root // what links may not leave
	rel  string   // the directory in root

	share bool // see newFile
}

func openDir(path string, share bool) (*modelDir, error) {
	dir, err := filepath.Abs(path)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fsx.Wrap(err, path, "open")
	}
	top := hubRepository(dir)
	if top == "" {
		top = dir
	}
	rel, err := filepath.Rel(top, dir)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, path, err, "cannot resolve")
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, fsx.Wrap(err, path, "open")
	}
	return &modelDir{path: path, root: root, rel: rel, share: share}, nil
}

// hubRepository returns the directory R of a hub cache for dir = R/snapshots/<revision>[/…], where R/blobs exists too.
// The files of a snapshot are links into R/blobs. It returns "" for any other directory.
func hubRepository(dir string) string {
	for {
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		if filepath.Base(parent) == "snapshots" {
			repo := filepath.Dir(parent)
			if info, err := os.Lstat(filepath.Join(repo, "blobs")); err == nil && info.IsDir() {
				return repo
			}
		}
		dir = parent
	}
}

func (d *modelDir) close() { d.root.Close() }

// has says whether the directory has an entry of that name, of any kind.
func (d *modelDir) has(name string) bool {
	_, err := d.root.Lstat(filepath.Join(d.rel, name))
	return err == nil
}

func (d *modelDir) open(name string) (*os.File, error) {
	return fsx.OpenIn(d.root, filepath.Join(d.rel, name), filepath.Join(d.path, name))
}

// weights opens the files that make up the model, sorted by name.
func (d *modelDir) weights() ([]*File, error) {
	single, index := d.has(ModelFile), d.has(IndexFile)
	var files []*File
	var err error
	switch {
	case single && index:
		return nil, fault.New(fault.Malformed, d.path, "holds both %s and %s", ModelFile, IndexFile).
			WithHint("remove the one that is out of date, or give the path of %s itself", ModelFile)
	case single:
		files, err = d.openFiles([]string{ModelFile})
	case index:
		files, err = d.openShards()
	default:
		return nil, d.errNoWeights()
	}
	if err != nil {
		return nil, err
	}
	if err := d.checkStray(files); err != nil {
		return nil, errors.Join(err, closeAll(files))
	}
	return files, nil
}

// openFiles opens the named files, or none.
func (d *modelDir) openFiles(names []string) ([]*File, error) {
	files := make([]*File, 0, len(names))
	for _, name := range names {
		f, err := d.open(name)
		if err == nil {
			var file *File
			if file, err = newFile(f, filepath.Join(d.path, name), d.share); err == nil {
				files = append(files, file)
				continue
			}
		}
		return nil, errors.Join(err, closeAll(files))
	}
	return files, nil
}

// openShards opens the shards of the index and checks them against it.
func (d *modelDir) openShards() ([]*File, error) {
	path := filepath.Join(d.path, IndexFile)
	f, err := d.open(IndexFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := fsx.ReadAll(f, path, maxIndex)
	if err != nil {
		return nil, err
	}
	weights, err := parseIndex(b)
	if err != nil {
		return nil, malformed(path, b, "%v", err)
	}
	names := slices.Compact(slices.Sorted(maps.Values(weights)))
	var missing fault.Problems
	for _, name := range names {
		if !d.has(name) {
			missing.Add("shard %s is missing", fault.Quote(name))
		}
	}
	if err := missing.Err(fault.Malformed, path, ""); err != nil {
		return nil, err
	}
	files, err := d.openFiles(names)
	if err != nil {
		return nil, err
	}
	shards := make(map[string]*File, len(names))
	for i, name := range names {
		shards[name] = files[i]
	}
	if err := checkShards(path, weights, shards); err != nil {
		return nil, errors.Join(err, closeAll(files))
	}
	return files, nil
}

// shardName matches the files that sharded saving leaves.
var shardName = regexp.MustCompile(`^model-\d+-of-\d+\.safetensors$`)

// shardFiles returns the names of the directory that look like shards, sorted.
func (d *modelDir) shardFiles() []string {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if shardName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// checkStray refuses shards that belong to no index: they are what an interrupted or older save left, and it is not for
// this program to guess which model was meant.
func (d *modelDir) checkStray(files []*File) error {
	known := map[string]bool{}
	for _, f := range files {
		known[filepath.Base(f.path)] = true
	}
	var stray fault.Problems
	for _, name := range d.shardFiles() {
		if !known[name] {
			stray.Add("shard %s does not belong to the model", fault.Quote(name))
		}
	}
	return stray.Err(fault.Malformed, d.path, "")
}
