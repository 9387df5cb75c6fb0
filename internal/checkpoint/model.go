package checkpoint

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// The files of a Hugging Face model directory.
const (
	ModelFile  = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"
	ConfigFile = "config.json"
)

// StagedName is the directory in a model's that holds a new model, whole, until its files replace the old one's.
const StagedName = "model.new"

// Model is an open model: the tensors of one safetensors file or of all shards. It does not change after OpenModel, and
// may be used from several goroutines; Close must come after all uses.
type Model struct {
	dir   string
	files []*File          // sorted by name
	where map[string]*File // by tensor name
}

// OpenModel opens a safetensors file of any name, or a Hugging Face directory: model.safetensors, or the shards of
// model.safetensors.index.json.
//
// The files of a directory may be symbolic links within it, or within its repository where it is a snapshot of a hub
// cache (…/snapshots/<revision>/model.safetensors → ../../blobs/<hash>); a link to anywhere else is refused, since a
// directory from elsewhere must not reach other files. The index names plain files only. The shards must hold exactly the
// tensors of the index, and no shard beside them may be left out: a model is read whole or not at all.
//
// What breaks these rules or the format is a [fault.Malformed], an adapter's directory a [fault.Incompatible], a missing
// or unreadable file a [fault.Environment]; a model that a switch left between two states is a [fault.Unrecoverable], and one
// that is being switched a [fault.Locked]. While a model is open it is not switched.
func OpenModel(path string) (*Model, error) {
	m, err := openModel(path, true)
	if err != nil {
		return nil, err
	}
	if err := checkWhole(path); err != nil { // now, when no switch can begin any more
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// OpenToSwitch is OpenModel for a process that has locked the model's files to change them.
func OpenToSwitch(path string) (*Model, error) { return openModel(path, false) }

func openModel(path string, share bool) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fsx.Wrap(err, path, "open")
	}
	if !info.IsDir() {
		f, err := fsx.Open(path)
		if err != nil {
			return nil, err
		}
		file, err := newFile(f, path, share)
		if err != nil {
			return nil, err
		}
		return newModel(filepath.Dir(path), []*File{file}), nil
	}
	d, err := openDir(path, share)
	if err != nil {
		return nil, err
	}
	defer d.close()
	files, err := d.weights()
	if err != nil {
		return nil, err
	}
	return newModel(path, files), nil
}

func newModel(dir string, files []*File) *Model {
	m := &Model{dir: dir, files: files, where: map[string]*File{}}
	for _, f := range files {
		for _, t := range f.header.tensors {
			m.where[t.Name] = f
		}
	}
	return m
}

// Dir returns the model's directory; for a single file that which holds it.
func (m *Model) Dir() string { return m.dir }

// ConfigPath returns the path of config.json in Dir, or "" when there is none.
func (m *Model) ConfigPath() string {
	path := filepath.Join(m.dir, ConfigFile)
	if _, err := os.Lstat(path); err != nil {
		return ""
	}
	return path
}

// Files returns the model's files, sorted by name.
func (m *Model) Files() []*File { return slices.Clone(m.files) }

// Shards returns the paths of the model's files, sorted by name: one for a model that is not sharded.
func (m *Model) Shards() []string {
	paths := make([]string, len(m.files))
	for i, f := range m.files {
		paths[i] = f.path
	}
	return paths
}

// Names returns the names of all tensors, sorted.
func (m *Model) Names() []string { return slices.Sorted(maps.Keys(m.where)) }

// Tensors returns all tensors, file by file in the order of their data, which is the order to read them in.
func (m *Model) Tensors() []Tensor {
	all := make([]Tensor, 0, len(m.where))
	for _, f := range m.files {
		all = append(all, f.header.tensors...)
	}
	return all
}

// Lookup returns the tensor of that name.
func (m *Model) Lookup(name string) (Tensor, bool) {
	f, ok := m.where[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Lookup(name)
}

// Size returns the bytes of all tensors.
func (m *Model) Size() int64 {
	var n int64
	for _, f := range m.files {
		n += f.size - f.dataStart
	}
	return n
}

// Close closes all files. Views of their data must not be touched afterwards.
func (m *Model) Close() error { return closeAll(m.files) }

func closeAll(files []*File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// errNoWeights explains a directory without a model by what it holds instead.
func (d *modelDir) errNoWeights() error {
	if d.has(filepath.Join(StagedName, ModelFile)) {
		return fault.New(fault.Malformed, d.path, "holds no weights: the run that was to replace them did not end").
			WithHint("move the files of %s into %s: they make the new model whole, and the next run there does it too", filepath.Join(d.path, StagedName), d.path)
	}
	for _, name := range []string{"adapter_model.safetensors", "adapters.safetensors", "adapter_model.bin", "adapter_config.json"} {
		if d.has(name) {
			return fault.New(fault.Incompatible, d.path, "holds an adapter (%s), not a model", name).
				WithHint("name the base model here, and this directory as the adapter")
		}
	}
	for _, name := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"} {
		if d.has(name) {
			return fault.New(fault.Malformed, d.path, "holds %s, but no safetensors weights", name).WithHint(convertHint)
		}
	}
	if shards := d.shardFiles(); len(shards) > 0 {
		return fault.New(fault.Malformed, d.path, "holds shards (%s), but no %s", fault.Quote(shards[0]), IndexFile).
			WithHint("fetch the index from where the model came from")
	}
	return fault.New(fault.Malformed, d.path, "holds neither %s nor %s", ModelFile, IndexFile).
		WithHint("a file of another name can be given itself, instead of its directory")
}
