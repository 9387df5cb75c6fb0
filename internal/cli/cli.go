// Package cli is the command line: one file for each command, which parses flags, calls the package that does the work, and
// prints. Nothing below this package knows of flags, environment variables, terminals or exit codes.
package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"shira/internal/fault"
)

// app is what commands share: the streams and how to talk to the user.
type app struct {
	stdin  io.Reader
	stdout *bufio.Writer // results; its first write error is reported in the end
	stderr io.Writer
	log    *logger

	colourOut bool // stdout takes colours

	asJSON  bool // the command was given --json
	running bool // flags and arguments are understood: errors are no longer about them
}

// Main runs the command line args, without the program's name, and returns the exit code for the process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	a := &app{stdin: stdin, stdout: bufio.NewWriter(stdout), stderr: stderr, log: newLogger(stderr),
		colourOut: takesColours(stdout)}
	defer func() {
		if v := recover(); v != nil {
			code = a.panicked(v)
		}
	}()
	ctx, stop := withSignals(context.Background())
	defer stop()

	root := newRootCmd(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(stderr)
	a.asJSON = wantsJSON(args) // these two also for errors in the flags themselves
	a.log.configure(slog.LevelInfo, wantsRecords(args))
	err := root.ExecuteContext(ctx)
	if e := a.stdout.Flush(); e != nil && err == nil {
		err = fault.Wrap(fault.Environment, "", e, "cannot write the standard output")
	}
	if err == nil {
		return 0
	}
	if stop, ok := errors.AsType[*fault.Error](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) {
		err = stop.WithHint("%s", fault.HintOf(err))
	}
	if _, known := errors.AsType[*fault.Error](err); !known && !a.running {
		err = fault.Wrap(fault.Usage, "", err, "usage")
	}
	return a.fail(err)
}

// withSignals returns a context that SIGINT, SIGTERM and SIGHUP cancel, with a fault of their kind as the cause. A second
// signal ends the process at once, but for a SIGHUP after another: a closing terminal may send several.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup asks for
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-ctx.Done():
		case s := <-signals:
			if s == syscall.SIGHUP {
				signal.Ignore(syscall.SIGHUP)
			}
			signal.Stop(signals)
			if s == os.Interrupt {
				cancel(fault.New(fault.Interrupted, "", "interrupted"))
			} else {
				cancel(fault.New(fault.Terminated, "", "terminated"))
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// commands are the program's commands, in the order of the help.
var commands = []func(*app) *cobra.Command{
	newTrainCmd,
	newDataCmd,
	newEvalCmd,
	newFuseCmd,
	newMaskCmd,
	newSwitchCmd,
	newFreezeGateCmd,
	newInspectCmd,
	newDiffCmd,
	newExtractCmd,
	newConvertCmd,
	newConfigCmd,
	newVersionCmd,
	newCompletionCmd,
}
