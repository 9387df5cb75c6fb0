package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The calls of the real program that change files are recorded by strace, and played into a model of a disk, which says what a
// crash at each of them can leave: a kill leaves what programs see; a power failure loses what was not synced, wholly, in part
// or out of order. Names become durable by an fsync of their directory alone, contents by an fsync of the file alone.

// node is a file or a directory of the model, as programs see it and as it is on the disk.
type node struct {
	names, diskNames map[string]*node // of a directory, nil for a file
	data, disk       []byte           // of a file
	pending          []patch          // changes of its data that are not synced
}

// patch writes data at off, or with cut makes the file off bytes long.
type patch struct {
	off  int64
	data []byte
	cut  bool
}

func (p patch) apply(data []byte) []byte {
	end := p.off + int64(len(p.data))
	if grow := end - int64(len(data)); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	if p.cut {
		return data[:p.off:p.off]
	}
	copy(data[p.off:], p.data)
	return data
}

// change gives names to nodes, nil for none, all of them or none.
type change []struct {
	dir  *node
	name string
	to   *node
}

// disk is the model.
type disk struct {
	t       *testing.T
	dir     string // the real directory that root stands for
	root    *node
	pending []change
	open    map[string]*handle // by number
}

type handle struct {
	node *node
	at   int64
}

// newDisk takes what is in dir, durable.
func newDisk(t *testing.T, dir string) *disk {
	return &disk{t: t, dir: dir, root: load(t, dir), open: map[string]*handle{}}
}

func load(t *testing.T, path string) *node {
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return &node{data: b, disk: bytes.Clone(b)}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{names: map[string]*node{}}
	for _, e := range entries {
		n.names[e.Name()] = load(t, filepath.Join(path, e.Name()))
	}
	n.diskNames = maps.Clone(n.names)
	return n
}

// find returns the directory that holds a path, and its name there; nil for one outside.
func (d *disk) find(path string) (*node, string) {
	rel, err := filepath.Rel(d.dir, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return nil, ""
	}
	parts := strings.Split(rel, "/")
	dir := d.root
	for _, name := range parts[:len(parts)-1] {
		if dir = dir.names[name]; dir == nil {
			d.t.Fatalf("%s is nowhere", path)
		}
	}
	return dir, parts[len(parts)-1]
}

func (d *disk) lookup(path string) *node {
	dir, name := d.find(path)
	switch {
	case dir == nil:
		return nil
	case name == ".":
		return d.root
	}
	return dir.names[name]
}

func (d *disk) rename(c change) {
	for _, s := range c {
		if s.to == nil {
			delete(s.dir.names, s.name)
		} else {
			s.dir.names[s.name] = s.to
		}
	}
	d.pending = append(d.pending, c)
}

func (n *node) change(p patch) {
	n.data = p.apply(n.data)
	n.pending = append(n.pending, p)
}

// sync makes a file's content or a directory's names durable.
func (d *disk) sync(n *node) {
	for _, p := range n.pending {
		n.disk = p.apply(n.disk)
	}
	n.pending = nil
	if n.names == nil {
		return
	}
	rest := d.pending[:0:0]
	for _, c := range d.pending {
		touches := false
		for _, s := range c {
			touches = touches || s.dir == n
		}
		if !touches {
			rest = append(rest, c)
			continue
		}
		for _, s := range c {
			put(s.dir.diskNames, s.name, s.to)
		}
	}
	d.pending = rest
}

func put(names map[string]*node, name string, to *node) {
	if to == nil {
		delete(names, name)
	} else {
		names[name] = to
	}
}

// The ways to crash.
var losses = []string{"kill", "all", "first", "first", "any", "any", "any", "any", "any", "any"}

// crash writes to dir what is left.
func (d *disk) crash(dir, loss string, g *rand.Rand) {
	names := map[*node]map[string]*node{}
	of := func(n *node) map[string]*node {
		if loss == "kill" {
			return n.names
		}
		if names[n] == nil {
			names[n] = maps.Clone(n.diskNames)
		}
		return names[n]
	}
	cut := g.IntN(len(d.pending) + 1)
	for i, c := range d.pending {
		if loss == "first" && i < cut || loss == "any" && g.IntN(2) == 0 {
			for _, s := range c {
				put(of(s.dir), s.name, s.to)
			}
		}
	}
	var write func(n *node, path string)
	write = func(n *node, path string) {
		if n.names == nil {
			data := n.data
			if loss != "kill" {
				data = bytes.Clone(n.disk)
				for _, p := range n.pending {
					if loss != "all" && g.IntN(2) == 0 {
						data = p.apply(data)
					}
				}
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				d.t.Fatal(err)
			}
			return
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			d.t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(of(n))) {
			write(of(n)[name], filepath.Join(path, name))
		}
	}
	write(d.root, dir)
}

