package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"shira/internal/fault"
	"shira/internal/kernel"
)

// run runs a command line in this process.
func run(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// withCommand adds a command for the time of a test.
func withCommand(t *testing.T, do func() error) {
	before := commands
	t.Cleanup(func() { commands = before })
	commands = append(slices.Clone(before), func(*app) *cobra.Command {
		return &cobra.Command{Use: "probe", RunE: func(*cobra.Command, []string) error { return do() }}
	})
}

func TestPanicIsAnInternalError(t *testing.T) {
	withCommand(t, func() error { panic("seven\nbad\x1b[31m things") })
	code, stdout, stderr := run("probe")
	if code != 1 || stdout != "" {
		t.Errorf("code %d, stdout %q", code, stdout)
	}
	want := "shira: internal error: seven; bad\\x1b[31m things\nhint: this is a defect of shira; SHIRA_DEBUG=1 prints where it happened\n"
	if stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	t.Setenv("SHIRA_DEBUG", "1")
	if _, _, stderr := run("probe"); !strings.Contains(stderr, "goroutine") || !strings.Contains(stderr, "cli_test.go") {
		t.Errorf("no stack: %q", stderr)
	}
}

func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		code int
		line string
	}{
		"fault":         {fault.New(fault.Malformed, "a.st", "is broken"), 3, "shira: a.st: is broken\n"},
		"hint":          {fault.New(fault.Locked, "m", "is busy").WithHint("wait"), 6, "shira: m: is busy\nhint: wait\n"},
		"unknown error": {os.ErrClosed, 1, "shira: file already closed\n"},
		"unknown kind":  {fault.New(fault.Kind(77), "", "what"), 1, "shira: what\n"},
	} {
		t.Run(name, func(t *testing.T) {
			withCommand(t, func() error { return tt.err })
			code, _, stderr := run("probe")
			if code != tt.code || stderr != tt.line {
				t.Errorf("code %d, stderr %q", code, stderr)
			}
		})
	}
}

func TestErrorObject(t *testing.T) {
	_, _, stderr := run("inspect", "no<such>file", "--json", "--log-format", "json")
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	var last struct {
		Error struct {
			Code                int
			Kind, Message, Hint string
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if e := last.Error; e.Code != 5 || e.Kind != "environment" || !strings.HasPrefix(e.Message, "no<such>file: ") {
		t.Errorf("got %+v", e)
	}
}

func TestStatuses(t *testing.T) {
	seen := map[int]bool{0: true}
	for _, s := range statuses {
		if seen[s.code] || s.code != int(s.kind) || s.name == "" || s.meaning == "" {
			t.Errorf("bad status %+v", s)
		}
		seen[s.code] = true
	}
	for _, code := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143} {
		if !seen[code] {
			t.Errorf("exit code %d is missing", code)
		}
	}
}

// TestCommands holds every command of the table to the house's habits.
func TestCommands(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("short help %q", cmd.Short)
			}
			if cmd.Args == nil {
				t.Error("does not say which arguments it takes")
			}
			args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
			code, stdout, stderr := run(args...)
			sections := strings.Split(stdout, "\n\n")
			if code != 0 || stderr != "" || !strings.HasPrefix(sections[len(sections)-1], "EXIT STATUS\n    0  success\n") {
				t.Errorf("code %d, stderr %q, stdout %q", code, stderr, stdout)
			}
			for _, line := range strings.Split(stdout, "\n") {
				if !strings.HasPrefix(line, "      --") && len([]rune(line)) > 120 {
					t.Errorf("a line of %d characters: %s", len(line), line)
				}
			}
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	for _, newCmd := range commands {
		root := &cobra.Command{Use: "shira"}
		cmd := newCmd(&app{})
		root.AddCommand(cmd)
		walk(cmd)
		if _, err := os.Stat(filepath.Join("testdata", "script", cmd.Name()+".txtar")); err != nil {
			t.Errorf("%s has no script test: %v", cmd.Name(), err)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	got := unknownVariables([]string{"HOME=/", "SHIRA_SEED=1", "SHIRA_DEBUG=1", "SHIRA_SEDE=2", "SHIRAZ=1", "SHIRA_FROBNICATE="})
	want := []string{
		`environment variable "SHIRA_SEDE" stands for nothing; did you mean SHIRA_SEED?`,
		`environment variable "SHIRA_FROBNICATE" stands for nothing`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestKernelIsListed holds the help to the kernels there are, of which a machine shows one.
func TestKernelIsListed(t *testing.T) {
	_, stdout, _ := run("help", "environment")
	if i := strings.Index(stdout, "SHIRA_KERNEL"); i < 0 || !strings.Contains(strings.SplitN(stdout[i:], "\n", 2)[0], kernel.Features()) {
		t.Errorf("SHIRA_KERNEL=%s is not listed: %s", kernel.Features(), stdout)
	}
}

func BenchmarkHelp(b *testing.B) {
	for b.Loop() {
		run("--help")
	}
}
