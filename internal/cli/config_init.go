package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/fsx"
)

type configInitOptions struct {
	method string
	out    string
	force  bool
}

func newConfigInitCmd(a *app) *cobra.Command {
	var o configInitOptions
	cmd := &cobra.Command{
		Use:         "init [-o FILE]",
		Short:       "Print a configuration with every key explained",
		Args:        arguments(0, 0, "no argument"),
		Example:     "  shira config init -o run.yaml",
		Annotations: exits(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := outputNamed(cmd, o.out); err != nil {
				return err
			}
			return runConfigInit(a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.method, "method", "shira", "`METHOD` of training: shira, lora, rslora, dora, shira-dora, foura or full")
	f.StringVarP(&o.out, "output", "o", "", "write to `FILE` instead of the standard output, which is also -")
	f.BoolVar(&o.force, "force", false, "replace FILE where it exists")
	return cmd
}

func runConfigInit(a *app, o configInitOptions) error {
	text, ok := config.Starter(o.method)
	if !ok {
		return fault.New(fault.Usage, "", "method: want one of %s, got %s", strings.Join(config.MethodNames(), ", "), fault.Quote(o.method))
	}
	if o.out == "" || o.out == "-" {
		fmt.Fprint(a.stdout, text)
		return nil
	}
	err := fsx.WriteFile(o.out, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}, fsx.Replace(o.force))
	if err == nil {
		a.log.info("wrote " + o.out)
	}
	return err
}
