package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
)

// crashed is a copy of the demo's base that the real program switches, and what its weights may be.
type crashed struct {
	t      *testing.T
	dir    string
	shira  string
	model  string
	to     map[string][]string // arguments that lead to a state, by its name
	states map[string]string   // SHA-256 of the weights → name
}

// buildShira builds the program in dir, for tests that only `make crash` runs.
func buildShira(t *testing.T, dir string) string {
	t.Helper()
	if os.Getenv("SHIRA_CRASH") == "" {
		t.Skip("SHIRA_CRASH is not set: `make crash` runs this")
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	path := filepath.Join(dir, "shira")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// newCrashed builds the program and makes two sparse adapters and one of low rank, in dir.
func newCrashed(t *testing.T, dir string) *crashed {
	t.Helper()
	c := &crashed{t: t, dir: dir, shira: buildShira(t, dir), model: filepath.Join(dir, "model"), states: map[string]string{}}
	base := filepath.Join("..", "..", "demo", "base")
	c.check(os.CopyFS(c.model, os.DirFS(base)))
	c.to = map[string][]string{"base": {"--revert"}}
	for i, name := range []string{"a", "b", "low"} {
		path := filepath.Join(dir, name+".st")
		c.check(randomAdapter(base, path, name == "low", uint64(i)))
		c.to[name] = []string{"--to", path}
	}
	for _, name := range c.names() {
		if code, out := c.run(name); code != 0 {
			t.Fatalf("to %s: %d: %s", name, code, out)
		}
		c.states[c.sum()] = name
	}
	if len(c.states) != 4 {
		t.Fatalf("%d states", len(c.states))
	}
	c.run("base")
	return c
}

// randomAdapter writes an adapter for the attention's weights of a model.
func randomAdapter(base, path string, low bool, seed uint64) error {
	m, err := checkpoint.OpenModel(base)
	if err != nil {
		return err
	}
	defer m.Close()
	g := rand.New(rand.NewPCG(seed, 1))
	normal := func(v []float32) {
		for i := range v {
			v[i] = float32(0.01 * g.NormFloat64())
		}
	}
	a := &adapter.Adapter{Config: adapter.Config{Method: "shira", Density: 0.01, TargetModules: []string{"q_proj", "v_proj"}}}
	if low {
		a.Config = adapter.Config{Method: "lora", R: 2, Alpha: 2, TargetModules: a.Config.TargetModules}
	}
	for _, t := range m.Tensors() {
		module, ok := strings.CutSuffix(t.Name, "_proj.weight")
		if !ok || !strings.HasSuffix(module, ".q") && !strings.HasSuffix(module, ".v") {
			continue
		}
		out, in := t.Shape[0], t.Shape[1]
		if low {
			d := &adapter.LowRank{Name: module + "_proj", Out: out, In: in, R: 2, Alpha: 2, Scale: 1, A: make([]float32, 2*in), B: make([]float32, 2*out)}
			normal(d.A)
			normal(d.B)
			a.Deltas = append(a.Deltas, d)
			continue
		}
		var flat []int64
		for i := g.Int64N(100); i < int64(out*in); i += 1 + g.Int64N(200) {
			flat = append(flat, i)
		}
		d := adapter.NewSparse(module+"_proj", out, in, flat)
		normal(d.Values)
		a.Deltas = append(a.Deltas, d)
	}
	return a.SaveFile(path)
}

func (c *crashed) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// names returns the names of the states, sorted.
func (c *crashed) names() []string {
	var list []string
	for name := range c.to {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// command is the program on its way to a state.
func (c *crashed) command(to string) []string {
	return append([]string{c.shira, "switch", c.model}, c.to[to]...)
}

// run switches, and returns the exit code.
func (c *crashed) run(to string) (int, string) { return exitCode(c.command(to)...) }

// exitCode runs a command; one that a signal ended has the code −1.
func exitCode(args ...string) (int, string) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode(), string(out)
	}
	if err != nil {
		return -2, err.Error()
	}
	return 0, string(out)
}

func (c *crashed) sum() string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.model, checkpoint.ModelFile))
	c.check(err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// recovered recovers and returns the state, which must be a whole one and the one that is recorded.
func (c *crashed) recovered(context string) string {
	c.t.Helper()
	if code, out := exitCode(c.shira, "switch", c.model, "--recover"); code != 0 {
		c.t.Fatalf("%s: recovery: %d: %s", context, code, out)
	}
	state, ok := c.states[c.sum()]
	if !ok {
		c.t.Fatalf("%s: the weights are those of no state", context)
	}
	if got := c.recorded(); got != state {
		c.t.Fatalf("%s: the weights are those of %s, but the record says %s", context, state, got)
	}
	return state
}

// recorded returns the state that the record tells.
func (c *crashed) recorded() string {
	c.t.Helper()
	out, err := exec.Command(c.shira, "switch", c.model, "--status", "--json").Output()
	c.check(err)
	var st struct {
		Applied []struct{ Adapter string }
	}
	c.check(json.Unmarshal(out, &st))
	if len(st.Applied) == 0 {
		return "base"
	}
	return strings.TrimSuffix(filepath.Base(st.Applied[0].Adapter), ".st")
}

// finish goes back to the base, which must be that of the beginning.
func (c *crashed) finish() {
	c.t.Helper()
	if code, out := c.run("base"); code != 0 || c.states[c.sum()] != "base" {
		c.t.Errorf("revert: %d: %s", code, out)
	}
	entries, err := os.ReadDir(filepath.Join(c.model, ".shira"))
	if err != nil || len(entries) != 1 {
		c.t.Errorf(".shira holds %v, %v", entries, err)
	}
}

// TestCrashKilled kills the program 200 times at random.
func TestCrashKilled(t *testing.T) {
	c := newCrashed(t, t.TempDir())
	g := rand.New(rand.NewPCG(1, 2))
	names := c.names()
	start := time.Now()
	c.run("a")
	c.run("low")
	limit := time.Since(start) / 2
	state, old, new, hot := "low", 0, 0, 0
	for i := range 200 {
		to := names[g.IntN(len(names))]
		args := c.command(to)
		cmd := exec.Command(args[0], args[1:]...)
		c.check(cmd.Start())
		time.Sleep(time.Duration(g.Int64N(int64(limit))))
		_ = cmd.Process.Kill()
		done := cmd.Wait() == nil
		if left, _ := filepath.Glob(filepath.Join(c.model, ".shira", "*.hot")); len(left) > 0 {
			hot++
		}
		got := c.recovered(fmt.Sprintf("kill %d, from %s to %s", i, state, to))
		switch {
		case got == to:
			new++
		case got == state && !done:
			old++
		default:
			t.Fatalf("kill %d: from %s to %s is %s", i, state, to, got)
		}
		state = got
	}
	c.finish()
	t.Logf("200 kills: %d times the old state, %d times the new one; %d times weights were being written", old, new, hot)
}

// inject runs commands with a fault in each call of the given kinds in turn: an I/O error, a full disk, a kill. before makes
// ready and returns a command; after looks at what it left. It returns how many faults there were.
func inject(t *testing.T, calls []string, before func(when int) []string, after func(context string, code int, killed bool, out string)) int {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	t.Setenv("GOMAXPROCS", "1") // calls are counted for each thread
	log := filepath.Join(t.TempDir(), "strace")
	total := 0
	for _, call := range calls {
		for _, fault := range []string{"error=EIO", "error=ENOSPC", "signal=KILL"} {
			n := 0
			for when, missed := 1, 0; when < 60 && missed < 3; when++ {
				command := before(when)
				code, out := exitCode(append([]string{"strace", "-f", "-qq", "-o", log, "-e", "trace=" + call,
					"-e", fmt.Sprintf("inject=%s:%s:when=%d", call, fault, when)}, command...)...)
				text, err := os.ReadFile(log)
				if err != nil {
					t.Fatal(err)
				}
				killed := strings.Contains(string(text), "killed by SIGKILL")
				if missed++; killed || strings.Contains(string(text), "INJECTED") {
					n, missed = n+1, 0
				}
				after(fmt.Sprintf("%s of the %d. %s, exit code %d", fault, when, call, code), code, killed, out)
			}
			t.Logf("%-15s %-12s %3d times", call, fault, n)
			total += n
		}
	}
	return total
}

// TestCrashInjected makes every call of a switch that reads or changes files fail.
func TestCrashInjected(t *testing.T) {
	c := newCrashed(t, t.TempDir())
	from, to := "a", ""
	before := func(when int) []string {
		if code, out := c.run(from); code != 0 {
			t.Fatalf("to %s: %d: %s", from, code, out)
		}
		to = []string{"b", "base", "low"}[when%3]
		return c.command(to)
	}
	after := func(context string, code int, killed bool, out string) {
		got := c.recovered(context)
		if got != from && got != to || code == 0 && got != to {
			t.Errorf("%s: from %s to %s is %s", context, from, to, got)
		}
		if !killed && code != 0 && code != 5 {
			t.Errorf("%s: %s", context, out)
		}
	}
	n := inject(t, []string{"pwrite64", "fsync", "fdatasync", "renameat", "unlinkat", "openat", "pread64"}, before, after)
	c.finish()
	t.Logf("%d faults", n)
	if n < 100 {
		t.Errorf("only %d faults", n)
	}
}

// TestCrashRecovers kills a switch while it writes weights, and then makes every call of the recovery fail: the next one ends it.
func TestCrashRecovers(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	c := newCrashed(t, t.TempDir())
	t.Setenv("GOMAXPROCS", "1") // calls are counted for each thread
	killed := filepath.Join(c.dir, "killed")
	for _, way := range [][2]string{{"a", "b"}, {"low", "base"}, {"base", "a"}} {
		from, to := way[0], way[1]
		for when := 1; ; when++ {
			c.run(from)
			old := c.sum()
			inject := fmt.Sprintf("inject=pwrite64:signal=KILL:when=%d", when)
			if code, out := exitCode(append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", inject}, c.command(to)...)...); code == 0 {
				t.Fatalf("from %s to %s: it was never killed while weights were written: %s", from, to, out)
			}
			if hot, err := filepath.Glob(filepath.Join(c.model, ".shira", "*.hot")); err == nil && len(hot) == 1 && c.sum() != old {
				break
			}
		}
		c.check(os.RemoveAll(killed))
		c.check(os.CopyFS(killed, os.DirFS(c.model)))
		before := func(int) []string {
			c.check(os.RemoveAll(c.model))
			c.check(os.CopyFS(c.model, os.DirFS(killed)))
			return []string{c.shira, "switch", c.model, "--recover"}
		}
		after := func(context string, code int, killed bool, out string) {
			if got := c.recovered(context); got != from {
				t.Errorf("%s: from %s to %s is %s", context, from, to, got)
			}
			if !killed && code != 0 && code != 5 {
				t.Errorf("%s: %s", context, out)
			}
		}
		n := inject(t, []string{"pwrite64", "fsync", "fdatasync", "unlinkat", "openat", "pread64"}, before, after)
		c.finish()
		t.Logf("from %s to %s: %d faults", from, to, n)
		if n < 30 {
			t.Errorf("from %s to %s: only %d faults", from, to, n)
		}
	}
}

// TestCrashSaves does that to the saving of a fused model over an older one: what is there is always one of them, whole, and
// nothing is left beside it but by a kill, and that only until the next run.
func TestCrashSaves(t *testing.T) {
	c := newCrashed(t, t.TempDir())
	out := filepath.Join(c.dir, "fused")
	fuse := func(adapter string) []string {
		return []string{c.shira, "fuse", c.model, filepath.Join(c.dir, adapter+".st"), "-o", out, "--force"}
	}
	digest := func() string {
		code, text := exitCode("sh", "-c", "cd "+out+" && sha256sum *")
		if code != 0 {
			return text
		}
		return text
	}
	whole := map[string]string{}
	for _, name := range []string{"a", "b"} {
		if code, text := exitCode(fuse(name)...); code != 0 {
			t.Fatal(text)
		}
		whole[digest()] = name
	}
	leftBehind := func() []string {
		left, err := filepath.Glob(out + ".tmp-*")
		c.check(err)
		return left
	}
	before := func(int) []string {
		if code, text := exitCode(fuse("a")...); code != 0 {
			t.Fatal(text)
		}
		if left := leftBehind(); len(left) > 0 {
			t.Fatalf("a whole run leaves %v", left)
		}
		return fuse("b")
	}
	after := func(context string, code int, killed bool, text string) {
		got := whole[digest()]
		if got == "" || code == 0 && got != "b" {
			t.Errorf("%s: what is there is %q of %d", context, got, len(whole))
		}
		if !killed && code != 0 && code != 5 {
			t.Errorf("%s: %s", context, text)
		}
		if left := leftBehind(); len(left) > 0 && !killed && code != 0 {
			t.Logf("%s: left behind: %v", context, left)
		}
	}
	n := inject(t, []string{"write", "pwrite64", "copy_file_range", "fsync", "fdatasync", "renameat2", "ftruncate", "mkdirat"}, before, after)
	t.Logf("%d faults", n)
	if n < 20 {
		t.Errorf("only %d faults", n)
	}
}

// TestCrashTogether switches from several processes at once, while others read: each reader sees a whole state, or is told
// to wait.
func TestCrashTogether(t *testing.T) {
	c := newCrashed(t, t.TempDir())
	fingerprints := map[string]string{}
	fingerprint := func() (int, string) {
		out, err := exec.Command(c.shira, "inspect", c.model, "--json").Output()
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			return e.ExitCode(), ""
		}
		var o struct{ Fingerprint string }
		if err := json.Unmarshal(out, &o); err != nil {
			return -1, err.Error()
		}
		return 0, o.Fingerprint
	}
	for _, name := range c.names() {
		c.run(name)
		_, f := fingerprint()
		fingerprints[f] = name
	}
	var mu sync.Mutex
	codes := map[string]int{}
	count := func(what string, code int) {
		mu.Lock()
		defer mu.Unlock()
		codes[fmt.Sprintf("%s: exit code %d", what, code)]++
		if code != 0 && code != 6 {
			t.Errorf("%s: exit code %d", what, code)
		}
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			g := rand.New(rand.NewPCG(uint64(worker), 3))
			for range 25 {
				if worker%2 == 0 {
					code, _ := c.run(c.names()[g.IntN(4)])
					count("switch", code)
					continue
				}
				code, f := fingerprint()
				count("read", code)
				if _, whole := fingerprints[f]; code == 0 && !whole {
					t.Errorf("a reader saw a mixture: %s", f)
				}
			}
		})
	}
	group.Wait()
	c.recovered("together")
	c.finish()
	t.Log(codes)
}

