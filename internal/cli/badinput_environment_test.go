//go:build unix

package cli

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestBadEnvironment: the system refuses.
func TestBadEnvironment(t *testing.T) {
	long := strings.Repeat("n", 300)
	writers := func(path string) string {
		return "fuse base out -o " + path + "\nmask base --mask wm --density 0.1 -o " + path + "\nconfig init -o " + path
	}
	locked := func(dir string) func(*world) {
		return func(w *world) {
			if os.Geteuid() == 0 {
				w.t.Skip("nothing is forbidden to root")
			}
			w.must(os.Chmod(dir, 0o500))
			w.t.Cleanup(func() { w.must(os.Chmod(dir, 0o755)) })
		}
	}
	unreadable := func(path string) func(*world) {
		return func(w *world) {
			if os.Geteuid() == 0 {
				w.t.Skip("nothing is forbidden to root")
			}
			w.must(os.Chmod(path, 0))
			w.t.Cleanup(func() { w.must(os.Chmod(path, 0o644)) })
		}
	}
	runBad(t, "", []bad{
		{"output in a directory that is not there", nil, 5, "no such file or directory", writers("no/such/place")},
		{"output below a file", nil, 5, "not a directory", writers("train.jsonl/new")},
		{"name that is too long", nil, 5, "file name too long", writers(long)},
		{"file where a directory is to be", func(w *world) { w.write("new", "mine") }, 5, "new", "train --config run.yaml"},
		{"run below a file", nil, 5, "not a directory", "train --config run.yaml --set output_dir=train.jsonl/new"},
		{"directory where a file is to be", func(w *world) { w.must(os.Mkdir("new", 0o755)) }, 5, "new", "mask base --mask wm --density 0.1 --force -o new\nconfig init --force -o new"},
		{"FIFO where a file is to be", func(w *world) { w.must(syscall.Mkfifo("new", 0o644)) }, 5, "new", "mask base --mask wm --density 0.1 --force -o new\nconfig init --force -o new"},
		{"output that exists", func(w *world) { w.write("new", "mine") }, 2, "new", "mask base --mask wm --density 0.1 -o new\nconfig init -o new\nfuse base out -o new"},
		{"model that is absent", nil, 5, "absent: ", "inspect absent\neval absent --data train.jsonl\nfuse absent out\ndiff absent base\ntrain --config run.yaml --set model_name_or_path=absent"},
		{"model below a file", nil, 5, "not a directory", "inspect train.jsonl/base\nfuse train.jsonl/base out -o new"},
		{"links in a circle", func(w *world) { w.must(os.Symlink("a", "b")); w.must(os.Symlink("b", "a")) }, 5, "too many", "inspect a\nfuse a out -o new\neval base --data a"},
		{"device", nil, 3, "/dev/null", "inspect /dev/null\nfuse base /dev/null -o new\nmask compare /dev/null out"},
		{"endless device", nil, 3, "/dev/zero", "inspect /dev/zero\neval base --data /dev/zero\nfuse base /dev/zero -o new"},
		{"directory that nobody may write to", locked("."), 5, "permission denied", "fuse base out -o new\ntrain --config run.yaml\nmask base --mask wm --density 0.1 -o new.st"},
		{"weights that nobody may read", unreadable("base/model.safetensors"), 5, "permission denied", "inspect base\neval base --data train.jsonl\nfuse base out -o new"},
		{"data that nobody may read", unreadable("train.jsonl"), 5, "permission denied", "train --config run.yaml\neval base --data train.jsonl"},
		{"variable of a wrong type", func(w *world) { w.t.Setenv("SHIRA_SEED", "x") }, 2, "SHIRA_SEED: seed: want a whole number", "train --config run.yaml\nconfig validate run.yaml"},
		{"flag of a wrong type", nil, 2, "--max-perplexity: want a number, got", "eval base --data train.jsonl --max-perplexity low"},
		{"flag that is not there", nil, 2, `unknown flag "--frobnicate"`, "train --frobnicate\nfuse base out --frobnicate\ninspect base --frobnicate"},
		{"command that is not there", nil, 2, "unknown command", "trian\nconfig frob"},
		{"too few arguments", nil, 2, "want ", "fuse base\ninspect\neval\ndiff base\nmask compare out"},
		{"too many arguments", nil, 2, "unexpected argument", "inspect base out\ntrain run.yaml\ndiff base base base"},
	})
}

// TestFullStandardOutput wants exit code 5 where a result cannot be printed.
func TestFullStandardOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	defer full.Close()
	t.Chdir(makeWorld(t))
	for _, line := range []string{
		"version", "inspect base", "inspect base --json", "eval base --data train.jsonl", "mask base --mask wm --density 0.1",
		"mask compare out out", "diff base base", "config init", "config show run.yaml", "train --config run.yaml --dry-run", "help formats",
	} {
		var stderr bytes.Buffer
		if code := Main(strings.Fields(line), strings.NewReader(""), full, &stderr); code != 5 || !strings.Contains(stderr.String(), "standard output") {
			t.Errorf("%s: exit code %d: %s", line, code, stderr.String())
		}
	}
}
