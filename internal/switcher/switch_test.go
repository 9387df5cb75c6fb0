package switcher

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fuse"
)

// model is a small base of two files in a directory, and adapters of all kinds.
type model struct {
	t        *testing.T
	dir      string
	base     string
	adapters []string
}

var modules = []string{"model.layers.0.q_proj", "model.layers.1.q_proj", "model.layers.1.v_proj"}

const rows, cols = 23, 37

func newModel(t *testing.T, dtype checkpoint.DType) *model {
	t.Helper()
	m := &model{t: t, dir: t.TempDir()}
	m.base = m.path("base")
	must(t, os.Mkdir(m.base, 0o755))
	rng := rand.New(rand.NewPCG(5, 6))
	normal := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(scale * rng.NormFloat64())
		}
		return v
	}
	where := map[string]string{}
	for i, shard := range []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
		entries := []checkpoint.Entry{checkpoint.Float32Entry([]string{"odd", "norm"}[i], dtype, []int{3}, normal(3, 1))}
		for _, name := range modules[2*i : min(2*i+2, len(modules))] {
			entries = append(entries, checkpoint.Float32Entry(name+".weight", dtype, []int{rows, cols}, normal(rows*cols, 1)))
		}
		for _, e := range entries {
			where[e.Name] = shard
		}
		must(t, checkpoint.Write(filepath.Join(m.base, shard), entries, map[string]string{"format": "pt"}))
	}
	must(t, checkpoint.WriteIndex(filepath.Join(m.base, checkpoint.IndexFile), where, 0))

	sparse := func(name string, k int) *adapter.Sparse {
		flat := rng.Perm(rows * cols)[:k]
		slices.Sort(flat)
		list := make([]int64, k)
		for i, f := range flat {
			list[i] = int64(f)
		}
		d := adapter.NewSparse(name, rows, cols, list)
		copy(d.Values, normal(k, 0.1))
		return d
	}
	lowRank := func(name string, magnitude bool) *adapter.LowRank {
		d := &adapter.LowRank{Name: name, Out: rows, In: cols, R: 2, A: normal(2*cols, 0.2), B: normal(2*rows, 0.2), Alpha: 4, Scale: 2}
		if magnitude {
			d.Magnitude = normal(rows, 3)
		}
		return d
	}
	add := func(method string, deltas ...adapter.Delta) {
		a := &adapter.Adapter{Config: adapter.Config{Method: method, R: 2, Alpha: 4, TargetModules: []string{"q_proj", "v_proj"}}, Deltas: deltas}
		if method == "shira" || method == "shira-dora" {
			a.Config = adapter.Config{Method: method, Density: 0.05, Mask: "rand", TargetModules: []string{"q_proj", "v_proj"}}
		}
		path := m.path(method + string(rune('a'+len(m.adapters))) + ".st")
		must(t, a.SaveFile(path))
		m.adapters = append(m.adapters, path)
	}
	add("shira", sparse(modules[0], 40), sparse(modules[1], 1))
	add("shira", sparse(modules[0], 60), sparse(modules[2], 30))
	add("lora", lowRank(modules[0], false), lowRank(modules[2], false))
	add("dora", lowRank(modules[1], true))
	add("shira-dora", &adapter.ShiraDora{S: sparse(modules[2], 20), Magnitude: normal(rows, 3)})
	return m
}

func (m *model) path(name string) string { return filepath.Join(m.dir, name) }

// copy makes another directory of the base.
func (m *model) copy(name string) string {
	must(m.t, os.CopyFS(m.path(name), os.DirFS(m.base)))
	return m.path(name)
}

// data returns the bytes of all tensors.
func (m *model) data(path string) map[string][]byte {
	m.t.Helper()
	c, err := checkpoint.OpenModel(path)
	must(m.t, err)
	defer c.Close()
	all := map[string][]byte{}
	for _, t := range c.Tensors() {
		all[t.Name] = bytes.Clone(t.Data())
	}
	return all
}

// wantBase checks that the files are the base's.
func (m *model) wantBase(path string) {
	m.t.Helper()
	for _, name := range []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
		want, err := os.ReadFile(filepath.Join(m.base, name))
		must(m.t, err)
		if got, err := os.ReadFile(filepath.Join(path, name)); err != nil || !bytes.Equal(got, want) {
			m.t.Errorf("%s is not the base's, %v", name, err)
		}
	}
}