// TestCrashNoRoom switches on a small file system that is full, and on one that is read-only: nothing changes.
func TestCrashNoRoom(t *testing.T) {
	dir := t.TempDir()
	newCrashed(t, dir)
	if out, err := exec.Command("unshare", "-rm", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces here: %s", out)
	}
	for _, setup := range []string{
		"dd if=/dev/zero of=fill bs=4k 2>/dev/null || true",
		"dd if=/dev/zero of=fill bs=4k 2>/dev/null || truncate -s -16k fill",
		"mount -o remount,ro .",
	} {
		script := fmt.Sprintf(`set -e; mkdir -p %[1]s/small; mount -t tmpfs -o size=64m none %[1]s/small; cd %[1]s/small
			cp -r %[1]s/model .; cp %[1]s/*.st .; before=$(sha256sum model/*); %[2]s
			code=0; %[1]s/shira switch model --to low.st || code=$?
			[ "$(sha256sum model/*)" = "$before" ] || { echo changed; exit 99; }
			[ -z "$(ls model/.shira | grep -v lock)" ] || { echo left behind; exit 98; }
			exit $code`, dir, setup)
		code, out := exitCode("unshare", "-rm", "sh", "-c", script)
		if code != 5 {
			t.Errorf("%s: exit code %d: %s", setup, code, out)
		}
		t.Logf("%s: %s", setup, strings.TrimSpace(out))
	}
}
