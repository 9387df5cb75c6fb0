package fuse

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/adapter"
	"shira/internal/adapter/mask"
	"shira/internal/checkpoint"
)

// world is a small base in a directory of its own.
type world struct {
	t    *testing.T
	dir  string
	base string // a single file
}

var modules = []string{"model.layers.0.q_proj", "model.layers.1.q_proj"}

const worldOut, worldIn = 24, 37

// newWorld writes a base of two weights and two other tensors.
func newWorld(t *testing.T, dtype checkpoint.DType) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.base = w.path("base.st")
	must(t, checkpoint.Write(w.base, worldEntries(dtype), map[string]string{"format": "pt"}))
	return w
}

func worldEntries(dtype checkpoint.DType) []checkpoint.Entry {
	g := rand.New(rand.NewPCG(11, 12))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(g.NormFloat64())
		}
		return v
	}
	entries := []checkpoint.Entry{checkpoint.Float32Entry("model.norm.weight", dtype, []int{5}, values(5))}
	for _, m := range modules {
		entries = append(entries, checkpoint.Float32Entry(m+".weight", dtype, []int{worldOut, worldIn}, values(worldOut*worldIn)))
	}
	return append(entries, checkpoint.Float32Entry("odd", dtype, []int{3}, values(3)))
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// adapter writes an adapter over both modules, k random entries each, normal values of the given size.
func (w *world) adapter(name string, seed uint64, k int, size float64) *adapter.Adapter {
	w.t.Helper()
	s, err := mask.Lookup("rand")
	must(w.t, err)
	g := rand.New(rand.NewPCG(seed, 5))
	a := &adapter.Adapter{Path: w.path(name), Config: adapter.Config{Method: "shira", Mask: "rand", TargetModules: []string{"q_proj"}}}
	for _, m := range modules {
		flat, err := s.Select(mask.Request{Name: m, Out: worldOut, In: worldIn, K: k, Seed: seed})
		must(w.t, err)
		d := adapter.NewSparse(m, worldOut, worldIn, flat)
		for i := range d.Values {
			d.Values[i] = float32(size * g.NormFloat64())
		}
		a.Deltas = append(a.Deltas, d)
	}
	must(w.t, a.SaveFile(a.Path))
	return a
}

// exact writes an adapter over the first module with the given values and returns its path.
func (w *world) exact(name string, values map[int]float32) string {
	w.t.Helper()
	var flat []int64
	for _, i := range slices.Sorted(maps.Keys(values)) {
		flat = append(flat, int64(i))
	}
	d := adapter.NewSparse(modules[0], worldOut, worldIn, flat)
	for k, i := range flat {
		d.Values[k] = values[int(i)]
	}
	a := &adapter.Adapter{Config: adapter.Config{Method: "shira", TargetModules: []string{"q_proj"}}, Deltas: []adapter.Delta{d}}
	must(w.t, a.SaveFile(w.path(name)))
	return w.path(name)
}

// reference returns the summed weighted deltas of one tensor, by flat index. With two adapters the order of the float64
// sum cannot matter.
func (w *world) reference(name string, adapters []*adapter.Adapter, refs []Source, dtype checkpoint.DType) map[int]float64 {
	sums := map[int]float64{}
	for i, a := range adapters {
		weight := refs[i].Weight
		if dtype != checkpoint.F64 {
			weight = float64(float32(weight))
		}
		for _, d := range a.Deltas {
			s := d.(*adapter.Sparse)
			if s.Name+".weight" != name {
				continue
			}
			for k, v := range s.Values {
				product := weight * float64(v)
				sums[int(s.RowIdx[k])*worldIn+int(s.ColIdx[k])] += product
			}
		}
	}
	return sums
}

// read returns the bytes of all tensors of a model.
func read(t *testing.T, path string) map[string][]byte {
	t.Helper()
	data := map[string][]byte{}
	for _, tensor := range open(t, path).Tensors() {
		data[tensor.Name] = bytes.Clone(tensor.Data())
	}
	return data
}

func open(t *testing.T, path string) *checkpoint.Model {
	t.Helper()
	m, err := checkpoint.OpenModel(path)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// snapshot returns the content of every file below dir.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			files[path] = "directory"
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
