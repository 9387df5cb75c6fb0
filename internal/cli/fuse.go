package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fuse"
	"shira/internal/merge"
)

type fuseOptions struct {
	fuse.Options
	asJSON bool
}

func newFuseCmd(a *app) *cobra.Command {
	o := fuseOptions{Options: fuse.Options{Params: merge.DefaultParams()}}
	cmd := &cobra.Command{
		Use:   "fuse BASE ADAPTER[@WEIGHT]… [-o OUT]",
		Short: "Write a base with adapters added to its weights",
		Long: `Write a new checkpoint: the base plus each adapter times its weight. The sum is formed
in float32 and rounded once to the type of each tensor; everything else is copied. For
a directory the output is a complete model directory. Without -o it is BASE-fused,
beside the base. The base is not changed. Adapters of all methods go together.

--method merges in other ways than by the sum:
` + methodTable() + `
Changes smaller than the base's precision vanish when they are rounded. The report says
how many of the adapters' entries change stored bits; --min-survival makes it a gate.`,
		Args: arguments(2, -1, "BASE and at least one ADAPTER"),
		Example: `  shira fuse base out
  shira fuse base.st a.st b.st@0.5 -o both.st
  shira fuse base out --dry-run --min-survival 0.99`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable, fault.Numerical, fault.Gate, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Base = args[0]
			err := outputNamed(cmd, o.Out)
			if err != nil {
				return err
			}
			refs, err := parseRefs(args[1:])
			if err != nil {
				return err
			}
			o.Adapters = fuse.Sources(refs)
			o.ForceBase = o.Force
			return runFuse(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.Out, "output", "o", "", "write to `OUT`; default BASE-fused beside the base")
	f.StringVarP(&o.Method, "method", "m", "linear", "merge by the method of this `NAME`")
	f.Float64Var(&o.Params.Density, "density", o.Params.Density, "share `X` of each adapter's entries that the method keeps")
	f.StringVar(&o.Params.MajoritySign, "majority-sign-method", o.Params.MajoritySign, "how ties and dare_ties elect signs: `total|frequency`")
	f.Uint64Var(&o.Params.Seed, "seed", 0, "`N` for the choices of dare_linear and dare_ties")
	f.BoolVar(&o.Force, "force", false, "replace OUT where it exists, and apply adapters that were trained on another base")
	f.BoolVar(&o.DryRun, "dry-run", false, "report only; write nothing, whether OUT exists or not")
	f.Float64Var(&o.MinSurvival, "min-survival", 0, "fail with exit code 9, writing nothing, when less than the share `X` (0 to 1) of entries survives")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// methodTable explains the methods, a line each.
func methodTable() string {
	var b strings.Builder
	for _, m := range merge.Methods() {
		fmt.Fprintf(&b, "  %-16s %s\n", m.Name, m.Doc)
	}
	return b.String()
}

func runFuse(ctx context.Context, a *app, o fuseOptions) error {
	if err := a.checkSwitched(o.Base, true, o.Force); err != nil {
		return err
	}
	var closeBar func()
	o.Notice = a.log.notice
	o.Progress, closeBar = a.byteProgress("fusing")
	r, err := fuse.Run(ctx, o.Options)
	closeBar()
	if err != nil && !gateMissed(err) {
		return err
	}
	written := err == nil && !o.DryRun
	if o.asJSON {
		if e := a.printJSON(r); e != nil {
			return e
		}
	} else {
		a.printFused(r, written)
	}
	switch {
	case o.DryRun && r.Exists && !o.Force:
		a.log.notice(r.Output + " exists: to write it takes --force, or another output by -o")
	case written && !complete(r.Output):
		a.log.notice(r.Output + ": `shira eval` and `shira train` want the base's config.json and tokenizer.json beside it")
	}
	return err
}

// complete says whether a fused model has its configuration: a directory always, a single file when it lies beside it.
func complete(output string) bool {
	if info, err := os.Stat(output); err != nil || info.IsDir() {
		return true
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(output), checkpoint.ConfigFile))
	return err == nil
}

// survivalText formats the share of entries that survive, "-" where there is nothing to lose.
func survivalText(s fuse.Survival) string {
	if s.Share == nil {
		return "-"
	}
	return percent(*s.Share)
}

// worstTensors is how many tensors the report names.
const worstTensors = 5

func (a *app) printFused(r *fuse.Report, written bool) {
	t := newTable("<adapter", "weight", "tensors", "parameters", "changed", "survival")
	for _, ad := range r.Adapters {
		t.add(ad.Path, fmt.Sprint(ad.Weight), commas(int64(ad.Tensors)), commas(ad.Parameters), commas(ad.Survival.Changed), survivalText(ad.Survival))
	}
	if len(r.Adapters) > 1 {
		t.add("together", "", commas(int64(len(r.Tensors))), commas(r.Survival.Entries), commas(r.Survival.Changed), survivalText(r.Survival))
	}
	t.write(a.stdout)
	a.printOverlaps(r)
	a.printWorst(r.Tensors)
	for _, name := range r.LeftOut {
		a.log.notice("not copied to the output: " + name)
	}
	if written {
		fmt.Fprintf(a.stdout, "\nwrote %s, %s\n", oneLine(r.Output), byteSize(r.Bytes))
	} else {
		fmt.Fprintf(a.stdout, "\nnothing written; the output would be %s, %s\n", oneLine(r.Output), byteSize(r.Bytes))
	}
}

// printOverlaps prints what the changes of each pair have in common.
func (a *app) printOverlaps(r *fuse.Report) {
	if len(r.Overlaps) == 0 {
		return
	}
	names := shortNames(r.Adapters)
	t := newTable("<overlap", "entries", "share", "of opposite sign", "cosine")
	for _, o := range r.Overlaps {
		t.add(names[o.A]+" and "+names[o.B], commas(o.Entries), percent(o.Share), commas(o.SignConflicts), fmt.Sprintf("%.3f", o.Cosine))
	}
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
}

// shortNames returns the ends of the adapters' paths by which they differ.
func shortNames(adapters []fuse.AdapterReport) []string {
	names := make([]string, len(adapters))
	for n := 1; n < 8; n++ {
		seen := map[string]bool{}
		for i, ad := range adapters {
			parts := strings.Split(filepath.ToSlash(filepath.Clean(ad.Path)), "/")
			names[i] = strings.Join(parts[max(0, len(parts)-n):], "/")
			seen[names[i]] = true
		}
		if len(seen) == len(names) {
			break
		}
	}
	return names
}

// printWorst prints the tensors of which rounding took most.
func (a *app) printWorst(tensors []fuse.TensorReport) {
	worst := slices.DeleteFunc(slices.Clone(tensors), func(t fuse.TensorReport) bool { return t.Survival.Changed == t.Survival.Entries })
	if len(worst) == 0 {
		return
	}
	slices.SortStableFunc(worst, func(x, y fuse.TensorReport) int {
		return cmp.Compare(*x.Survival.Share, *y.Survival.Share) // what lost entries has some
	})
	t := newTable("<least survival", "<type", "entries", "changed", "survival")
	for _, w := range worst[:min(worstTensors, len(worst))] {
		t.add(w.Name, w.DType, commas(w.Survival.Entries), commas(w.Survival.Changed), survivalText(w.Survival))
	}
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
}
