package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fsx"
	"shira/internal/model"
	"shira/internal/switcher"
)

// modelObject is the JSON of an inspected model. Fields are only ever added.
type modelObject struct {
	Kind         string            `json:"kind"` // "model"
	Path         string            `json:"path"`
	Architecture string            `json:"architecture"` // model_type of config.json; "" without one
	Layers       int               `json:"layers"`
	Hidden       int               `json:"hidden_size"`
	Vocabulary   int               `json:"vocab_size"`
	Parameters   int64             `json:"parameters"`
	Bytes        int64             `json:"bytes"` // of all tensors
	DTypes       map[string]int64  `json:"dtypes"`
	Fingerprint  string            `json:"fingerprint"`
	Metadata     map[string]string `json:"metadata"`
	Files        []string          `json:"files"`
	Tensors      []tensorObject    `json:"tensors"`

	Applied []switcher.Applied `json:"applied"`          // the adapters that `shira switch` has put into the weights
	Base    string             `json:"base_fingerprint"` // of the model without them; "" where there are none
}

// tensorObject is one tensor of a model.
type tensorObject struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
}

// maxMetadata is how much of a value of the metadata is printed.
const maxMetadata = 80

// maxListed is how many tensors or modules are printed without --all.
const maxListed = 20

func inspectModel(a *app, o inspectOptions) error {
	m, err := checkpoint.OpenModel(o.path)
	if err != nil {
		return err
	}
	defer m.Close()
	object, err := describeModel(m, o.path)
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(object)
	}
	a.printModel(object, o.all)
	return nil
}

func describeModel(m *checkpoint.Model, path string) (*modelObject, error) {
	object := &modelObject{
		Kind: "model", Path: path, Bytes: m.Size(), DTypes: map[string]int64{}, Metadata: map[string]string{}, Tensors: []tensorObject{},
	}
	for _, file := range m.Shards() {
		object.Files = append(object.Files, filepath.Base(file))
	}
	for _, f := range m.Files() {
		maps.Copy(object.Metadata, f.Metadata())
	}
	for _, t := range m.Tensors() {
		object.Parameters += int64(t.Len())
		object.DTypes[t.DType.String()] += int64(t.Len())
		dims := t.Shape
		if dims == nil {
			dims = []int{}
		}
		object.Tensors = append(object.Tensors, tensorObject{t.Name, t.DType.String(), dims, t.Size()})
	}
	if err := object.readConfig(m.ConfigPath()); err != nil {
		return nil, err
	}
	st, err := switcher.Status(path)
	if err != nil {
		return nil, err
	}
	object.Applied, object.Base = st.Applied, st.Base
	object.Fingerprint, err = m.Fingerprint()
	return object, err
}

// readConfig takes what people ask for first from config.json, where there is one. The model may be of any architecture.
func (o *modelObject) readConfig(path string) error {
	if path == "" {
		return nil
	}
	data, err := fsx.ReadFile(path, maxConfig)
	if err != nil {
		return err
	}
	var c struct {
		Type       string `json:"model_type"`
		Layers     int    `json:"num_hidden_layers"`
		Hidden     int    `json:"hidden_size"`
		Vocabulary int    `json:"vocab_size"`
	}
	if err := model.Decode(data, path, &c); err != nil {
		return err
	}
	o.Architecture, o.Layers, o.Hidden, o.Vocabulary = c.Type, c.Layers, c.Hidden, c.Vocabulary
	return nil
}

func (a *app) printModel(o *modelObject, all bool) {
	var types []string
	for _, name := range slices.Sorted(maps.Keys(o.DTypes)) {
		types = append(types, fmt.Sprintf("%s (%s)", name, share(o.DTypes[name], o.Parameters)))
	}
	architecture := o.Architecture
	if architecture != "" {
		architecture += fmt.Sprintf(": %d layers, hidden size %s, vocabulary %s", o.Layers, commas(int64(o.Hidden)), commas(int64(o.Vocabulary)))
	}
	applied := ""
	if len(o.Applied) > 0 {
		applied = appliedText(o.Applied)
	}
	files := plural(len(o.Files), "file")
	if len(o.Files) == 1 {
		files = o.Files[0]
	}
	fields(a.stdout,
		[2]string{"model", o.Path},
		[2]string{"architecture", architecture},
		[2]string{"parameters", commas(o.Parameters)},
		[2]string{"types", strings.Join(types, ", ")},
		[2]string{"size", byteSize(o.Bytes) + " in " + files},
		[2]string{"fingerprint", o.Fingerprint},
		[2]string{"applied", applied},
		[2]string{"base", o.Base})
	for _, key := range slices.Sorted(maps.Keys(o.Metadata)) {
		value := []rune(o.Metadata[key])
		if len(value) > maxMetadata {
			value = append(value[:maxMetadata], '…')
		}
		fmt.Fprintf(a.stdout, "metadata      %s: %s\n", oneLine(key), oneLine(string(value)))
	}
	t := newTable("<tensor", "<type", "shape", "size")
	for i, tensor := range o.Tensors {
		if !all && i == maxListed {
			break
		}
		t.add(tensor.Name, tensor.DType, shape(tensor.Shape), byteSize(tensor.Bytes))
	}
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
	a.printMore(len(o.Tensors), all)
}

// printMore says how many entries of a list of n were left out.
func (a *app) printMore(n int, all bool) {
	if !all && n > maxListed {
		fmt.Fprintf(a.stdout, "  … and %s more (--all)\n", commas(int64(n-maxListed)))
	}
}
