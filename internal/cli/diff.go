package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/compare"
	"shira/internal/fault"
)

type diffOptions struct {
	a, b     string
	base     string
	force    bool
	exitCode bool
	all      bool
	asJSON   bool
}

func newDiffCmd(a *app) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two models, or two adapters, tensor by tensor",
		Long: `Compare two models: for each tensor how many values differ, by how much at most and on
average, and ‖B − A‖ / ‖A‖; which tensors are missing, or have another shape or type.
Metadata does not count. Two adapters are compared by what they do: the change of each
weight, whatever the files' form. Where that depends on the base, as DoRA's does, --base
names it.

Files may be larger than the memory. A difference is no error unless --exit-code says so.`,
		Args: arguments(2, 2, "A and B"),
		Example: `  shira diff base base-fused
  shira diff out/checkpoint-100 out
  shira diff base tuned --exit-code --json`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable, fault.Gate, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.a, o.b = args[0], args[1]
			return runDiff(cmd.Context(), a, o)
		},
	}
	cmd.Flags().StringVar(&o.base, "base", "", "the `MODEL` that two adapters are for")
	cmd.Flags().BoolVar(&o.force, "force", false, "compare on this base what was trained on another")
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", false, "fail with exit code 9 when there is a difference")
	cmd.Flags().BoolVar(&o.all, "all", false, "list every tensor that differs; --json lists all tensors always")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// diffObject is the JSON of a comparison. Fields are only ever added.
type diffObject struct {
	A string `json:"a"`
	B string `json:"b"`
	*compare.Result
}

func runDiff(ctx context.Context, a *app, o diffOptions) error {
	x, err := adapter.Recognize(o.a)
	if err != nil {
		return err
	}
	y, err := adapter.Recognize(o.b)
	if err != nil {
		return err
	}
	var r *compare.Result
	switch {
	case x && y:
		r, err = compareAdapters(ctx, a, o)
	case x != y:
		return fault.New(fault.Usage, "", "one of %s and %s is an adapter, the other a model", fault.Quote(o.a), fault.Quote(o.b))
	case o.base != "" || o.force:
		return fault.New(fault.Usage, "", "--base and --force go with two adapters, but %s and %s are models", fault.Quote(o.a), fault.Quote(o.b))
	default:
		r, err = compareModels(ctx, a, o)
	}
	if err != nil {
		return err
	}
	if o.asJSON {
		err = a.printJSON(diffObject{o.a, o.b, r})
	} else {
		a.printDiff(o, r)
	}
	if err == nil && o.exitCode && !r.Equal {
		return fault.New(fault.Gate, o.b, "differs from %s", o.a)
	}
	return err
}

func compareModels(ctx context.Context, a *app, o diffOptions) (*compare.Result, error) {
	for _, path := range []string{o.a, o.b} {
		if err := a.checkSwitched(path, false, false); err != nil {
			return nil, err
		}
	}
	x, err := checkpoint.OpenModel(o.a)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	y, err := checkpoint.OpenModel(o.b)
	if err != nil {
		return nil, err
	}
	defer y.Close()
	tell, closeBar := a.byteProgress("comparing")
	defer closeBar()
	return compare.Models(ctx, x, y, tell)
}

func compareAdapters(ctx context.Context, a *app, o diffOptions) (*compare.Result, error) {
	x, err := adapter.Load(o.a)
	if err != nil {
		return nil, err
	}
	y, err := adapter.Load(o.b)
	if err != nil {
		return nil, err
	}
	if o.base == "" {
		return compare.Adapters(ctx, x, y, nil)
	}
	if err := a.checkSwitched(o.base, true, false); err != nil {
		return nil, err
	}
	base, err := checkpoint.OpenModel(o.base)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	anyBase := o.force || !slices.ContainsFunc(slices.Concat(x.Deltas, y.Deltas), adapter.NeedsBase) // it only says shapes then
	if err := adapter.CheckAll(base, []*adapter.Adapter{x, y}, anyBase); err != nil {
		return nil, err
	}
	return compare.Adapters(ctx, x, y, base)
}

// statusTexts says what a status of a tensor means, in the order of the summary.
var statusTexts = []struct {
	status compare.Status
	text   string
}{
	{compare.Equal, "equal"},
	{compare.Changed, "changed"},
	{compare.Retyped, "the same values in another type"},
	{compare.Shape, "of another shape"},
	{compare.OnlyA, "only in A"},
	{compare.OnlyB, "only in B"},
}

func (a *app) printDiff(o diffOptions, r *compare.Result) {
	differ := slices.DeleteFunc(slices.Clone(r.Tensors), func(t compare.Tensor) bool { return t.Status == compare.Equal })
	if len(differ) > 0 {
		// What cannot be compared first, then by how much changed; the model's order breaks ties.
		slices.SortStableFunc(differ, func(x, y compare.Tensor) int {
			return cmp.Or(cmp.Compare(diffRank(y), diffRank(x)), cmp.Compare(number(y.Relative), number(x.Relative)))
		})
		t := newTable("<tensor", "<", "changed", "of", "largest", "mean", "relative")
		for i, d := range differ {
			if i == maxListed && !o.all {
				break
			}
			t.add(diffRow(d)...)
		}
		t.write(a.stdout)
		a.printMore(len(differ), o.all)
		fmt.Fprintln(a.stdout)
	}
	for _, s := range statusTexts {
		if n := r.Count(s.status); n > 0 {
			fmt.Fprintf(a.stdout, "%s %s\n", plural(n, "tensor"), s.text)
		}
	}
	if r.Changed > 0 {
		fmt.Fprintf(a.stdout, "%s of %s values changed (%s)\n", commas(r.Changed), commas(r.Elements), percent(float64(r.Changed)/float64(r.Elements)))
	}
}

// diffRank orders tensors that are missing or misshapen before those that changed.
func diffRank(t compare.Tensor) int {
	if t.Status == compare.Changed || t.Status == compare.Retyped {
		return 0
	}
	return 1
}

func diffRow(t compare.Tensor) []string {
	row := []string{t.Name, "", commas(t.Changed), commas(t.Elements), magnitude(t.MaxAbs), magnitude(t.MeanAbs), magnitude(t.Relative)}
	switch t.Status {
	case compare.OnlyA, compare.OnlyB, compare.Shape:
		row = []string{t.Name, "", "", "", "", "", ""}
		if row[1] = "only in A"; t.Status == compare.OnlyB {
			row[1] = "only in B"
		}
		if t.Status == compare.Shape {
			row[1] = shape(t.ShapeA) + " → " + shape(t.ShapeB)
		}
	default:
		if t.DTypeA != t.DTypeB {
			row[1] = t.DTypeA + " → " + t.DTypeB
		}
	}
	return row
}

// magnitude formats a size, "-" where there is none.
func magnitude(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.3g", *v)
}

func number(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}