// TestSwitchIsFusion goes from state to state at random: each has the bits of a fusion, and the base comes back.
func TestSwitchIsFusion(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F64, checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		t.Run(dtype.String(), func(t *testing.T) {
			m := newModel(t, dtype)
			path := m.copy("model")
			rng := rand.New(rand.NewPCG(7, 8))
			for step := range 14 {
				var refs []adapter.Ref
				for _, i := range rng.Perm(len(m.adapters))[:rng.IntN(3)] {
					refs = append(refs, adapter.Ref{Path: m.adapters[i], Weight: []float64{1, 1, 0.3, -2, 0}[rng.IntN(5)]})
				}
				r, err := Switch(context.Background(), Options{Model: path, Adapters: refs})
				must(t, err)
				live := slices.DeleteFunc(slices.Clone(refs), func(ref adapter.Ref) bool { return ref.Weight == 0 })
				if len(r.Applied) != len(live) || r.Entries != r.Live && r.Previous == nil {
					t.Errorf("step %d: %+v", step, r)
				}
				if len(live) == 0 {
					m.wantBase(path)
				}
				if len(refs) == 0 {
					continue
				}
				fused := m.path("fused")
				_, err = fuse.Run(context.Background(), fuse.Options{Base: m.base, Adapters: fuse.Sources(refs), Out: fused, Force: true})
				must(t, err)
				want := m.data(fused)
				for name, got := range m.data(path) {
					if !bytes.Equal(got, want[name]) {
						t.Errorf("step %d, %v: %s is not what fusing gives", step, refs, name)
					}
				}
				c, err := Verify(context.Background(), path)
				if err != nil || c.Base != c.Expected || c.Entries != r.Live {
					t.Errorf("step %d: verify: %+v, %v", step, c, err)
				}
			}
			_, err := Switch(context.Background(), Options{Model: path})
			must(t, err)
			m.wantBase(path)
			if names, err := os.ReadDir(filepath.Join(path, ".shira")); err != nil || len(names) != 1 {
				t.Errorf("after a revert .shira holds %v, %v", names, err)
			}
		})
	}
}

// TestThousandSwitches: no error adds up, and no journal grows.
func TestThousandSwitches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := newToy(rng)
	f := w.disk()
	sizes := map[[2]int]int{}
	last := 0
	for step := range 1000 {
		i := 1 + step%(len(w.changes)-1)
		must(t, w.to(f, i))
		if got, err := w.holds(f); err != nil || got != i {
			t.Fatalf("step %d: state %d, %v", step, got, err)
		}
		for _, name := range f.Names() {
			if !strings.Contains(name, "applied") {
				continue
			}
			// The number of switches takes more digits with time.
			if size := len(f.Get(name)); step < 10 {
				sizes[[2]int{last, i}] = size
			} else if size > sizes[[2]int{last, i}]+4 {
				t.Fatalf("step %d: the journal has %d bytes, at first it had %d", step, size, sizes[[2]int{last, i}])
			}
		}
		last = i
	}
	must(t, w.to(f, 0))
	for name := range w.base {
		if !bytes.Equal(f.Get(name), w.base[name]) {
			t.Errorf("%s is not the base's", name)
		}
	}
}

// TestNoRoom: a disk without room for the journal is found before anything is written.
func TestNoRoom(t *testing.T) {
	w := newToy(rand.New(rand.NewPCG(1, 1)))
	f := w.disk()
	must(t, w.to(f, 1))
	before := f.Names()
	f.FreeOf = 100
	if err := w.to(f, 2); fault.KindOf(err) != fault.Environment {
		t.Errorf("%v", err)
	}
	if got, err := w.holds(f); err != nil || got != 1 || !slices.Equal(f.Names(), before) {
		t.Errorf("state %d, %v; files %v", got, err, f.Names())
	}
}

// TestRoom: no journal is longer than what a switch asks the disk for, from any state to any other.
func TestRoom(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16} {
		m := newModel(t, dtype)
		path := m.copy("model")
		for i := range m.adapters {
			for j := range m.adapters {
				for _, to := range [][]string{{m.adapters[i]}, {m.adapters[j]}, nil} {
					o := Options{Model: path}
					for _, a := range to {
						o.Adapters = append(o.Adapters, adapter.Ref{Path: a, Weight: 1})
					}
					r, err := Switch(context.Background(), o)
					must(t, err)
					if r.Journal > r.Room {
						t.Errorf("%s, from %v to %v: a journal of %d bytes, %d at most", dtype, r.Previous, r.Applied, r.Journal, r.Room)
					}
				}
			}
		}
	}
}

// TestNotFinite: a sum that the type cannot hold is found before anything is written.
func TestNotFinite(t *testing.T) {
	m := newModel(t, checkpoint.F16)
	path := m.copy("model")
	_, err := Switch(context.Background(), Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[1], Weight: 1e7}}})
	if fault.KindOf(err) != fault.Numerical || !strings.Contains(err.Error(), "would not be finite in F16") {
		t.Errorf("%v", err)
	}
	m.wantBase(path)
	if n, err := os.ReadDir(filepath.Join(path, ".shira")); err != nil || len(n) != 1 {
		t.Errorf(".shira holds %v, %v", n, err)
	}
}