var (
	callLine  = regexp.MustCompile(`^(\w+)\((.*)\)\s+= (-?\d+)(?:<([^>]*)>)?`)
	argument  = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"|(-?\w+)<([^>]*)>|[^,\s"]+`)
	recorded  = "openat,lseek,write,pwrite64,ftruncate,fsync,fdatasync,renameat,renameat2,linkat,unlinkat,mkdirat,copy_file_range,sendfile,close,fchmod,fchmodat,execve,rename,link,unlink,mkdir,writev,fallocate,splice"
	harmless  = []string{"lseek", "close", "fchmod", "fchmodat", "execve"}
	unrelated = regexp.MustCompile(`^(---|\+\+\+|\?\?\?)`)
)

// record runs a command in d's directory and returns its calls, one a line, of the form name(arguments) = result.
func (d *disk) record(command ...string) []string {
	d.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		d.t.Skip("needs strace")
	}
	log := filepath.Join(d.t.TempDir(), "log")
	args := append([]string{"-f", "-qq", "-y", "-xx", "-s", "1000000000", "-o", log, "-e", "trace=" + recorded}, command...)
	cmd := exec.Command("strace", args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		d.t.Fatal(err)
	}
	var calls []string
	begun := map[string]string{} // by thread
	for line := range strings.Lines(string(text)) {
		thread, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		if unrelated.MatchString(rest) {
			continue
		}
		if start, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
			begun[thread] = start
			continue
		}
		if strings.HasPrefix(rest, "<... ") {
			_, end, _ := strings.Cut(rest, " resumed>")
			rest = begun[thread] + end
		}
		calls = append(calls, rest)
	}
	return calls
}

func unhex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		return s
	}
	return string(b)
}

// play makes a call on the model. It reports whether it changed anything.
func (d *disk) play(line string) bool {
	m := callLine.FindStringSubmatch(line)
	if m == nil {
		d.t.Fatalf("cannot read %.200s", line)
	}
	if strings.HasPrefix(m[3], "-") {
		return false
	}
	name, result := m[1], m[3]
	var args []string // strings as they are, open files by their number
	var last string   // the directory that a path comes after
	var paths []string
	for _, a := range argument.FindAllStringSubmatch(m[2], -1) {
		switch {
		case strings.HasPrefix(a[0], `"`):
			s := unhex(a[1])
			args = append(args, s)
			if !filepath.IsAbs(s) {
				s = filepath.Join(last, s)
			}
			paths = append(paths, filepath.Clean(s))
		case a[2] != "":
			args = append(args, a[2])
			last = unhex(a[3])
		default:
			args = append(args, a[0])
		}
	}
	number := func(i int) int64 {
		n, err := strconv.ParseInt(args[i], 0, 64)
		if err != nil {
			d.t.Fatalf("%s: argument %d is %q", name, i, args[i])
		}
		return n
	}
	length, _ := strconv.ParseInt(result, 10, 64)
	h := d.open[args[0]]
	switch name {
	case "openat":
		delete(d.open, result)
		dir, base := d.find(paths[0])
		if dir == nil {
			return false
		}
		n, flags := d.lookup(paths[0]), args[2]
		changes := false
		if n == nil {
			n = &node{}
			d.rename(change{{dir, base, n}})
			changes = true
		} else if strings.Contains(flags, "O_TRUNC") {
			n.change(patch{cut: true})
			changes = true
		}
		d.open[result] = &handle{node: n}
		if strings.Contains(flags, "O_APPEND") {
			d.open[result].at = int64(len(n.data))
		}
		return changes
	case "close":
		delete(d.open, args[0])
	case "mkdirat":
		dir, base := d.find(paths[0])
		if dir == nil {
			return false
		}
		d.rename(change{{dir, base, &node{names: map[string]*node{}, diskNames: map[string]*node{}}}})
		return true
	case "unlinkat":
		dir, base := d.find(paths[0])
		if dir == nil {
			return false
		}
		d.rename(change{{dir, base, nil}})
		return true
	case "renameat", "renameat2", "linkat":
		from, a := d.find(paths[0])
		to, b := d.find(paths[1])
		if from == nil || to == nil {
			return false
		}
		c := change{{to, b, from.names[a]}}
		switch {
		case strings.Contains(line, "RENAME_EXCHANGE"):
			c = append(c, change{{from, a, to.names[b]}}...)
		case name != "linkat":
			c = append(c, change{{from, a, nil}}...)
		}
		d.rename(c)
		return true
	}
	if name == "copy_file_range" { // its second file is what changes
		h = d.open[args[2]]
	}
	if h == nil || slices.Contains(harmless, name) && name != "lseek" {
		return false
	}
	switch name {
	case "lseek":
		h.at = length
		return false
	case "write":
		h.node.change(patch{off: h.at, data: []byte(args[1])[:length]})
		h.at += length
	case "pwrite64":
		h.node.change(patch{off: number(3), data: []byte(args[1])[:length]})
	case "ftruncate":
		h.node.change(patch{off: number(1), cut: true})
	case "fsync", "fdatasync":
		d.sync(h.node)
	case "copy_file_range":
		d.copyRange(line, h, length)
	default:
		d.t.Fatalf("no model of %.100s", line)
	}
	return true
}

