package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/fault"
)

// shells are those that completion has scripts for.
var shells = []struct {
	name  string
	write func(root *cobra.Command, w io.Writer) error
}{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
	{"zsh", func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) }},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
	{"powershell", func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) }},
}

func newCompletionCmd(a *app) *cobra.Command {
	var names []string
	for _, s := range shells {
		names = append(names, s.name)
	}
	return &cobra.Command{
		Use:       "completion " + strings.Join(names, "|"),
		Short:     "Print a script that completes commands and flags in a shell",
		Args:      arguments(1, 1, "one of "+strings.Join(names, ", ")),
		ValidArgs: names,
		Example: `  source <(shira completion bash)
  shira completion zsh > "${fpath[1]}/_shira"
  shira completion fish > ~/.config/fish/completions/shira.fish`,
		Annotations: exits(),
		RunE: func(cmd *cobra.Command, args []string) error {
			i := slices.Index(names, args[0])
			if i < 0 {
				return fault.New(fault.Usage, "", "want one of %s, got %s", strings.Join(names, ", "), fault.Quote(args[0]))
			}
			return shells[i].write(cmd.Root(), a.stdout)
		},
	}
}
