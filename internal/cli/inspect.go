package cli

import (
	"github.com/spf13/cobra"

	"shira/internal/adapter"
	"shira/internal/fault"
)

type inspectOptions struct {
	path   string
	all    bool
	asJSON bool
}

func newInspectCmd(a *app) *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect PATH",
		Short: "Look into a model or an adapter",
		Long: `Look into a model (architecture, parameters, types, tensors, fingerprint, metadata) or
an adapter (method; mask, budget and density of each target, or ranks, alphas and scales;
the norms of its changes; the base it belongs to). PATH is a safetensors file or a directory.`,
		Args: arguments(1, 1, "one PATH"),
		Example: `  shira inspect base
  shira inspect out --all
  shira inspect out/adapter_model.safetensors --json`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable),
		RunE: func(_ *cobra.Command, args []string) error {
			o.path = args[0]
			return runInspect(a, o)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "list every tensor or module; --json always does")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func runInspect(a *app, o inspectOptions) error {
	found, err := adapter.Recognize(o.path)
	if err != nil {
		return err
	}
	if found {
		return inspectAdapter(a, o)
	}
	return inspectModel(a, o)
}
