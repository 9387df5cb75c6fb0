package switcher

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"shira/internal/fsx"
	"shira/internal/fsx/crashfs"
)

// toy is a model of two files with three tensors, and changes of it, in a file system that can crash.
type toy struct {
	tensors []tensor
	base    map[string][]byte // by file
	changes []*toyChange      // [0] is none
	workers int               // of a store
}

// toyChange makes each of its entries the base's, with some bits turned over.
type toyChange struct {
	name    string
	dense   map[string]byte           // by tensor: what all of its bytes are turned over by
	sparse  map[string]map[int64]byte // by tensor and element
	targets []tensor
}

const toyBlock = 6

func newToy(rng *rand.Rand) *toy {
	w := &toy{base: map[string][]byte{}, workers: 1, tensors: []tensor{
		{Name: "a", File: 0, DType: "BF16", Offset: 16, Rows: 5, Cols: 3},
		{Name: "b", File: 0, DType: "F32", Offset: 46, Rows: 2, Cols: 4},
		{Name: "c", File: 1, DType: "F16", Offset: 16, Rows: 3, Cols: 7},
	}}
	for i := range w.tensors {
		w.tensors[i].size = sizeOf(w.tensors[i].DType)
	}
	for name, size := range map[string]int{"one.safetensors": 46 + 32 + 5, "two.safetensors": 16 + 42} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		binary.LittleEndian.PutUint64(b, 8)
		w.base[name] = b
	}
	w.changes = []*toyChange{{}}
	for i := range 3 {
		w.changes = append(w.changes, w.newChange(rng, fmt.Sprint("change ", i+1)))
	}
	return w
}

func (w *toy) newChange(rng *rand.Rand, name string) *toyChange {
	c := &toyChange{name: name, dense: map[string]byte{}, sparse: map[string]map[int64]byte{}}
	for _, t := range w.tensors {
		bits := byte(1 + rng.IntN(255))
		switch rng.IntN(4) {
		case 0: // not touched
			continue
		case 1:
			c.dense[t.Name] = bits
		default:
			c.sparse[t.Name] = map[int64]byte{}
			for range 1 + rng.IntN(5) {
				c.sparse[t.Name][rng.Int64N(t.len())] = byte(1 + rng.IntN(255))
			}
		}
		c.targets = append(c.targets, t)
	}
	return c
}

func (c *toyChange) entries(t *tensor, first int64, n int, dst []uint32) (list []uint32, all bool) {
	if _, ok := c.dense[t.Name]; ok {
		return nil, true
	}
	for i := range n {
		if _, ok := c.sparse[t.Name][first+int64(i)]; ok {
			dst = append(dst, uint32(i))
		}
	}
	return dst, false
}

func (c *toyChange) values(t *tensor, first int64, list []uint32, all bool, base, dst []byte) ([]byte, error) {
	dst = append(dst[:0], base...)
	for k := range dst {
		if all {
			dst[k] ^= c.dense[t.Name]
		} else {
			dst[k] ^= c.sparse[t.Name][first+int64(list[k/t.size])]
		}
	}
	return dst, nil
}

// state returns the content of a file in the state of change i.
func (w *toy) state(i int, name string) []byte {
	b := bytes.Clone(w.base[name])
	for _, t := range w.tensors {
		if []string{"one.safetensors", "two.safetensors"}[t.File] != name {
			continue
		}
		data := b[t.Offset:][:t.len()*int64(t.size)]
		c := w.changes[i]
		list, all := c.entries(&t, 0, int(t.len()), nil)
		if all {
			new, _ := c.values(&t, 0, nil, true, data, nil)
			copy(data, new)
		}
		for _, e := range list {
			at := data[int(e)*t.size:][:t.size]
			new, _ := c.values(&t, 0, []uint32{e}, false, at, nil)
			copy(at, new)
		}
	}
	return b
}

// disk returns a new file system that holds the base.
func (w *toy) disk() *crashfs.FS {
	f := crashfs.New()
	for name, b := range w.base {
		f.Put(name, b)
	}
	return f
}

func (w *toy) store(f fsx.FS) *store {
	return &store{model: "toy", fs: f, dir: ".shira", block: toyBlock, workers: w.workers}
}

// to switches to change i, after a recovery where one is due.
func (w *toy) to(f fsx.FS, i int) error { return w.switchTo(context.Background(), f, i) }

func (w *toy) switchTo(ctx context.Context, f fsx.FS, i int) error {
	s := w.store(f)
	lock, err := s.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := s.restore(); err != nil {
		return err
	}
	n, err := s.scan()
	if err != nil {
		return err
	}
	old, c, err := s.current(n)
	if err != nil {
		return err
	}
	if c != nil {
		defer c.Close()
	}
	sh, err := s.openShards([]string{"one.safetensors", "two.safetensors"}, true)
	if err != nil {
		return err
	}
	defer sh.close()
	tx := &transaction{number: old.next(), base: "base", change: w.changes[i], targets: slices.Clone(w.changes[i].targets), old: old, shards: sh}
	if i > 0 {
		tx.applied = []Applied{{Adapter: w.changes[i].name, Weight: 1}}
	}
	if old != nil {
		if err := old.match(sh, "no way"); err != nil {
			return err
		}
	}
	_, err = s.run(ctx, tx)
	return err
}

// repair recovers, as the next command does.
func (w *toy) repair(f fsx.FS) error {
	s := w.store(f)
	lock, err := s.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	_, err = s.restore()
	return err
}

// holds returns the change that the file system's records say is applied, and an error where the weights are not as they say.
func (w *toy) holds(f *crashfs.FS) (int, error) {
	s := w.store(f)
	n, err := s.scan()
	if err != nil {
		return 0, err
	}
	if len(n.hot) > 0 || len(n.tmp) > 0 {
		return 0, fmt.Errorf("%v left", n)
	}
	j, _, err := s.current(n)
	if err != nil {
		return 0, err
	}
	i := 0
	if j != nil && len(j.Applied) > 0 {
		base, err := s.marked()
		if err != nil {
			return 0, err
		}
		if base != "base" {
			return 0, fmt.Errorf("the base is marked %q", base)
		}
		i = slices.IndexFunc(w.changes, func(c *toyChange) bool { return c.name == j.Applied[0].Adapter })
	}
	for name := range w.base {
		if !bytes.Equal(f.Get(name), w.state(i, name)) {
			return 0, fmt.Errorf("%s is not in the state %d", name, i)
		}
	}
	return i, nil
}

func TestSwitchToy(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newToy(rng)
		f := w.disk()
		for step := range 12 {
			i := rng.IntN(len(w.changes))
			if err := w.to(f, i); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			got, err := w.holds(f)
			if err != nil || got != i {
				t.Fatalf("seed %d, step %d: in state %d, %v; want %d", seed, step, got, err, i)
			}
			want := []string{".shira", "one.safetensors", "two.safetensors"}
			if i > 0 {
				want = []string{".shira", ".shira/applied-*", ".shira/base", "one.safetensors", "two.safetensors"}
			}
			if names := f.Names(); len(names) != len(want) {
				t.Fatalf("seed %d, step %d: files %v, want %v", seed, step, names, want)
			}
		}
	}
}
