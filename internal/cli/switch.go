package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/fault"
	"shira/internal/switcher"
)

type switchOptions struct {
	switcher.Options
	to      []string
	revert  bool
	status  bool
	recover bool
	verify  bool
	bench   bool
	report  string
	asJSON  bool
}

func newSwitchCmd(a *app) *cobra.Command {
	var o switchOptions
	cmd := &cobra.Command{
		Use:   "switch MODEL (--to ADAPTER[@WEIGHT]… | --revert | --status | --verify | --recover | --bench A B)",
		Short: "Change the adapter of a model in place, and back to the bit",
		Long: `Change the weights of a model in place: to the base with adapters, whatever adapters it
has, to the bits that ` + "`shira fuse`" + ` gives; or back to the base, to the bit. What the entries
were is kept beside the weights, in .shira: it is needed for the way back.

A switch is complete or has not happened. After a crash, a full disk or a kill at any
time the next switch, or --recover, puts back what was there before; until then other
commands refuse the model. While a command uses a model it is not switched.

A sparse adapter switches its entries, one of low rank every entry of its weights.
--bench measures that in memory, between two adapters, and changes no file.`,
		Args: arguments(1, -1, "one MODEL"),
		Example: `  shira switch model --to pirate
  shira switch model --to pirate@0.5 --to poet.st
  shira switch model --status
  shira switch model --revert
  shira switch model --bench pirate poet --report switch.html`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable, fault.Numerical, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			if err := o.complete(args[1:]); err != nil {
				return err
			}
			return runSwitch(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.to, "to", nil, "`ADAPTER[@WEIGHT]` that the model is to have, and no other; may be repeated")
	f.BoolVar(&o.revert, "revert", false, "back to the base, without any adapter")
	f.BoolVar(&o.status, "status", false, "say what the model has; change nothing")
	f.BoolVar(&o.verify, "verify", false, "read everything, and compare with what the last switch wrote and with the base")
	f.BoolVar(&o.recover, "recover", false, "undo a switch that did not end")
	f.BoolVar(&o.bench, "bench", false, "measure switches in memory between the two adapters that follow MODEL")
	f.StringVar(&o.report, "report", "", "write what --bench measured to `FILE.html`, with a picture")
	f.BoolVar(&o.Force, "force", false, "apply adapters that were trained on another base, and replace FILE.html")
	f.BoolVar(&o.DryRun, "dry-run", false, "check everything and say what would be done; change nothing")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// complete checks the flags. Arguments after the model are further adapters of --to.
func (o *switchOptions) complete(more []string) error {
	actions := 0
	for _, chosen := range []bool{len(o.to) > 0, o.revert, o.status, o.verify, o.recover, o.bench} {
		if chosen {
			actions++
		}
	}
	switch {
	case actions != 1:
		return fault.New(fault.Usage, "", "want one of --to ADAPTER, --revert, --status, --verify, --recover and --bench").
			WithHint("`shira switch --help` explains them")
	case o.bench && len(more) != 2:
		return fault.New(fault.Usage, "", "--bench: want a model and two adapters")
	case o.report != "" && !o.bench:
		return fault.New(fault.Usage, "", "--report goes with --bench only")
	case len(more) > 0 && len(o.to) == 0 && !o.bench:
		return fault.New(fault.Usage, "", "unexpected argument %s: want one MODEL", fault.Quote(more[0]))
	case o.DryRun && (o.status || o.verify || o.recover || o.bench), o.Force && (o.status || o.verify || o.recover):
		return fault.New(fault.Usage, "", "--dry-run and --force go with --to and --revert only")
	}
	var err error
	o.Adapters, err = parseRefs(append(o.to, more...))
	return err
}

func runSwitch(ctx context.Context, a *app, o switchOptions) error {
	switch {
	case o.status:
		return a.switchStatus(o)
	case o.verify:
		return a.switchVerify(ctx, o)
	case o.recover:
		return a.switchRecover(o)
	case o.bench:
		return a.switchBench(ctx, o)
	}
	var closeBar func()
	o.Notice = a.log.notice
	o.Progress, closeBar = a.byteProgress("switching")
	r, err := switcher.Switch(ctx, o.Options)
	closeBar()
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(r)
	}
	if r.Recovered {
		a.log.notice("a switch that did not end was undone first")
	}
	a.printSwitched(r)
	return nil
}

// appliedText lists adapters as they are given on the command line.
func appliedText(list []switcher.Applied) string {
	if len(list) == 0 {
		return "the base, no adapter"
	}
	var names []string
	for _, ad := range list {
		name := ad.Adapter
		if ad.Weight != 1 {
			name += "@" + strconv.FormatFloat(ad.Weight, 'g', -1, 64)
		}
		names = append(names, fmt.Sprintf("%s (%s)", name, ad.Method))
	}
	return strings.Join(names, ", ")
}

func (a *app) printSwitched(r *switcher.Report) {
	rows := [][2]string{{"model", r.Model}, {"before", appliedText(r.Previous)}, {"now", appliedText(r.Applied)}}
	switch {
	case !r.Changed:
		rows = append(rows, [2]string{"done", "nothing: the model has it"})
	case r.DryRun:
		rows[2][0] = "then"
		rows = append(rows, [2]string{"tensors", commas(int64(r.Tensors))}, [2]string{"journal", "at most " + byteSize(r.Room)},
			[2]string{"done", "nothing: a dry run"})
	default:
		survival := "-"
		if r.Live > 0 {
			survival = fmt.Sprintf("%s of %s (%s) differ from the base", commas(r.Differ), commas(r.Live), percent(float64(r.Differ)/float64(r.Live)))
		}
		journal := byteSize(r.Journal) + ", kept until the next switch"
		if len(r.Applied) == 0 {
			journal = byteSize(r.Journal) + ", removed: the base needs none"
		}
		rows = append(rows,
			[2]string{"entries", fmt.Sprintf("%s in %s", commas(r.Entries), plural(r.Tensors, "tensor"))},
			[2]string{"changed", survival},
			[2]string{"journal", journal},
			[2]string{"written", byteSize(r.Written) + " of weights"},
			[2]string{"time", fmt.Sprintf("%.2f s: journal %.2f s, weights %.2f s", r.Seconds, r.Times.Journal, r.Times.Weights)})
	}
	fields(a.stdout, rows...)
}

func (a *app) switchStatus(o switchOptions) error {
	st, err := switcher.Status(o.Model)
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(st)
	}
	state := ""
	switch {
	case st.Busy:
		state = "another process is switching it"
	case st.Interrupted:
		state = "a switch did not end: `shira switch " + shellQuote(o.Model) + " --recover` undoes it"
	}
	has := appliedText(st.Applied)
	if st.Lost {
		has = "unknown"
		state = "its record is gone: `shira switch " + shellQuote(o.Model) + " --verify` tells whether the weights are the base's"
	}
	size := ""
	if st.Journal > 0 {
		size = byteSize(st.Journal) + ", which the base comes back from"
	}
	fields(a.stdout, [2]string{"model", st.Model}, [2]string{"has", has}, [2]string{"journal", size},
		[2]string{"base", st.Base}, [2]string{"state", state})
	return nil
}

func (a *app) switchVerify(ctx context.Context, o switchOptions) error {
	c, err := switcher.Verify(ctx, o.Model)
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(c)
	}
	entries := ""
	if c.Entries > 0 {
		entries = commas(c.Entries) + " are as the switch wrote them"
	}
	base := c.Base + ", as it was"
	if len(c.Applied) == 0 {
		base = c.Base
	}
	fields(a.stdout, [2]string{"model", c.Model}, [2]string{"has", appliedText(c.Applied)}, [2]string{"entries", entries}, [2]string{"base", base})
	return nil
}

func (a *app) switchRecover(o switchOptions) error {
	undone, err := switcher.Recover(o.Model)
	if err != nil {
		return err
	}
	st, err := switcher.Status(o.Model)
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(struct {
			Model     string             `json:"model"`
			Recovered bool               `json:"recovered"`
			Applied   []switcher.Applied `json:"applied"`
		}{o.Model, undone, st.Applied})
	}
	done := "nothing: no switch was left unfinished"
	if undone {
		done = "a switch that did not end was undone"
	}
	fields(a.stdout, [2]string{"model", o.Model}, [2]string{"done", done}, [2]string{"has", appliedText(st.Applied)})
	return nil
}