// TestCanceled: a switch that is canceled at any block leaves what was there.
func TestCanceled(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	path := m.copy("model")
	must(t, second(Switch(context.Background(), Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[0], Weight: 1}}})))
	before := m.data(path)
	cause := fault.New(fault.Terminated, "", "terminated")
	for n := 0; ; n++ {
		ctx, cancel := context.WithCancelCause(context.Background())
		calls := 0
		tell := func(int64, int64) {
			if calls++; calls > n {
				cancel(cause)
			}
		}
		if n == 0 {
			cancel(cause)
		}
		_, err := Switch(ctx, Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[2], Weight: 1}}, Progress: tell})
		if err == nil { // too late to be canceled
			if n < 2 {
				t.Errorf("not canceled after %d blocks", n)
			}
			break
		}
		if fault.KindOf(err) != fault.Terminated {
			t.Fatal(err)
		}
		for name, got := range m.data(path) {
			if !bytes.Equal(got, before[name]) {
				t.Errorf("canceled after %d calls: %s has changed", n, name)
			}
		}
		must(t, second(Verify(context.Background(), path)))
	}
}

func second[T any](_ T, err error) error { return err }

// TestInUse: a model that is open is not switched, and one that is being switched is not opened.
func TestInUse(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	path := m.copy("model")
	to := Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[0], Weight: 1}}}
	reader, err := checkpoint.OpenModel(path)
	must(t, err)
	if _, err := Switch(context.Background(), to); fault.KindOf(err) != fault.Locked {
		t.Errorf("with a reader: %v", err)
	}
	reader.Close()
	opened := false
	to.Progress = func(int64, int64) {
		opened = true
		if _, err := checkpoint.OpenModel(path); fault.KindOf(err) != fault.Locked {
			t.Errorf("during a switch: %v", err)
		}
		if _, err := Switch(context.Background(), Options{Model: path}); fault.KindOf(err) != fault.Locked {
			t.Errorf("a second switch: %v", err)
		}
	}
	must(t, second(Switch(context.Background(), to)))
	if !opened {
		t.Error("never asked")
	}
}

// TestStatusTogether: a status sees a state while others switch, and no switch fails because of it.
func TestStatusTogether(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	path := m.copy("model")
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if st, err := Status(path); err != nil || st.Interrupted {
					t.Errorf("status %+v, %v", st, err)
					return
				}
			}
		})
	}
	for i := range 30 {
		o := Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[i%2], Weight: 1}}}
		if i%5 == 4 {
			o.Adapters = nil
		}
		if _, err := Switch(context.Background(), o); err != nil {
			t.Errorf("switch %d: %v", i, err)
			break
		}
	}
	close(stop)
	group.Wait()
}

// TestReplacedMeanwhile: what was read of one directory is not written to another that has taken its place.
func TestReplacedMeanwhile(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	path := m.copy("model")
	s, closeFS, err := openStore(path)
	must(t, err)
	defer closeFS()
	must(t, os.Rename(path, m.path("old")))
	m.copy("model")
	if _, err := s.open(path, true); fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("%v", err)
	}
}

// TestReserved: a model that is being replaced is not switched, and one that is being switched is not replaced.
func TestReserved(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	path := m.copy("model")
	to := Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[0], Weight: 1}}}
	_, err := fuse.Run(t.Context(), fuse.Options{Base: m.base, Adapters: fuse.Sources(to.Adapters), Out: path, Force: true,
		Progress: func(done, _ int64) {
			if _, err := Switch(t.Context(), to); done > 0 && fault.KindOf(err) != fault.Locked {
				t.Errorf("while it is replaced: %v", err)
			}
		}})
	must(t, err)
	m.copy("again")
	to.Model = m.path("again")
	to.Progress = func(int64, int64) {
		for _, out := range []string{to.Model, filepath.Join(to.Model, "model-00001-of-00002.safetensors")} {
			if _, err := checkpoint.Reserve(out); fault.KindOf(err) != fault.Locked {
				t.Errorf("%s, while it is switched: %v", out, err)
			}
		}
	}
	must(t, second(Switch(t.Context(), to)))
	release, err := checkpoint.Reserve(to.Model)
	must(t, err)
	release()
	if _, err := checkpoint.Reserve(filepath.Join(to.Model, "model-00001-of-00002.safetensors")); fault.KindOf(err) != fault.Incompatible {
		t.Errorf("beside its journal: %v", err)
	}
}

