// Package model loads a decoder from a checkpoint: a table of architectures, each in a folder of its own.
package model

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/model/bind"
	"shira/internal/model/llama"
	"shira/internal/nn"
)

// Decoder is what an architecture provides.
type Decoder interface {
	// Hidden adds the decoder up to its final norm to g.
	Hidden(g *nn.Graph) (*nn.Var, error)
	// Loss adds the decoder and its next-token loss to g.
	Loss(g *nn.Graph) (*nn.Var, error)
}

// Info is what callers need to know of a model besides its weights.
type Info struct {
	Type         string // model_type of config.json
	VocabSize    int
	MaxPositions int
}

// architectures maps model_type to its constructor. Adding one is a folder and a line here.
var architectures = map[string]func(raw []byte, path string, ckpt *checkpoint.Model, b *bind.Binder) (Decoder, Info, error){
	"llama": func(raw []byte, path string, ckpt *checkpoint.Model, b *bind.Binder) (Decoder, Info, error) {
		c := llama.Defaults()
		if err := Decode(raw, path, c); err != nil {
			return nil, Info{}, err
		}
		m, err := llama.New(c, path, ckpt, b)
		return m, Info{VocabSize: c.VocabSize, MaxPositions: c.MaxPositionEmbeddings}, err
	},
}

// Model is a loaded decoder.
type Model struct {
	Decoder
	Info
	Checkpoint *checkpoint.Model
	*bind.Binder
}

// Architectures returns the supported values of model_type, sorted.
func Architectures() []string {
	var names []string
	for n := range architectures {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Load opens the model at path, a Hugging Face directory or a single safetensors file with config.json beside it, to be
// computed in float32. Weights stored in float32 are read in place from the mapped file; others are converted.
func Load(path string) (*Model, error) { return open(path, false) }

// LoadHalf is Load for products in bfloat16: the matrices are held, and where possible read in place, in that type.
func LoadHalf(path string) (*Model, error) { return open(path, true) }

func open(path string, half bool) (*Model, error) {
	ckpt, err := checkpoint.OpenModel(path)
	if err != nil {
		return nil, err
	}
	m, err := load(path, ckpt, half)
	if err != nil {
		return nil, errors.Join(err, ckpt.Close())
	}
	return m, nil
}

// load takes the model of the checkpoint that was opened by the given name.
func load(name string, ckpt *checkpoint.Model, half bool) (*Model, error) {
	path := ckpt.ConfigPath()
	if path == "" {
		return nil, fault.New(fault.Malformed, name, "no config.json beside the weights").
			WithHint("give the model's directory, or put its config.json beside the file")
	}
	raw, err := fsx.ReadFile(path, maxConfig)
	if err != nil {
		return nil, err
	}
	var head struct {
		Type          string   `json:"model_type"`
		Architectures []string `json:"architectures"`
	}
	if err := Decode(raw, path, &head); err != nil {
		return nil, err
	}
	build, ok := architectures[head.Type]
	if !ok {
		return nil, fault.New(fault.Incompatible, path, "model_type %s is not supported; this version reads: %s", fault.Quote(head.Type), strings.Join(Architectures(), ", "))
	}
	m := &Model{Checkpoint: ckpt, Binder: bind.New(ckpt, half)}
	if m.Decoder, m.Info, err = build(raw, path, ckpt, m.Binder); err != nil {
		return nil, err
	}
	m.Type = head.Type
	return m, nil
}

// maxConfig bounds config.json; real ones have a few kilobytes.
const maxConfig = 1 << 20

// Decode reads the raw config.json at path. What it cannot read is a Malformed error in plain words.
func Decode(raw []byte, path string, into any) error {
	err := json.Unmarshal(raw, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what, _, _ := strings.Cut(wrong.Value, " ") // "number 1.5"
		if what == wrong.Value {
			what = "a value of type " + what
		} else {
			what = "the " + wrong.Value
		}
		field := "the whole"
		if wrong.Field != "" {
			field = wrong.Field
		}
		return fault.New(fault.Malformed, path, "%s: want %s, got %s", field, wanted(wrong.Type), what)
	}
	if err != nil {
		return fault.Wrap(fault.Malformed, path, err, "is not JSON")
	}
	return nil
}

// wanted says in plain words which JSON goes into a Go type.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

// Parameters returns the number of parameters, tied weights once.
func (m *Model) Parameters() int64 {
	var n int64
	for _, w := range m.Weights() {
		n += int64(w.Out) * int64(w.In)
	}
	for _, g := range m.Gains() {
		n += int64(len(g.Data))
	}
	return n
}

// NotFinite returns the name of the first weight that holds infinities or NaN, or "".
func (m *Model) NotFinite() string {
	for _, w := range m.Weights() {
		if !w.Finite() {
			return w.Name
		}
	}
	for _, g := range m.Gains() {
		if !g.Finite() {
			return g.Name
		}
	}
	return ""
}

// Linear returns the weight of the given module, or nil. Embeddings and output heads are not linear layers in this sense.
func (m *Model) Linear(module string) *nn.Weight {
	for _, w := range m.Linears() {
		if w.Name == module {
			return w
		}
	}
	return nil
}

// Linears returns the weights of the blocks' linear layers, which adapters may target.
func (m *Model) Linears() []*nn.Weight {
	var ws []*nn.Weight
	for _, w := range m.Weights() {
		if strings.Contains(w.Name, ".layers.") {
			ws = append(ws, w)
		}
	}
	return ws
}

// Close releases the checkpoint. The model's weights must not be used afterwards.
func (m *Model) Close() error { return m.Checkpoint.Close() }
