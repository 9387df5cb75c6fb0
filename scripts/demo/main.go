// Command demo makes the demo world of shira: the village of Little Wobble, the text that the demo base is trained on, the
// tasks that adapters of it learn, its tokenizer and its initial weights. Equal seeds give equal files.
//
//	go run ./scripts/demo world  --print 5            # look at samples of everything
//	go run ./scripts/demo corpus --out build/demo     # train.jsonl, validation.jsonl
//	go run ./scripts/demo init   --out build/demo/init # tokenizer, config and random weights
//	go run ./scripts/demo tasks  --out demo/tasks     # the committed task data
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"shira/internal/fault"
)

// command is one of the program's commands.
type command struct {
	name, does string
	out        string // default of --out; "" when it writes no files
	run        func(options, io.Writer) error
}

var commands = []command{
	{"world", "print the people and samples of all texts", "", runWorld},
	{"corpus", "write the base's training and validation text", "build/demo", runCorpus},
	{"init", "write the base's tokenizer, configuration and random weights", "build/demo/init", runInit},
	{"tasks", "write the tasks' training and test data", "demo/tasks", runTasks},
}

// options are the flags of all commands.
type options struct {
	seed  uint64
	out   string
	print int
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(int(fault.KindOf(err)))
	}
}

// run executes the command that args name.
func run(args []string, w io.Writer) error {
	var names []string
	for _, c := range commands {
		if len(args) > 0 && args[0] == c.name {
			return c.execute(args[1:], w)
		}
		names = append(names, c.name)
	}
	return fault.New(fault.Usage, "", "give one of the commands %s", strings.Join(names, ", "))
}

func (c command) execute(args []string, w io.Writer) error {
	var o options
	flags := flag.NewFlagSet("demo "+c.name, flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", 42, "seed of everything")
	if c.out != "" {
		flags.StringVar(&o.out, "out", c.out, "`folder` to write to")
	} else {
		flags.IntVar(&o.print, "print", 3, "samples of each kind")
	}
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(w)
		fmt.Fprintf(w, "demo %s: %s\n", c.name, c.does)
		flags.PrintDefaults()
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Usage, "", err, "%s", c.name)
	}
	if flags.NArg() > 0 {
		return fault.New(fault.Usage, "", "%s: unexpected argument %s", c.name, fault.Quote(flags.Arg(0)))
	}
	return c.run(o, w)
}
