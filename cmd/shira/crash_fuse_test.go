package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/testmodel"
)

// inMemory puts the test's files into memory, where syncs cost nothing, if there is such a place.
func inMemory(t *testing.T) {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}

// TestCrashPowerFuse crashes at each call of a fusion over an older output that changes files, by a kill and by losing power:
// what is there is the old output or the new one.
func TestCrashPowerFuse(t *testing.T) {
	inMemory(t)
	dir := t.TempDir()
	shira := buildShira(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(testmodel.Write(at("base"), 1, checkpoint.F32))
	for i, name := range []string{"a.st", "b.st", "low.st"} {
		check(randomAdapter(at("base"), at(name), name == "low.st", uint64(i)))
	}
	for _, c := range []struct {
		name     string
		old, new []string // arguments
		out      string
	}{
		{"a model", []string{at("base"), at("a.st")}, []string{at("base"), at("b.st")}, "out"},
		{"a file", []string{at("base/model.safetensors"), at("a.st")}, []string{at("base/model.safetensors"), at("b.st")}, "out.st"},
		{"an adapter", []string{at("base"), at("low.st"), "--adapter-only"}, []string{at("base"), at("a.st"), at("b.st"), "--adapter-only"}, "out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			work := t.TempDir()
			command := func(args []string) []string {
				return append([]string{"env", "-C", work, shira, "fuse", "-q", "--force", "-o", c.out}, args...)
			}
			outputs := map[string]string{} // old or new by what is there
			tensors := map[string]bool{}
			for name, args := range map[string][]string{"old": c.old, "new": c.new} {
				if code, text := exitCode(command(args)...); code != 0 {
					t.Fatal(text)
				}
				outputs[fmt.Sprint(tree(t, work))] = name
				tensors[tree(t, work)["out/"+adapter.TensorsFile]] = true
			}
			if code, text := exitCode(command(c.old)...); code != 0 {
				t.Fatal(text)
			}
			d := newDisk(t, work)
			calls := d.record(command(c.new)...)
			points, states := d.crashes(calls, func(context, state string, done bool) {
				left := tree(t, state)
				for name := range left {
					beside, _, withdrawn := strings.Cut(name, ".old-") // of no account where what replaced it is there
					if _, replaced := left[beside]; strings.Contains(name, ".tmp-") || withdrawn && replaced {
						delete(left, name)
					}
				}
				got := outputs[fmt.Sprint(left)]
				if _, config := left["out/"+adapter.ConfigFile]; c.name == "an adapter" && !config && tensors[left["out/"+adapter.TensorsFile]] {
					got = "alone" // as either's tensors do
					if _, err := adapter.Load(filepath.Join(state, "out")); err != nil {
						t.Errorf("%s: %v", context, err)
					}
				}
				if got == "" || done && got != "new" {
					t.Errorf("%s: what is there is neither old nor new: %q", context, keys(left))
				}
			})
			t.Logf("%d calls, %d states", points, states)
			if points < 8 || states < 8 {
				t.Errorf("only %d calls and %d states", points, states)
			}
		})
	}
}
