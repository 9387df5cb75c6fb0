// Package crashfs is a file system in memory that can crash, for tests: at any operation it may stop working, and then
// shows what a killed process or a power failure leaves. What was not synced is lost, or torn, or there out of order.
package crashfs

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// sector is how many bytes the disk writes as a whole. A small one tears more.
const sector = 16

// Loss says what a crash takes.
type Loss int

const (
	Nothing Loss = iota // the process was killed; the system goes on
	All                 // the power failed, and nothing that was not synced had reached the disk
	Some                // the power failed, and any of the writes, and a number of first changes of names, had reached it
	Any                 // as Some, but any of the changes of names
)

// Losses are all of them.
var Losses = []Loss{Nothing, All, Some, Any}

// FS is a file system. Files may be read and written from several goroutines; its fields are for one.
type FS struct {
	mu        sync.Mutex
	now, disk map[string]*inode // by name, as programs see it and as it would be after a power failure
	pending   []change          // of names, not synced
	locks     map[string]bool

	Ops    int                         // done so far
	Die    int                         // the operation that is not done any more, nor any after it; 0: none
	Fail   func(op, name string) error // called before an operation: an error that it is to return instead
	FreeOf uint64                      // what Free says; 0: much
}

type inode struct {
	dir       bool
	now, disk []byte
	pending   []write
}

type write struct {
	off  int64
	data []byte
}

// change is a change of names: name becomes ino (nil: it goes), and from goes if it is not "".
type change struct {
	dir        string // whose sync makes it durable
	name, from string
	ino        *inode
}

// New returns an empty file system.
func New() *FS {
	return &FS{now: map[string]*inode{}, disk: map[string]*inode{}, locks: map[string]bool{}}
}

// Put makes a file, durably.
func (f *FS) Put(name string, data []byte) {
	ino := &inode{now: bytes.Clone(data), disk: bytes.Clone(data)}
	f.now[name], f.disk[name] = ino, ino
	if dir := path.Dir(name); dir != "." {
		d := &inode{dir: true}
		f.now[dir], f.disk[dir] = d, d
	}
}

// Get returns the content of a file, nil where there is none.
func (f *FS) Get(name string) []byte {
	if ino := f.now[name]; ino != nil {
		return ino.now
	}
	return nil
}

// Names returns all names, sorted.
func (f *FS) Names() []string {
	var names []string
	for name := range f.now {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Crash returns the file system as it is found after a crash.
func (f *FS) Crash(loss Loss, rng *rand.Rand) *FS {
	g := New()
	if loss == Nothing {
		g.now, g.disk, g.pending = f.now, f.disk, f.pending
		return g
	}
	names := map[string]*inode{}
	for name, ino := range f.disk {
		names[name] = ino
	}
	cut := 0
	if loss != All {
		cut = rng.IntN(len(f.pending) + 1)
	}
	for i, c := range f.pending {
		if loss == Some && i < cut || loss == Any && rng.IntN(2) == 0 {
			c.apply(names)
		}
	}
	for name, ino := range names {
		if dir := path.Dir(name); dir != "." && names[dir] == nil {
			continue // its directory was lost
		}
		data := bytes.Clone(ino.disk)
		if loss != All {
			for _, w := range ino.pending {
				if rng.IntN(2) == 0 {
					data = w.apply(data)
				}
			}
		}
		n := &inode{dir: ino.dir, now: data, disk: bytes.Clone(data)}
		g.now[name], g.disk[name] = n, n
	}
	return g
}

func (c change) apply(names map[string]*inode) {
	if c.from != "" {
		if c.ino == nil {
			return
		}
		delete(names, c.from)
	}
	if c.ino == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.ino
	}
}

func (w write) apply(data []byte) []byte {
	if end := w.off + int64(len(w.data)); int64(len(data)) < end {
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	copy(data[w.off:], w.data)
	return data
}

// errDead is what everything returns after the crash.
var errDead = fault.New(fault.Internal, "", "crashed")

// dead says whether the process is gone.
func (f *FS) dead() bool { return f.Die > 0 && f.Ops >= f.Die }

// op counts an operation. Its error is to be returned instead of doing it.
func (f *FS) op(kind, name string) error {
	if f.dead() {
		return errDead
	}
	if f.Fail != nil {
		if err := f.Fail(kind, name); err != nil {
			return fsx.Wrap(err, name, kind)
		}
	}
	if f.Ops++; f.dead() {
		return errDead
	}
	return nil
}

// Path returns the name itself.
func (f *FS) Path(name string) string { return name }

// Open opens a file.
func (f *FS) Open(name string, _ bool) (fsx.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead() {
		return nil, errDead
	}
	ino := f.now[name]
	if ino == nil || ino.dir {
		return nil, fsx.Wrap(&fs.PathError{Err: syscall.ENOENT}, name, "open")
	}
	return &file{fs: f, name: name, ino: ino}, nil
}

// Create makes a file.
func (f *FS) Create(name string) (fsx.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("create", name); err != nil {
		return nil, err
	}
	if f.now[name] != nil {
		return nil, fsx.Wrap(&fs.PathError{Err: syscall.EEXIST}, name, "create")
	}
	ino := &inode{}
	f.rename(change{path.Dir(name), name, "", ino})
	return &file{fs: f, name: name, ino: ino}, nil
}

func (f *FS) rename(c change) {
	c.apply(f.now)
	f.pending = append(f.pending, c)
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("mkdir", name); err != nil {
		return err
	}
	f.rename(change{path.Dir(name), name, "", &inode{dir: true}})
	return nil
}

// Rename renames a file.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("rename", from); err != nil {
		return err
	}
	ino := f.now[from]
	if ino == nil {
		return fsx.Wrap(&fs.PathError{Err: syscall.ENOENT}, from, "rename")
	}
	f.rename(change{path.Dir(to), to, from, ino})
	return nil
}

