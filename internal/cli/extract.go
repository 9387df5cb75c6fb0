package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/adapter"
	"shira/internal/buildinfo"
	"shira/internal/extract"
	"shira/internal/fault"
	"shira/internal/fsx"
)

type extractOptions struct {
	extract.Options
	out    string
	force  bool
	dryRun bool
	asJSON bool
}

func newExtractCmd(a *app) *cobra.Command {
	var o extractOptions
	cmd := &cobra.Command{
		Use:   "extract BASE TUNED [-o OUT]",
		Short: "Derive an adapter from two checkpoints of a model",
		Long: `Derive the adapter that leads from BASE to TUNED: a SHiRA adapter of all entries that
differ, or of the largest differences, or with --rank a LoRA adapter of the nearest
product of that rank, with its error for each weight and in total.

With all entries, fusing the adapter into BASE gives TUNED bit for bit, but where float32
cannot hold the difference: where a value shrinks by many powers of two, in float64
weights, and where 0 becomes -0. Tensors that are no weights of two dimensions, such as
norms, and tied embeddings are no adapter's. The report counts all of these.

Without -o it is TUNED-adapter, beside TUNED: a directory as PEFT writes it, or with an
OUT that ends in .safetensors or .st a file that stands alone.`,
		Args: arguments(2, 2, "BASE and TUNED"),
		Example: `  shira extract base tuned -o changes
  shira extract base tuned --density 0.01
  shira extract base tuned --rank 16 -o lora`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable, fault.Numerical, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := outputNamed(cmd, o.out); err != nil {
				return err
			}
			for _, name := range []string{"threshold", "top-k", "density", "rank"} {
				if f := cmd.Flags().Lookup(name); f.Changed && (f.Value.String() == "0") {
					return fault.New(fault.Usage, "", "--%s: want more than 0", name)
				}
			}
			o.Base, o.Tuned = args[0], args[1]
			return runExtract(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.out, "output", "o", "", "write to `OUT`; default TUNED-adapter beside TUNED")
	f.Float64Var(&o.Threshold, "threshold", 0, "take entries that change by at least `X`")
	f.IntVar(&o.TopK, "top-k", 0, "take the `K` largest changes of each weight")
	f.Float64Var(&o.Density, "density", 0, "take the share `X` of each weight that changes most")
	f.IntVarP(&o.Rank, "rank", "r", 0, "make a LoRA adapter of rank `N`")
	f.Uint64Var(&o.Seed, "seed", 0, "`N` for the random sketches of --rank")
	f.BoolVar(&o.force, "force", false, "replace OUT where it exists")
	f.BoolVar(&o.dryRun, "dry-run", false, "report only; write nothing")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func runExtract(ctx context.Context, a *app, o extractOptions) error {
	if o.out == "" {
		o.out = strings.TrimSuffix(filepath.Clean(o.Tuned), ".safetensors") + "-adapter"
	}
	if err := o.checkOutput(); err != nil {
		return err
	}
	for _, path := range []string{o.Base, o.Tuned} {
		if err := a.checkSwitched(path, false, false); err != nil {
			return err
		}
	}
	var closeBar func()
	o.Progress, closeBar = a.byteProgress("extracting")
	ad, r, err := extract.Run(ctx, o.Options)
	closeBar()
	if err != nil {
		return err
	}
	ad.Config.ToolVersion = buildinfo.Version()
	r.Output, r.DryRun = o.out, o.dryRun
	if !o.dryRun {
		if err := saveAdapter(ad, o.out); err != nil {
			return err
		}
	}
	if o.asJSON {
		return a.printJSON(r)
	}
	a.printExtracted(r)
	return nil
}

// checkOutput refuses an output that exists or is an input.
func (o *extractOptions) checkOutput() error {
	out, err := fsx.Resolve(o.out)
	if err != nil {
		return fsx.Wrap(err, o.out, "write")
	}
	for _, input := range []string{o.Base, o.Tuned} {
		in, err := fsx.Resolve(input)
		if err != nil {
			return fsx.Wrap(err, input, "open")
		}
		if in == out || fsx.Within(out, in) {
			return fault.New(fault.Usage, o.out, "the output is, or lies in, the input %s", fault.Quote(input))
		}
	}
	switch _, err := os.Lstat(o.out); {
	case err == nil && !o.force && !o.dryRun:
		return fault.New(fault.Usage, o.out, "exists").WithHint("--force replaces it; -o names another output")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fsx.Wrap(err, o.out, "write")
	}
	if holdsModel(o.out) {
		return fault.New(fault.Usage, o.out, "holds a model: no adapter is written into it")
	}
	return nil
}

// saveAdapter writes an adapter as a directory, or as a file where the name says so.
func saveAdapter(ad *adapter.Adapter, out string) error {
	if ext := filepath.Ext(out); ext == ".safetensors" || ext == ".st" {
		return ad.SaveFile(out)
	}
	return ad.Save(out)
}

func (a *app) printExtracted(r *extract.Report) {
	method := "SHiRA, entries"
	if r.Method == "lora" {
		method = "LoRA, the nearest product"
	}
	worst := slices.Clone(r.Tensors)
	slices.SortStableFunc(worst, func(x, y extract.TensorReport) int { return cmp.Compare(y.Error, x.Error) })
	exact := "yes, bit for bit"
	if !r.Exact {
		exact = "no"
		if r.Inexact > 0 {
			exact = "no: " + plural(int(r.Inexact), "value") + " of the adapted weights have other bits"
		}
	}
	fields(a.stdout,
		[2]string{"method", method},
		[2]string{"weights", commas(int64(len(r.Tensors)))},
		[2]string{"parameters", commas(r.Parameters)},
		[2]string{"changed", commas(r.Changed) + " entries of these weights"},
		[2]string{"error", percent(r.Error) + " of the difference's norm"},
		[2]string{"base + adapter = tuned", exact})
	if len(worst) > 0 && worst[0].Error > 0 {
		t := newTable("<largest error", "<type", "parameters", "changed", "error")
		for _, w := range worst[:min(worstTensors, len(worst))] {
			t.add(w.Name, w.DType, commas(int64(w.Parameters)), commas(w.Changed), percent(w.Error))
		}
		fmt.Fprintln(a.stdout)
		t.write(a.stdout)
	}
	if n := len(r.NotAdapted); n > 0 {
		text := strings.Join(r.NotAdapted[:min(n, worstTensors)], ", ")
		if n > worstTensors {
			text += fmt.Sprintf(" and %s more", commas(int64(n-worstTensors)))
		}
		a.log.notice("not in the adapter, though other in TUNED: " + text)
	}
	if r.DryRun {
		fmt.Fprintf(a.stdout, "\nnothing written; the output would be %s\n", oneLine(r.Output))
	} else {
		fmt.Fprintf(a.stdout, "\nwrote %s\n", oneLine(r.Output))
	}
}
