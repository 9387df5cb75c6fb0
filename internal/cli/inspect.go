package cli

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
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
		Annotations: exits(fault.Malformed, fault.Incompatible),
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
	adapter, err := isAdapter(o.path)
	if err != nil {
		return err
	}
	if adapter {
		return inspectAdapter(a, o)
	}
	return inspectModel(a, o)
}

// isAdapter says whether path is an adapter, or at least looks more like one than like a model: a directory with an
// adapter's files, or a safetensors file whose tensors are named as PEFT names them.
func isAdapter(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fsx.Wrap(err, path, "open")
	}
	if info.IsDir() {
		for _, name := range []string{"adapter_model.safetensors", "adapter_config.json", "adapter_model.bin"} {
			if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
				return true, nil
			}
		}
		return false, nil
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for _, t := range f.Tensors() {
		if strings.HasPrefix(t.Name, "base_model.model.") {
			return true, nil
		}
	}
	return false, nil
}