// Remove removes a file.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("remove", name); err != nil {
		return err
	}
	if f.now[name] == nil {
		return fsx.Wrap(&fs.PathError{Err: syscall.ENOENT}, name, "remove")
	}
	f.rename(change{path.Dir(name), name, "", nil})
	return nil
}

// SyncDir makes the changes of names in a directory durable.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("syncdir", name); err != nil {
		return err
	}
	var rest []change
	for _, c := range f.pending {
		if c.dir == name {
			c.apply(f.disk)
		} else {
			rest = append(rest, c)
		}
	}
	f.pending = rest
	return nil
}

// List lists a directory.
func (f *FS) List(name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead() {
		return nil, errDead
	}
	if d := f.now[name]; d == nil || !d.dir {
		return nil, fsx.Wrap(&fs.PathError{Err: syscall.ENOENT}, name, "open")
	}
	var list []string
	for _, n := range f.Names() {
		if base, ok := strings.CutPrefix(n, name+"/"); ok {
			list = append(list, base)
		}
	}
	return list, nil
}

// Lock takes a lock.
func (f *FS) Lock(name string) (io.Closer, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead() {
		return nil, false, errDead
	}
	if f.locks[name] {
		return nil, false, nil
	}
	f.locks[name] = true
	return unlock{f, name}, true, nil
}

// Locked says whether a lock is taken.
func (f *FS) Locked(name string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.locks[name], nil
}

type unlock struct {
	fs   *FS
	name string
}

func (u unlock) Close() error {
	u.fs.mu.Lock()
	defer u.fs.mu.Unlock()
	delete(u.fs.locks, u.name)
	return nil
}

// Free returns FreeOf.
func (f *FS) Free() (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.FreeOf == 0 {
		return 1 << 60, nil
	}
	return f.FreeOf, nil
}

// file is an open file.
type file struct {
	fs   *FS
	name string
	ino  *inode
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.fs.dead() {
		return 0, errDead
	}
	return bytes.NewReader(h.ino.now).ReadAt(p, off)
}

// WriteAt writes sector by sector: a crash can come between any two.
func (h *file) WriteAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	for n := 0; n < len(p); {
		if err := h.fs.op("write", h.name); err != nil {
			return n, err
		}
		at := off + int64(n)
		k := min(len(p)-n, sector-int(at%sector))
		w := write{at, bytes.Clone(p[n : n+k])}
		h.ino.now = w.apply(h.ino.now)
		h.ino.pending = append(h.ino.pending, w)
		n += k
	}
	return len(p), nil
}

func (h *file) Close() error { return nil }

func (h *file) Stat() (fsx.Stat, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.fs.dead() {
		return fsx.Stat{}, errDead
	}
	return fsx.Stat{Size: int64(len(h.ino.now)), Links: 1}, nil
}

func (h *file) Exclude() bool {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return !h.fs.locks[h.name]
}

// Datasync makes the content durable. When Fail makes it fail, the system drops what it could not write, and still shows it.
func (h *file) Datasync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.fs.op("datasync", h.name); err != nil {
		if err != error(errDead) {
			h.ino.pending = nil
		}
		return err
	}
	for _, w := range h.ino.pending {
		h.ino.disk = w.apply(h.ino.disk)
	}
	h.ino.pending = nil
	return nil
}

func (h *file) WriteBehind(int64, int64) {}
