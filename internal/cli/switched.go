package cli

import (
	"errors"

	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/switcher"
)

// checkSwitched looks whether the model at path has adapters switched into its weights. Where it is to serve as a base, that
// is an Incompatible error, unless force is set; else the user is told.
func (a *app) checkSwitched(path string, asBase, force bool) error {
	st, err := switcher.Status(path)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.Environment {
		return nil // the command will say it in its own words
	}
	if err != nil || len(st.Applied) == 0 || st.Interrupted || st.Busy {
		return err
	}
	if asBase && !force {
		return fault.New(fault.Incompatible, path, "is no base now: its weights have %s", appliedText(st.Applied)).
			WithHint("`shira switch %s --revert` brings the base back", shellQuote(fsx.Follow(path)))
	}
	a.log.notice(path + " has " + appliedText(st.Applied) + ", by `shira switch`")
	return nil
}
