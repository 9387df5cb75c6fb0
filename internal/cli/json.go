package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"
)

// addJSON gives a command the flag --json.
func addJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print one JSON object; errors end with one on stderr")
}

// printJSON prints a result as one object, indented.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