var rangeLine = regexp.MustCompile(`^copy_file_range\((\d+)<([^>]*)>, (NULL|\[\d+\]), (\d+)<[^>]*>, (NULL|\[\d+\]), `)

// copyRange reads what was copied from the real file, which must be one that does not change.
func (d *disk) copyRange(line string, to *handle, n int64) {
	m := rangeLine.FindStringSubmatch(line)
	if m == nil || m[3] == "NULL" || m[5] == "NULL" {
		d.t.Fatalf("no model of %.300s", line)
	}
	at := func(s string) int64 {
		v, _ := strconv.ParseInt(strings.Trim(s, "[]"), 10, 64)
		return v
	}
	f, err := os.Open(unhex(m[2]))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, n)
	if _, err := f.ReadAt(data, at(m[3])); err != nil {
		d.t.Fatal(err)
	}
	to.node.change(patch{off: at(m[5]), data: data})
}

// crashes plays the calls, crashes before each that changes something and after the last one, and calls check with each state
// that it has not seen, in a directory of its own; done says that the command had ended. It returns how many calls and states
// there were.
func (d *disk) crashes(calls []string, check func(context, dir string, done bool)) (points, states int) {
	d.t.Helper()
	g := rand.New(rand.NewPCG(5, 6))
	seen := map[[32]byte]bool{}
	at := func(context string, done bool) {
		for _, loss := range losses {
			dir := d.t.TempDir()
			d.crash(dir, loss, g)
			if sum := treeSum(d.t, dir); !seen[sum] || done {
				seen[sum] = true
				states++
				check(fmt.Sprintf("%s, loss %s", context, loss), dir, done)
			}
			if err := os.RemoveAll(dir); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	at("at the start", false)
	for i, line := range calls {
		if d.play(line) {
			points++
			at(fmt.Sprintf("after call %d, %s", i, clip(line)), false)
		}
	}
	at("at the end", true)
	if got, want := treeSum(d.t, d.dir), d.seen(); got != want {
		d.t.Errorf("the model's files are not the real ones")
	}
	return points, states
}

// seen is the sum of what programs see.
func (d *disk) seen() [32]byte {
	dir := d.t.TempDir()
	d.crash(dir, "kill", rand.New(rand.NewPCG(1, 1)))
	return treeSum(d.t, dir)
}

// clip shows the names in a call.
func clip(line string) string {
	name, rest, _ := strings.Cut(line, "(")
	var names []string
	for _, a := range argument.FindAllStringSubmatch(rest, 3) {
		if s := filepath.Base(unhex(a[1] + a[3])); (a[1] != "" || a[3] != "") && len(s) < 80 {
			names = append(names, s)
		}
	}
	return fmt.Sprintf("%s %q", name, names)
}

// treeSum is a hash of the names and contents below dir.
func treeSum(t *testing.T, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	files := tree(t, dir)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %q\n", path, files[path])
	}
	return [32]byte(h.Sum(nil))
}

// tree returns the content of every file below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || e.IsDir() {
			files[rel+"/"] = ""
			return err
		}
		b, err := os.ReadFile(path)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