// TestLost: where somebody has removed the record, the weights are not taken for the base's.
func TestLost(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	path := m.copy("model")
	state := filepath.Join(path, ".shira")
	to := Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[0], Weight: 1}}, Force: true}
	must(t, second(Switch(t.Context(), to)))
	must(t, os.Rename(filepath.Join(state, "applied-1"), m.path("record")))
	before := m.data(path)
	for name, try := range map[string]func() error{
		"switch": func() error {
			return second(Switch(t.Context(), Options{Model: path, Adapters: to.Adapters, Force: true}))
		},
		"revert":  func() error { return second(Switch(t.Context(), Options{Model: path})) },
		"dry run": func() error { return second(Switch(t.Context(), Options{Model: path, DryRun: true})) },
		"verify":  func() error { return second(Verify(t.Context(), path)) },
	} {
		if err := try(); fault.KindOf(err) != fault.Unrecoverable || !strings.Contains(err.Error(), "the record of the last switch is gone") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st, err := Status(path); err != nil || !st.Lost {
		t.Errorf("status: %+v, %v", st, err)
	}
	for name, got := range m.data(path) {
		if !bytes.Equal(got, before[name]) {
			t.Errorf("%s was changed", name)
		}
	}
	must(t, os.Rename(m.path("record"), filepath.Join(state, "applied-1")))
	must(t, second(Switch(t.Context(), Options{Model: path})))
	m.wantBase(path)
	if names, err := os.ReadDir(state); err != nil || len(names) != 1 {
		t.Errorf(".shira holds %v, %v", names, err)
	}
	// A mark that a switch left that did not happen is of these very weights.
	s, closeFS, err := openStore(path)
	must(t, err)
	defer closeFS()
	c, err := Verify(t.Context(), path)
	must(t, err)
	must(t, s.mark(c.Base))
	must(t, second(Switch(t.Context(), to)))
	must(t, second(Switch(t.Context(), Options{Model: path})))
	must(t, s.mark("of other weights"))
	must(t, os.WriteFile(filepath.Join(state, "base"), []byte("of other we\x00\x00\n"), 0o644)) // torn
	must(t, second(Switch(t.Context(), to)))
}

// TestShard: one file of several is refused.
func TestShard(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	path := filepath.Join(m.copy("model"), "model-00001-of-00002.safetensors")
	_, err := Switch(context.Background(), Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[3], Weight: 1}}})
	if fault.KindOf(err) != fault.Incompatible || !strings.Contains(err.Error(), "one of the 2 files") {
		t.Errorf("%v", err)
	}
}

// TestSingleFile: the journals of a file lie beside it, and are of no other file.
func TestSingleFile(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	var entries []checkpoint.Entry
	c, err := checkpoint.OpenModel(m.base)
	must(t, err)
	defer c.Close()
	for _, tensor := range c.Tensors() {
		entries = append(entries, tensor.Entry())
	}
	path := m.path("one.st")
	must(t, checkpoint.Write(path, entries, nil))
	before := m.data(path)
	must(t, second(Switch(context.Background(), Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[0], Weight: 1}}})))
	must(t, os.Rename(path+".shira", m.path("two.st.shira")))
	must(t, os.Rename(path, m.path("two.st")))
	_, err = Switch(context.Background(), Options{Model: m.path("two.st")})
	if fault.KindOf(err) != fault.Unrecoverable || !strings.Contains(fault.HintOf(err), "old name") {
		t.Errorf("renamed: %v", err)
	}
	must(t, os.Rename(m.path("two.st.shira"), path+".shira"))
	must(t, os.Rename(m.path("two.st"), path))
	must(t, second(Switch(context.Background(), Options{Model: path})))
	for name, got := range m.data(path) {
		if !bytes.Equal(got, before[name]) {
			t.Errorf("%s is not the base's", name)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLink: what a switch left is seen through a link to the file too.
func TestLink(t *testing.T) {
	m := newModel(t, checkpoint.BF16)
	c, err := checkpoint.OpenModel(m.base)
	must(t, err)
	defer c.Close()
	var entries []checkpoint.Entry
	for _, tensor := range c.Tensors() {
		entries = append(entries, tensor.Entry())
	}
	path, link := m.path("one.st"), m.path("link.st")
	must(t, checkpoint.Write(path, entries, nil))
	must(t, os.Symlink("one.st", link))
	must(t, second(Switch(context.Background(), Options{Model: path, Adapters: []adapter.Ref{{Path: m.adapters[0], Weight: 1}}})))
	if st, err := Status(link); err != nil || len(st.Applied) != 1 {
		t.Errorf("status: %+v, %v", st, err)
	}
	must(t, os.Rename(path+".shira/applied-1", path+".shira/undo-1.hot"))
	if _, err := checkpoint.OpenModel(link); fault.KindOf(err) != fault.Unrecoverable || !strings.Contains(fault.HintOf(err), path) {
		t.Errorf("between two states: %v", err)
	}
	if undone, err := Recover(link); err != nil || !undone {
		t.Errorf("recovery: %v, %v", undone, err)
	}
	must(t, second(checkpoint.OpenModel(link)))
}
