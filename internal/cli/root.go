package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"shira/internal/buildinfo"
	"shira/internal/fault"
	"shira/internal/kernel"
	"shira/internal/spell"
)

const about = `shira fine-tunes, fuses, switches and evaluates sparse adapters of safetensors checkpoints.

BASE and MODEL are a safetensors file or a Hugging Face directory. ADAPTER is a
safetensors file that stands alone or a PEFT directory; ADAPTER@0.5 applies it
at half its strength.`

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:               "shira COMMAND",
		Short:             "Fine-tune, fuse, switch and evaluate sparse adapters of safetensors checkpoints",
		Long:              about,
		Version:           buildinfo.Version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              subcommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: a.prepare,
		Annotations:       map[string]string{exitAnnotation: exitStatus()},
	}
	root.CompletionOptions.DisableDefaultCmd = true // its errors are successes
	root.SetVersionTemplate("shira {{.Version}}\n")
	f := root.PersistentFlags()
	f.SortFlags = false
	f.BoolP("quiet", "q", false, "print results and errors only")
	f.BoolP("verbose", "v", false, "print more on what happens")
	f.String("log-format", "text", "progress and errors on stderr as `text|json`")
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(a.stdout, cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error { writeHelp(a.stderr, cmd); return nil })
	root.SetFlagErrorFunc(flagError)
	for _, newCmd := range commands {
		root.AddCommand(newCmd(a))
	}
	root.SetHelpCommand(newHelpCmd(a))
	return root
}

// prepare runs before every command, when its flags and arguments have been read.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	flags := cmd.Flags()
	formatName := variableOf("log-format")
	if flags.Changed("log-format") {
		formatName = "--log-format"
	}
	if err := fromEnvironment(flags, "quiet", "verbose", "log-format"); err != nil {
		return err
	}
	// The flags are there and of these types: newRootCmd made them.
	quiet, _ := flags.GetBool("quiet")
	verbose, _ := flags.GetBool("verbose")
	format, _ := flags.GetString("log-format")
	level := slog.LevelInfo
	switch {
	case quiet && verbose:
		return fault.New(fault.Usage, "", "--quiet and --verbose together")
	case quiet:
		level = slog.LevelError
	case verbose:
		level = slog.LevelDebug
	}
	if format != "text" && format != "json" {
		return fault.New(fault.Usage, "", "%s: want text or json, got %s", formatName, fault.Quote(format))
	}
	if err := kernel.Check(); err != nil {
		return fault.Wrap(fault.Usage, "", err, "kernels")
	}
	a.log.configure(level, format == "json")
	a.running = true
	return nil
}

// subcommand is the Args of a command that only has others below it.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	e := fault.New(fault.Usage, "", "unknown command %s", fault.Quote(args[0]))
	if meant, ok := spell.Nearest(args[0], names); ok {
		return e.WithHint("did you mean `%s %s`?", cmd.CommandPath(), meant)
	}
	return e.WithHint("`%s --help` lists the commands", cmd.CommandPath())
}

// arguments is the Args of a command with at least low and at most high (-1: any number of) arguments, called usage.
func arguments(low, high int, usage string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= low && (high < 0 || len(args) <= high) {
			return nil
		}
		e := fault.New(fault.Usage, "", "want %s, got %s", usage, plural(len(args), "argument"))
		if high >= 0 && len(args) > high {
			e = fault.New(fault.Usage, "", "unexpected argument %s: want %s", fault.Quote(args[high]), usage)
		}
		return e.WithHint("`%s --help` explains the arguments", cmd.CommandPath())
	}
}

// outputNamed refuses an empty --output, most likely a variable of a script that is not set.
func outputNamed(cmd *cobra.Command, out string) error {
	if out == "" && cmd.Flags().Changed("output") {
		return fault.New(fault.Usage, "", "--output: want a path, got \"\"")
	}
	return nil
}

// flagError explains a flag that cannot be read.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := e.GetSpecifiedName()
		if len(name) == 1 {
			return fault.New(fault.Usage, "", "unknown flag -%s", name).WithHint("`%s --help` lists the flags", cmd.CommandPath())
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		out := fault.New(fault.Usage, "", "unknown flag %s", fault.Quote("--"+name))
		if meant, ok := spell.Nearest(name, names); ok {
			return out.WithHint("did you mean --%s?", meant)
		}
		return out.WithHint("`%s --help` lists the flags", cmd.CommandPath())
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := e.GetFlag()
		return fault.New(fault.Usage, "", "--%s: want %s, got %s", f.Name, wanted(f), fault.Quote(e.GetValue()))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fault.New(fault.Usage, "", "--%s needs a value", e.GetFlag().Name)
	}
	return fault.New(fault.Usage, "", "%s", strings.TrimSpace(err.Error()))
}

// wanted says which values a flag takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int":
		return "a whole number"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	}
	return "a text"
}

func plural(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%s %ss", commas(int64(n)), what)
}
