package cli

import (
	"github.com/spf13/cobra"

	"shira/internal/config"
	"shira/internal/fault"
)

func newConfigShowCmd(a *app) *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show the value of every key and where it comes from",
		Long: `Show the value of every key and where it comes from: --set, an environment variable,
a line of the file, or the default.`,
		Args:        arguments(0, 1, "one FILE"),
		Example:     "  shira config show run.yaml --set learning_rate=1e-3",
		Annotations: exits(fault.Malformed),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.path, err = configPath(cmd, o.path, args); err != nil {
				return err
			}
			return runConfigShow(a, o)
		},
	}
	addConfigFlags(cmd, &o.path, &o.sets)
	addJSON(cmd, &o.asJSON)
	return cmd
}

func runConfigShow(a *app, o configOptions) error {
	r, err := a.loadConfig(o.path, o.sets)
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(settingsObject(r.Settings()))
	}
	t := newTable("<key", "<value", "<origin")
	for _, s := range r.Settings() {
		t.add(s.Key.Name, config.Text(s.Value), s.Origin.String())
	}
	t.write(a.stdout)
	return nil
}

// settingsObject maps each key to its value, null where it has none, and origin.
func settingsObject(settings []config.Setting) map[string]any {
	type setting struct {
		Value  any    `json:"value"`
		Origin string `json:"origin"`
	}
	object := map[string]any{}
	for _, s := range settings {
		object[s.Key.Name] = setting{s.Value, s.Origin.String()}
	}
	return object
}
