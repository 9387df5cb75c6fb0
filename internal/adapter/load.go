package adapter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/kernel"
)

// TensorsFile is the name of the safetensors file in a PEFT directory; it stands alone when written here.
const TensorsFile = "adapter_model.safetensors"

// ConfigFile is the name of the configuration beside it.
const ConfigFile = "adapter_config.json"

// maxConfig bounds adapter_config.json, which lists module names at most.
const maxConfig = 4 << 20

// sources are the files that hold the tensors of an adapter's directory, the first that is there.
var sources = []string{TensorsFile, mlxFile, diffusersFile}

const (
	mlxFile       = "adapters.safetensors"
	diffusersFile = "pytorch_lora_weights.safetensors"
	pickleFile    = "adapter_model.bin" // refused
)

// Load reads an adapter: a safetensors file that stands alone, or a directory as PEFT writes it. LoRA and DoRA adapters may
// also be those of MLX, diffusers or kohya's scripts. Where both a directory's adapter_config.json and the safetensors
// file hold a configuration, they must agree.
//
// A file that breaks its format is a Malformed error. One that is well-formed but no adapter of a supported method, or
// whose indices, values or configuration are unusable, is an Incompatible error that lists all it finds. Values are
// rounded to float32.
func Load(path string) (*Adapter, error) { return load(path, false) }

// load is Load, or with keep [Open].
func load(path string, keep bool) (*Adapter, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fsx.Wrap(err, path, "open the adapter")
	}
	file, config := path, ""
	switch base := filepath.Base(path); {
	case info.IsDir():
		if file = sourceIn(path); file == "" {
			return nil, noAdapter(path)
		}
		config = filepath.Join(path, ConfigFile)
	case base == TensorsFile || strings.HasSuffix(base, mlxFile): // MLX numbers those of earlier steps
		config = filepath.Join(filepath.Dir(path), ConfigFile)
	}
	peft, err := readPEFT(config)
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.Open(file)
	if err != nil {
		return nil, err
	}
	a, err := read(path, f, config, peft, keep)
	if err != nil || !keep {
		f.Close()
		return a, err
	}
	a.file = f
	return a, nil
}

// Recognize says whether path is an adapter, or at least looks more like one than like a model: a directory with an
// adapter's files, or a safetensors file whose tensors are named as an adapter's.
func Recognize(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fsx.Wrap(err, path, "open")
	}
	if info.IsDir() {
		for _, name := range append([]string{ConfigFile, pickleFile}, sources...) {
			if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
				return true, nil
			}
		}
		return false, nil
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if layoutOf(f.Tensors()) != nil {
		return true, nil
	}
	return slices.ContainsFunc(f.Tensors(), func(t checkpoint.Tensor) bool {
		return mlx.factor(t.Name) || strings.HasPrefix(t.Name, keyPrefix)
	}), nil
}

