package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"shira/internal/adapter"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/fsx"
)

type freezeOptions struct {
	eval.Options
	adapter      string
	out          string
	force        bool
	computeDType string
	asJSON       bool
}

func newFreezeGateCmd(a *app) *cobra.Command {
	var o freezeOptions
	cmd := &cobra.Command{
		Use:   "freeze-gate ADAPTER --model MODEL --data FILE -o OUT",
		Short: "Fix the gate of a FouRA adapter, so that it can be fused",
		Long: `Fix the gate of a FouRA adapter to its mean over the tokens of a data file. A gate
sees the input, so that such an adapter is computed beside the weights; with a
fixed one it is a change of the weights, which can be fused and switched.

OUT is a new PEFT directory. The adapter is not changed.`,
		Args:        arguments(1, 1, "one ADAPTER"),
		Example:     "  shira freeze-gate out --model base --data calib.jsonl -o out-frozen",
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Numerical, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.completeScoring(cmd.Flags(), &o.Options, &o.computeDType); err != nil {
				return err
			}
			o.adapter = args[0]
			return runFreezeGate(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.Model, "model", "m", "", "the `MODEL` that the adapter was trained on")
	f.StringVarP(&o.Data, "data", "d", "", "`FILE` of examples, like those that the adapter is for")
	f.StringVarP(&o.out, "output", "o", "", "the `DIRECTORY` to write")
	f.IntVar(&o.MaxSeqLength, "max-seq-length", 0, "cut examples to `N` tokens; 0: the model's number of positions")
	f.IntVar(&o.Limit, "limit", 0, "read the first `N` examples only; 0: all")
	f.BoolVar(&o.force, "force", false, "take another base than that of the adapter, and replace OUT")
	addScoring(f, &o.Options, &o.computeDType)
	addJSON(cmd, &o.asJSON)
	return cmd
}

func runFreezeGate(ctx context.Context, a *app, o freezeOptions) error {
	switch {
	case o.Model == "":
		return fault.New(fault.Usage, "", "want --model MODEL")
	case o.Data == "":
		return fault.New(fault.Usage, "", "want --data FILE")
	case o.out == "":
		return fault.New(fault.Usage, "", "want -o OUT")
	}
	if _, err := os.Lstat(o.out); err == nil && !o.force {
		return fault.New(fault.Usage, o.out, "exists already").WithHint("give another output, or --force")
	}
	if err := checkFrozen(o); err != nil {
		return err
	}
	o.ForceBase = o.force
	o.Adapters = []adapter.Ref{{Path: o.adapter, Weight: 1}}
	frozen, gates, err := eval.FreezeGates(ctx, o.Options)
	if err != nil {
		return err
	}
	if err := fsx.WriteDir(o.out, frozen.Save, fsx.Replace(o.force)); err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(struct {
			Output string         `json:"output"`
			Gates  []eval.Opening `json:"gates"`
		}{o.out, gates})
	}
	t := newTable("<module", "rank", "open")
	for _, g := range gates {
		t.add(g.Module, fmt.Sprint(g.Rank), fmt.Sprintf("%.2f", g.Open))
	}
	fields(a.stdout, [2]string{"adapter", o.out}, [2]string{"gates", openText(gates)})
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
	fmt.Fprintf(a.stdout, "\nNext:\n  shira fuse %s %s\n", shellQuote(o.Model), shellQuote(o.out))
	return nil
}

// checkFrozen refuses an output that would replace anything but an adapter, or an input.
func checkFrozen(o freezeOptions) error {
	if err := spare(o.out, o.adapter, o.Model, o.Data); err != nil {
		return err
	}
	if entries, _ := os.ReadDir(o.out); len(entries) == 0 {
		return nil // what is no directory is found when it is written
	}
	if found, err := adapter.Recognize(o.out); err != nil || !found || holdsModel(o.out) {
		return fault.New(fault.Usage, o.out, "is not empty and holds no adapter: will not replace it").WithHint("remove it, or name another output")
	}
	return nil
}
