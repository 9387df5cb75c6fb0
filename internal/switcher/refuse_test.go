package switcher

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"shira/internal/fault"
	"shira/internal/fsx/crashfs"
)

// interrupted returns a disk on which a switch to change 1 was killed while it wrote weights, and its journal.
func (w *toy) interrupted(t *testing.T) (*crashfs.FS, *journal) {
	t.Helper()
	for die := 1; ; die++ {
		f := w.disk()
		f.Die = die
		if err := w.to(f, 1); err == nil {
			t.Fatal("it was never killed while the weights were written")
		}
		f = f.Crash(crashfs.Nothing, nil)
		data := f.Get(".shira/undo-1.hot")
		if data == nil || bytes.Equal(f.Get("one.safetensors"), w.base["one.safetensors"]) {
			continue
		}
		j, err := readAll(data)
		must(t, err)
		return f, j
	}
}

// switched returns a disk with change 1.
func (w *toy) switched(t *testing.T) *crashfs.FS {
	t.Helper()
	f := w.disk()
	must(t, w.to(f, 1))
	return f
}

// TestRefused: where the journal and the weights do not belong together, or one of them is damaged, nothing is touched. Each row
// is what one check of the protocol is for.
func TestRefused(t *testing.T) {
	const hot, record, one = ".shira/undo-1.hot", ".shira/applied-1", "one.safetensors"
	flip := func(f *crashfs.FS, name string, at int) {
		b := bytes.Clone(f.Get(name))
		b[at] ^= 1
		f.Put(name, b)
	}
	rename := func(f *crashfs.FS, from, to string) {
		must(t, f.Rename(from, to))
		must(t, f.SyncDir(".shira"))
	}
	for _, c := range []struct {
		name string
		hot  func(w *toy, f *crashfs.FS, j *journal) // what happens to a switch that did not end,
		done func(w *toy, f *crashfs.FS)             // or to one that did
	}{
		{name: "the last segment is damaged", hot: func(_ *toy, f *crashfs.FS, j *journal) {
			p := j.places[len(j.places)-1]
			flip(f, hot, int(p.off)+p.length-1)
		}},
		{name: "the checksum is damaged", hot: func(_ *toy, f *crashfs.FS, j *journal) { flip(f, hot, int(j.size)-1) }},
		{name: "weights with another header", hot: func(_ *toy, f *crashfs.FS, _ *journal) { flip(f, one, 9) }},
		{name: "longer weights", hot: func(_ *toy, f *crashfs.FS, _ *journal) { f.Put(one, append(bytes.Clone(f.Get(one)), 0)) }},
		{name: "a journal of another number", hot: func(_ *toy, f *crashfs.FS, _ *journal) { rename(f, hot, ".shira/undo-7.hot") }},
		{name: "two journals", hot: func(_ *toy, f *crashfs.FS, _ *journal) { f.Put(".shira/undo-2.hot", f.Get(hot)) }},
		{name: "a record of another number", done: func(_ *toy, f *crashfs.FS) { rename(f, record, ".shira/applied-7") }},
		{name: "a record of weights with another header", done: func(_ *toy, f *crashfs.FS) { flip(f, one, 9) }},
		{name: "a record of shorter weights", done: func(_ *toy, f *crashfs.FS) { f.Put(one, f.Get(one)[:len(f.Get(one))-1]) }},
		{name: "an entry that was changed since", done: func(w *toy, f *crashfs.FS) {
			for i, b := range w.base[one] {
				if f.Get(one)[i] != b {
					flip(f, one, i)
					return
				}
			}
		}},
		{name: "a damaged record", done: func(_ *toy, f *crashfs.FS) { flip(f, record, 40) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newToy(rand.New(rand.NewPCG(1, 1)))
			var f *crashfs.FS
			if c.hot != nil {
				var j *journal
				if f, j = w.interrupted(t); len(j.places) < 2 {
					t.Fatalf("%d segments", len(j.places))
				}
				c.hot(w, f, j)
			} else {
				f = w.switched(t)
				c.done(w, f)
			}
			before := map[string][]byte{}
			for _, name := range f.Names() {
				before[name] = bytes.Clone(f.Get(name))
			}
			tries := []func() error{func() error { return w.to(f, 2) }, func() error { return w.to(f, 0) }}
			if c.hot != nil {
				tries = append(tries, func() error { return w.repair(f) })
			}
			for i, try := range tries {
				if err := try(); fault.KindOf(err) != fault.Unrecoverable {
					t.Errorf("try %d: %v", i, err)
				}
			}
			if len(f.Names()) != len(before) {
				t.Errorf("files %v", f.Names())
			}
			for name, want := range before {
				if !bytes.Equal(f.Get(name), want) {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
}
