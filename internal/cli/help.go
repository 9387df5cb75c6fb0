package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/fault"
	"shira/internal/spell"
)

// writeHelp prints the help of a command, which ends with its exit codes.
func writeHelp(w io.Writer, cmd *cobra.Command) {
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	fmt.Fprintf(w, "%s\n\nUSAGE\n  %s\n", strings.TrimSpace(text), cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		var b strings.Builder
		t := &table{left: []bool{true, true}}
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				t.add(c.Name(), c.Short)
			}
		}
		t.write(&b)
		fmt.Fprintf(w, "\nCOMMANDS\n%s", b.String())
	}
	if !cmd.HasParent() {
		t := &table{left: []bool{true, true}}
		for _, topic := range topics {
			t.add(topic.name, topic.short)
		}
		fmt.Fprint(w, "\nHELP TOPICS (shira help TOPIC)\n")
		t.write(w)
	}
	if f := cmd.NonInheritedFlags(); f.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFLAGS\n%s", f.FlagUsages())
	}
	if f := cmd.InheritedFlags(); f.HasAvailableFlags() {
		fmt.Fprintf(w, "\nGLOBAL FLAGS\n%s", f.FlagUsages())
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nEXAMPLES\n%s\n", cmd.Example)
	}
	codes := cmd.Annotations[exitAnnotation]
	if codes == "" {
		codes = exitStatus(fault.Internal, fault.Usage, fault.Environment)
	}
	fmt.Fprintf(w, "\nEXIT STATUS\n%s", codes)
}

// newHelpCmd replaces cobra's, which succeeds for a topic that does not exist.
func newHelpCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Help on a command or a topic",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				for _, t := range topics {
					if t.name == args[0] {
						fmt.Fprint(a.stdout, t.text())
						return nil
					}
				}
			}
			return helpOn(a, cmd.Root(), args)
		},
	}
}

func helpOn(a *app, root *cobra.Command, args []string) error {
	target, rest, err := root.Find(args)
	if err == nil && len(rest) == 0 {
		writeHelp(a.stdout, target)
		return nil
	}
	names := make([]string, 0, len(topics))
	for _, t := range topics {
		names = append(names, t.name)
	}
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	e := fault.New(fault.Usage, "", "no help on %s", fault.Quote(strings.Join(args, " ")))
	if meant, ok := spell.Nearest(args[0], names); ok {
		return e.WithHint("did you mean `shira help %s`?", meant)
	}
	return e.WithHint("`shira help` lists commands and topics")
}
