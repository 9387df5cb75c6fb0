package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"shira/internal/buildinfo"
	"shira/internal/kernel"
)

func newVersionCmd(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:         "version",
		Short:       "Print the version",
		Args:        arguments(0, 0, "no argument"),
		Annotations: exits(),
		RunE:        func(*cobra.Command, []string) error { return runVersion(a, asJSON) },
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func runVersion(a *app, asJSON bool) error {
	v := struct {
		Version  string `json:"version"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
		Kernel   string `json:"kernel"` // instruction set in use
	}{buildinfo.Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, kernel.Features()}
	if asJSON {
		return a.printJSON(v)
	}
	fmt.Fprintf(a.stdout, "shira %s (%s, %s, kernels: %s)\n", v.Version, v.Go, v.Platform, v.Kernel)
	return nil
}
