package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"shira/internal/checkpoint"
	"shira/internal/testmodel"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"shira": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script/*.txtar. Besides testscript's own commands there are
//
//	exits CODE COMMAND…   run a command that must end with that code
//	keep PATH…            remember a file, or all files of a directory
//	kept PATH…            each must be as it was remembered
//	tinymodel DIR [DTYPE] make a tiny Llama with random weights
//	repeat N FILE TEXT    make a file of N lines
func TestScripts(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) { // as under nohup: commands would ignore it too, and one script waits for it
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		t.Cleanup(func() { signal.Stop(hangups) })
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[keptKey{}] = map[string][]byte{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exitsCmd,
			"keep":      keepCmd,
			"kept":      keptCmd,
			"tinymodel": tinyModelCmd,
			"repeat":    repeatCmd,
		},
	})
}

func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

type keptKey struct{}

func keepCmd(ts *testscript.TestScript, neg bool, args []string) {
	kept := ts.Value(keptKey{}).(map[string][]byte)
	for path, data := range readAll(ts, args) {
		kept[path] = data
	}
}

func keptCmd(ts *testscript.TestScript, neg bool, args []string) {
	kept := ts.Value(keptKey{}).(map[string][]byte)
	now := readAll(ts, args)
	for path, data := range now {
		if before, ok := kept[path]; !ok {
			ts.Fatalf("%s is new", path)
		} else if !bytes.Equal(before, data) {
			ts.Fatalf("%s has changed", path)
		}
	}
	for path := range kept {
		for _, arg := range args {
			root := ts.MkAbs(arg)
			if _, ok := now[path]; !ok && (path == root || strings.HasPrefix(path, root+string(filepath.Separator))) {
				ts.Fatalf("%s is gone", path)
			}
		}
	}
}

// readAll returns the content of all files at and below the paths.
func readAll(ts *testscript.TestScript, paths []string) map[string][]byte {
	files := map[string][]byte{}
	for _, p := range paths {
		ts.Check(filepath.WalkDir(ts.MkAbs(p), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files[path], err = os.ReadFile(path)
			return err
		}))
	}
	return files
}

func tinyModelCmd(ts *testscript.TestScript, neg bool, args []string) {
	dtype := checkpoint.F32
	if len(args) == 2 {
		var ok bool
		if dtype, ok = checkpoint.ParseDType(args[1]); !ok {
			ts.Fatalf("no dtype %s", args[1])
		}
	}
	ts.Check(testmodel.Write(ts.MkAbs(args[0]), 1, dtype))
}

func repeatCmd(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Repeat(args[2]+"\n", n)), 0o666))
}