// sourceIn returns the file of an adapter's tensors in dir, "" when there is none.
func sourceIn(dir string) string {
	for _, name := range sources {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// readPEFT reads the adapter_config.json at path, and returns nil when there is none.
func readPEFT(path string) (*peftConfig, error) {
	if path == "" {
		return nil, nil
	}
	data, err := fsx.ReadFile(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := decodePEFT(path, data)
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// read makes an adapter of an open file and the configuration beside it, if any.
func read(path string, f *checkpoint.File, configPath string, peft *peftConfig, keep bool) (*Adapter, error) {
	a := &Adapter{Path: path}
	if keep {
		f.Share()
	}
	var m *Method
	var known shapes
	text, standsAlone := f.Metadata()[metadataKey]
	switch {
	case standsAlone:
		if a.Format = "shira"; peft != nil {
			a.Format = "PEFT"
		}
		var err error
		if a.Config, known, err = decodeMetadata(f.Path(), text); err != nil {
			return nil, err
		}
		if m, err = methodByName(f.Path(), a.Config.Method); err != nil {
			return nil, err
		}
		if err := m.dialect.check(&a.Config); err != nil {
			return nil, fault.Wrap(fault.Malformed, f.Path(), err, "metadata %q", metadataKey)
		}
	case peft != nil && peft.mlx != nil:
		a.Config = peft.Config
		return (&foreign{&mlx, f, peft.mlx}).read(a)
	case peft != nil:
		a.Format = "PEFT"
		if m = peft.method; m == nil || !m.owns(f.Tensors()) {
			if err := mismatch(configPath, peft, f.Tensors()); err != nil {
				return nil, err
			}
		}
		a.Config = peft.Config
	case layoutOf(f.Tensors()) != nil:
		return (&foreign{layoutOf(f.Tensors()), f, nil}).read(a)
	default:
		return nil, fault.New(fault.Incompatible, path, "no configuration: neither metadata %q in the file nor %s beside it",
			metadataKey, ConfigFile).WithHint("give the directory that holds both the tensors and %s", ConfigFile)
	}

	a.Form = formOf(f.Tensors())
	if a.Form.Compact = m.compact(f.Tensors()); a.Form.Compact {
		a.Format = "compact"
	}
	if keep {
		a.owner = m
	}
	var p problems
	a.Deltas = m.readAll(f.Tensors(), &a.Config, known, &p)
	if err := p.err(path, "the adapter is not usable"); err != nil {
		return nil, err
	}
	if standsAlone && peft != nil {
		peft.disagreements(a, m, &p)
		if err := p.err(configPath, "contradicts "+TensorsFile); err != nil {
			return nil, err
		}
	}
	if len(a.Config.TargetModules) == 0 { // a pattern, or PEFT's default for the architecture
		for _, d := range a.Deltas {
			a.Config.TargetModules = append(a.Config.TargetModules, d.Module())
		}
	}
	return a, nil
}

// readAll returns the deltas of all tensors, sorted by module.
func (m *Method) readAll(tensors []checkpoint.Tensor, c *Config, known shapes, p *problems) []Delta {
	parts := map[string]map[string]checkpoint.Tensor{}
	for _, t := range tensors {
		module, suffix, ok := m.splitKey(t.Name)
		if !ok {
			module, ok = c.whole(t.Name)
			suffix = wholeWeight
		}
		if !ok {
			p.Add("%s is no tensor of a %s adapter", fault.Quote(t.Name), m.Name)
			continue
		}
		if parts[module] == nil {
			parts[module] = map[string]checkpoint.Tensor{}
		}
		parts[module][suffix] = t
	}
	if len(parts) == 0 {
		p.Add("it holds no tensors of a %s adapter", m.Name)
	}
	modules := make([]string, 0, len(parts))
	for module := range parts {
		modules = append(modules, module)
	}
	slices.Sort(modules)
	deltas := make([]Delta, len(modules))
	found := make([]problems, len(modules))
	kernel.Parallel(len(modules), func(i int) {
		deltas[i] = m.readModule(modules[i], parts[modules[i]], c, known, &found[i])
	})
	for i := range found {
		p.append(&found[i])
	}
	for _, module := range known.without(parts) {
		p.Add("%s: the file's configuration has its shape, but there are no tensors", fault.Quote(module))
	}
	return slices.DeleteFunc(deltas, func(d Delta) bool { return d == nil })
}

// readModule reads the delta of one module, nil where there are problems, and lets go of its tensors.
func (m *Method) readModule(module string, parts map[string]checkpoint.Tensor, c *Config, known shapes, p *problems) Delta {
	defer func() {
		for _, t := range parts {
			t.Release()
		}
	}()
	whole, isWhole := parts[wholeWeight]
	if _, ok := known[module]; !ok && len(known) > 0 && !isWhole {
		p.Add("%s: the file's configuration does not say its shape", fault.Quote(module))
		return nil
	}
	if !isWhole {
		return m.read(module, parts, c, known, p)
	}
	if len(parts) > 1 {
		defer p.Add("%s: was trained whole, but has tensors of a %s adapter too", fault.Quote(module), m.Name)
	}
	return readWhole(module, whole, p)
}

// without returns the modules of known that have no tensors, sorted.
func (known shapes) without(parts map[string]map[string]checkpoint.Tensor) []string {
	var missing []string
	for module := range known {
		if parts[module] == nil {
			missing = append(missing, module)
		}
	}
	slices.Sort(missing)
	return missing
}

// mismatch explains a peft_type that has no method, or tensors that are those of another. It returns nil for a type that is
// supported and tensors that are of no method at all.
func mismatch(path string, peft *peftConfig, tensors []checkpoint.Tensor) error {
	for i := range methods {
		if methods[i].owns(tensors) {
			return fault.New(fault.Incompatible, path, "peft_type is %s, but the tensors are those of method %s",
				fault.Quote(peft.Type), methods[i].Name)
		}
	}
	if peft.method != nil {
		return nil
	}
	return fault.New(fault.Incompatible, path, "adapters of peft_type %s are not supported", fault.Quote(peft.Type)).
		WithHint("the methods of this version: %s", supported())
}

// noAdapter explains a directory without adapter_model.safetensors.
func noAdapter(dir string) error {
	e := fault.New(fault.Incompatible, dir, "is no adapter: it has no %s", TensorsFile)
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has(pickleFile):
		e.Kind = fault.Malformed // as every pickle is
		e.Hint = "adapter_model.bin is a pickle, which can run code when read: save it again with safe_serialization=True in PEFT"
	case has("config.json"):
		e.Hint = "config.json is that of a model: the base comes first, then the adapters"
	default:
		if c := lastCheckpoint(dir); c != "" {
			e.Hint = "it holds a run that has not ended, of which the last checkpoint is an adapter as well: " + c
		}
	}
	return e
}

// lastCheckpoint returns the directory of the last checkpoint of a run in dir that holds an adapter, or "".
func lastCheckpoint(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	last, step := "", 0
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), "checkpoint-")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n <= step {
			continue
		}
		c := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(c, TensorsFile)); err == nil {
			last, step = c, n
		}
	}
	return last
}
