package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/fuse"
	"shira/internal/merge"
	"shira/internal/procstat"
)

type fuseOptions struct {
	fuse.Options
	config     string
	report     string
	tune       []string // data files
	budget     int
	limit      int
	saveConfig string
	asJSON     bool
}

func newFuseCmd(a *app) *cobra.Command {
	o := fuseOptions{Options: fuse.Options{Params: merge.DefaultParams()}}
	cmd := &cobra.Command{
		Use:   "fuse BASE ADAPTER[@WEIGHT]… [-o OUT]",
		Short: "Write a base with adapters merged into its weights",
		Long: `Write a new checkpoint: the base plus each adapter times its weight. The sum is formed
in float32 and rounded once to the type of each tensor; everything else is copied. For
a directory the output is a complete model directory. Without -o it is BASE-fused,
beside the base. The base is not changed. Adapters of all methods go together.

--method merges in other ways than by the sum:
` + methodTable() + `
Changes smaller than the base's precision vanish when they are rounded. The report says
how many of the adapters' entries change stored bits; --min-survival makes it a gate.

--adapter-only merges the adapters into one instead, which is written as a directory, or
with an OUT that ends in .safetensors or .st as a file. SHiRA adapters stay sparse, LoRA
adapters are set side by side, and with --rank anything becomes a LoRA adapter.

--tune looks for the weights of least mean loss on data files, from the weights that are
given: each is, and then all are, moved by a step that halves from 1/2 to 1/32, within
0 … 2. Every trial scores the very model that would be written.`,
		Args: arguments(0, -1, "BASE and at least one ADAPTER"),
		Example: `  shira fuse base out
  shira fuse base.st a.st b.st@0.5 -o both.st
  shira fuse base a b --method ties --density 0.3 --report fusion.html
  shira fuse base a b --tune a.jsonl --tune b.jsonl --budget 20 --save-config fuse.yaml
  shira fuse --config fuse.yaml --dry-run --min-survival 0.99
  shira fuse base a b --adapter-only --rank 16 -o ab`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable, fault.Numerical, fault.Gate, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(cmd, args); err != nil {
				return err
			}
			return runFuse(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.Out, "output", "o", "", "write to `OUT`; default BASE-fused beside the base")
	f.StringVarP(&o.config, "config", "c", "", "read base, method, adapters and weights from a YAML `FILE`")
	f.StringVarP(&o.Method, "method", "m", "linear", "merge by the method of this `NAME`")
	f.Float64Var(&o.Params.Density, "density", o.Params.Density, "share `X` of each adapter's entries that the method keeps")
	f.StringVar(&o.Params.MajoritySign, "majority-sign-method", o.Params.MajoritySign, "how ties and dare_ties elect signs: `total|frequency`")
	f.Uint64Var(&o.Params.Seed, "seed", 0, "`N` for the choices of dare_linear and dare_ties")
	f.BoolVar(&o.AdapterOnly, "adapter-only", false, "write one adapter instead of a model")
	f.IntVarP(&o.Rank, "rank", "r", 0, "with --adapter-only: the nearest LoRA adapter of rank `N`")
	f.StringArrayVar(&o.tune, "tune", nil, "look for the weights of least loss on a data `FILE`; may be repeated")
	f.IntVar(&o.budget, "budget", defaultBudget, "make at most `N` trials with --tune")
	f.IntVar(&o.limit, "limit", 0, "score the first `N` examples of each file with --tune; 0: all")
	f.StringVar(&o.saveConfig, "save-config", "", "write the fusion, with the weights that were found, to a YAML `FILE` for --config")
	f.BoolVar(&o.Force, "force", false, "replace OUT where it exists, and apply adapters that were trained on another base")
	f.BoolVar(&o.DryRun, "dry-run", false, "report only; write nothing, whether OUT exists or not")
	f.Float64Var(&o.MinSurvival, "min-survival", 0, "fail with exit code 9, writing nothing, when less than the share `X` (0 to 1) of entries survives")
	f.BoolVar(&o.Interference, "interference", false, "report AWOM and AWOR of each pair of adapters too, which takes time")
	f.StringVar(&o.report, "report", "", "write the report in pictures to an HTML `FILE`, with AWOM and AWOR")
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

// complete brings arguments, configuration and flags together.
func (o *fuseOptions) complete(cmd *cobra.Command, args []string) error {
	given := cmd.Flags().Changed
	switch {
	case given("rank") && o.Rank < 1:
		return fault.New(fault.Usage, "", "--rank: want at least 1, got %d", o.Rank)
	case given("rank") && !o.AdapterOnly:
		return fault.New(fault.Usage, "", "--rank goes with --adapter-only")
	case (given("budget") || given("limit")) && len(o.tune) == 0:
		return fault.New(fault.Usage, "", "--budget and --limit go with --tune")
	case o.budget < 1 || o.limit < 0:
		return fault.New(fault.Usage, "", "--budget: want at least 1, and --limit no negative number")
	case len(o.tune) > 0 && o.AdapterOnly:
		return fault.New(fault.Usage, "", "--tune scores models: tune first, then give the weights to --adapter-only")
	}
	if err := outputNamed(cmd, o.Out); err != nil {
		return err
	}
	if o.config != "" {
		if err := o.readConfig(given); err != nil {
			return err
		}
	}
	if len(args) > 0 {
		o.Base = args[0]
		refs, err := parseRefs(args[1:])
		if err != nil {
			return err
		}
		if len(refs) > 0 && o.config != "" {
			return fault.New(fault.Usage, o.config, "names the adapters already, but there is %s too", fault.Quote(args[1]))
		}
		o.Adapters = append(o.Adapters, fuse.Sources(refs)...)
	}
	if o.Base == "" || len(o.Adapters) == 0 {
		return arguments(2, -1, "BASE and at least one ADAPTER")(cmd, args)
	}
	if err := o.checkFiles(); err != nil {
		return err
	}
	o.ForceBase = o.Force
	o.Interference = o.Interference || o.report != ""
	return nil
}

// checkFiles refuses files beside the output that would harm what is there, the output or each other.
func (o *fuseOptions) checkFiles() error {
	if err := o.Place(); err != nil {
		return err
	}
	inputs := append([]string{o.Base}, o.tune...)
	for _, s := range o.Adapters {
		inputs = append(inputs, s.Path)
	}
	if o.report != "" && o.saveConfig != "" && filepath.Clean(o.report) == filepath.Clean(o.saveConfig) {
		return fault.New(fault.Usage, o.report, "--report and --save-config name the same file")
	}
	if o.report != "" && o.config != "" && filepath.Clean(o.report) == filepath.Clean(o.config) {
		return fault.New(fault.Usage, o.report, "--report and --config name the same file")
	}
	for _, path := range []string{o.report, o.saveConfig} {
		switch {
		case path == "":
			continue
		case o.Makes(path):
			return fault.New(fault.Usage, path, "is the output, or a file of it: name another file")
		case !o.DryRun && filepath.Dir(path) == o.Out:
			continue // in the model that is written first
		}
		if err := checkFile(path, o.Force, inputs...); err != nil {
			return err
		}
	}
	return nil
}

// readConfig takes over what the configuration says and no flag does.
func (o *fuseOptions) readConfig(given func(flag string) bool) error {
	const maxRecipe = 1 << 20
	data, err := fsx.ReadFile(o.config, maxRecipe)
	if err != nil {
		return err
	}
	r, err := fuse.ReadRecipe(o.config, data)
	if err != nil {
		return err
	}
	o.Base, o.Adapters = r.Base, r.Adapters
	if !given("method") {
		o.Method = r.Method
	}
	if !given("density") {
		o.Params.Density = r.Params.Density
	}
	if !given("majority-sign-method") {
		o.Params.MajoritySign = r.Params.MajoritySign
	}
	if !given("seed") {
		o.Params.Seed = r.Params.Seed
	}
	return nil
}

// fuseObject is the JSON of a fusion. Fields are only ever added.
type fuseObject struct {
	*fuse.Report
	Tune           *tuneObject `json:"tune"` // null without --tune
	Seconds        float64     `json:"seconds"`
	BytesPerSecond float64     `json:"bytes_per_second"` // of the base's tensors
	PeakRSSBytes   int64       `json:"peak_rss_bytes"`
}

func runFuse(ctx context.Context, a *app, o fuseOptions) error {
	if err := a.checkSwitched(o.Base, true, o.Force); err != nil {
		return err
	}
	var tuned *tuneObject
	if len(o.tune) > 0 {
		var err error
		if tuned, err = a.tuneWeights(ctx, &o); err != nil {
			return err
		}
	}
	start := time.Now()
	var closeBar func()
	o.Notice = a.log.notice
	o.Progress, closeBar = a.byteProgress("fusing")
	r, err := fuse.Run(ctx, o.Options)
	closeBar()
	if err != nil && !gateMissed(err) {
		return err
	}
	seconds := time.Since(start).Seconds()
	written := err == nil && !o.DryRun
	if o.saveConfig != "" && err == nil {
		if e := o.writeConfig(); e != nil {
			return e
		}
	}
	if o.report != "" {
		if e := writeFuseReport(r, o.report); e != nil {
			return errors.Join(err, e) // a gate that was missed comes first
		}
	}
	if o.asJSON {
		if e := a.printJSON(fuseObject{r, tuned, seconds, float64(r.Bytes) / seconds, procstat.PeakRSS()}); e != nil {
			return e
		}
	} else {
		a.printTuned(tuned, r)
		a.printFused(r, written, seconds)
	}
	switch {
	case o.DryRun && r.Exists && !o.Force:
		a.log.notice(r.Output + " exists: to write it takes --force, or another output by -o")
	case written && r.Adapter == nil && !complete(r.Output):
		a.log.notice(r.Output + ": `shira eval` and `shira train` want the base's config.json and tokenizer.json beside it")
	}
	return err
}

// writeConfig keeps the fusion for --config.
func (o *fuseOptions) writeConfig() error {
	r := fuse.Recipe{Base: o.Base, Method: o.Method, Params: o.Params, Adapters: o.Adapters}
	return fsx.WriteFile(o.saveConfig, r.Write)
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

func (a *app) printFused(r *fuse.Report, written bool, seconds float64) {
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
	a.noteExtremes(r)
	a.noteOutsizes(r)
	for _, name := range r.LeftOut {
		a.log.notice("not copied to the output: " + name)
	}
	size := byteSize(r.Bytes)
	if r.Adapter != nil {
		size = adapterText(r.Adapter)
	}
	switch {
	case !written:
		fmt.Fprintf(a.stdout, "\nnothing written; the output would be %s, %s\n", oneLine(r.Output), size)
	case r.Adapter != nil:
		fmt.Fprintf(a.stdout, "\nwrote %s, %s\n", oneLine(r.Output), size)
	default:
		fmt.Fprintf(a.stdout, "\nwrote %s, %s at %s/s\n", oneLine(r.Output), size, byteSize(int64(float64(r.Bytes)/seconds)))
	}
}

// noteExtremes notes numbers of the base that it should not have.
func (a *app) noteExtremes(r *fuse.Report) {
	for i, e := range r.Extremes {
		if i == worstTensors {
			a.log.notice(fmt.Sprintf("and %s more, which --json lists", plural(len(r.Extremes)-i, "tensor")))
			break
		}
		what := fmt.Sprintf("%s not finite", commas(e.NotFinite))
		if e.Huge > 0 {
			what += fmt.Sprintf(" and %s of a size that training does not give", commas(e.Huge))
		}
		a.log.notice(fmt.Sprintf("the base's %s holds numbers that are odd, and so does the output: %s", fault.Quote(e.Name), what))
	}
}

// noteOutsizes notes changes that leave little of the base.
func (a *app) noteOutsizes(r *fuse.Report) {
	if len(r.Outsizes) == 0 {
		return
	}
	worst := slices.MaxFunc(r.Outsizes, func(x, y fuse.Outsize) int { return cmp.Compare(x.Ratio, y.Ratio) })
	times := fmt.Sprintf("%.0g", worst.Ratio)
	if worst.Ratio < 1e6 {
		times = commas(int64(worst.Ratio))
	}
	a.log.notice(fmt.Sprintf("the changes of %s leave little of the base, in %s they are %s times as large (root mean squares): are the adapters' weights meant?",
		plural(len(r.Outsizes), "weight"), fault.Quote(worst.Name), times))
}

// adapterText describes the adapter that adapters were merged into.
func adapterText(r *fuse.AdapterResult) string {
	s := fmt.Sprintf("a %s adapter of %s parameters", r.Method, commas(r.Parameters))
	if r.Rank > 0 {
		s = fmt.Sprintf("a %s adapter of rank %d, %s parameters", r.Method, r.Rank, commas(r.Parameters))
	}
	if r.Error > 0 {
		s += ", which lacks " + percent(r.Error) + " of the merged change's norm"
	}
	return s
}

// printOverlaps prints what the changes of each pair have in common.
func (a *app) printOverlaps(r *fuse.Report) {
	if len(r.Overlaps) == 0 {
		return
	}
	names := shortNames(r.Adapters)
	headings := []string{"<overlap", "entries", "share", "of opposite sign", "cosine"}
	if r.Overlaps[0].AWOM != nil {
		headings = append(headings, "AWOM", "AWOR")
	}
	t := newTable(headings...)
	for _, o := range r.Overlaps {
		row := []string{names[o.A] + " and " + names[o.B], commas(o.Entries), percent(o.Share), commas(o.SignConflicts), fmt.Sprintf("%.3f", o.Cosine)}
		if o.AWOM != nil {
			row = append(row, magnitude(o.AWOM), percent(*o.AWOR))
		}
		t.add(row...)
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
