package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"shira/internal/fault"
)

type configOptions struct {
	path   string
	sets   []string
	asJSON bool
}

func newConfigValidateCmd(a *app) *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration and list everything that is wrong",
		Long: `Check a configuration: unknown keys, wrong types, values out of bounds, keys that
contradict each other. Everything that is wrong is in one error, with file and line.
The model and the data are not looked at; ` + "`shira train --dry-run`" + ` does that.`,
		Args:        arguments(0, 1, "one FILE"),
		Annotations: exits(fault.Malformed),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.path, err = configPath(cmd, o.path, args); err != nil {
				return err
			}
			return runConfigValidate(a, o)
		},
	}
	addConfigFlags(cmd, &o.path, &o.sets)
	addJSON(cmd, &o.asJSON)
	return cmd
}

func runConfigValidate(a *app, o configOptions) error {
	r, err := a.loadConfig(o.path, o.sets)
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(map[string]any{"valid": true, "path": o.path, "method": r.Method})
	}
	fmt.Fprintf(a.stdout, "%s: valid\n", oneLine(o.path))
	return nil
}
