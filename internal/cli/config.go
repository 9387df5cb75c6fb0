package cli

import (
	"io"

	"github.com/spf13/cobra"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// maxConfig bounds a configuration file; real ones have a few kilobytes.
const maxConfig = 1 << 20

func newConfigCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:         "config",
		Short:       "Start, check and show training configurations",
		Args:        subcommand,
		RunE:        func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Annotations: exits(),
	}
	cmd.AddCommand(newConfigInitCmd(a), newConfigValidateCmd(a), newConfigShowCmd(a))
	return cmd
}

// readConfig reads a configuration file, or the standard input for "-".
func (a *app) readConfig(path string) ([]byte, error) {
	if path != "-" {
		return fsx.ReadFile(path, maxConfig)
	}
	data, err := io.ReadAll(io.LimitReader(a.stdin, maxConfig+1))
	if err != nil {
		return nil, fault.Wrap(fault.Environment, "", err, "cannot read the standard input")
	}
	if len(data) > maxConfig {
		return nil, fault.New(fault.Usage, "standard input", "is longer than the %d bytes that are accepted", maxConfig)
	}
	return data, nil
}

// addConfigFlags gives a command --config and --set.
func addConfigFlags(cmd *cobra.Command, path *string, sets *[]string) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(path, "config", "c", "", "configuration `FILE`; - is the standard input")
	f.StringArrayVar(sets, "set", nil, "`KEY=VALUE` in place of the file's; may be repeated")
}

// configPath returns the one file that is given as an argument or by --config.
func configPath(cmd *cobra.Command, flag string, args []string) (string, error) {
	switch {
	case flag != "" && len(args) > 0:
		return "", fault.New(fault.Usage, "", "two configurations: %s and %s", fault.Quote(flag), fault.Quote(args[0]))
	case flag != "":
		return flag, nil
	case len(args) > 0:
		return args[0], nil
	}
	return "", fault.New(fault.Usage, "", "want a configuration file").
		WithHint("`%s run.yaml`; `shira config init` prints one to start from", cmd.CommandPath())
}
