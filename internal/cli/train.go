package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/train"
)

type trainOptions struct {
	config string
	sets   []string
	resume string
	dryRun bool
	asJSON bool

	profile bool
}

func newTrainCmd(a *app) *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:   "train --config FILE [--set KEY=VALUE]…",
		Short: "Train an adapter, or a whole model",
		Long: `Train an adapter on a base model, or with method: full the model itself, as a
configuration file says. The result goes to its output_dir: for an adapter a PEFT
directory, for a model a complete model directory; and metrics.jsonl beside it.
The base is not changed.

Every save_steps a checkpoint is written, from which a run that was stopped, by
whatever, goes on with --resume auto, to the same bytes as if it had not been.
SIGINT and SIGTERM write one as well; a second signal ends the run at once.

Values come from --set first, then from SHIRA_* environment variables, from the
file, and from the defaults last.`,
		Args: arguments(0, 0, "no argument: the file goes after --config"),
		Example: `  shira config init -o run.yaml
  shira train --config run.yaml --dry-run
  shira train --config run.yaml --resume auto
  shira train --config run.yaml --set learning_rate=1e-3 --set output_dir=out/hot`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable, fault.Numerical, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.config == "" {
				return fault.New(fault.Usage, "", "want --config FILE").
					WithHint("`shira config init -o run.yaml` writes one to start from")
			}
			return runTrain(cmd.Context(), a, o)
		},
	}
	addConfigFlags(cmd, &o.config, &o.sets)
	cmd.Flags().StringVar(&o.resume, "resume", "", "go on from a checkpoint: `auto|DIR`, auto being the newest in output_dir")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would be trained, and the memory it takes; write nothing")
	cmd.Flags().BoolVar(&o.profile, "profile", false, "print the time by operator and the utilisation of this machine's peak")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func runTrain(ctx context.Context, a *app, o trainOptions) error {
	if o.resume != "" {
		o.sets = append(o.sets, "resume_from_checkpoint="+o.resume)
	}
	r, err := a.loadConfig(o.config, o.sets)
	if err != nil {
		return err
	}
	if err := a.checkSwitched(r.Train.ModelNameOrPath, true, false); err != nil {
		return err
	}
	if o.dryRun && o.profile {
		return fault.New(fault.Usage, "", "--dry-run and --profile: a dry run takes no step to profile")
	}
	if o.dryRun {
		return runTrainDry(ctx, a, &r.Train, o.asJSON)
	}
	r.Train.Profile = o.profile
	progress := newTrainProgress(a)
	result, err := train.Run(ctx, &r.Train, progress)
	progress.close()
	if err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(result)
	}
	a.printTrained(&r.Train, result)
	return nil
}

func runTrainDry(ctx context.Context, a *app, cfg *config.Train, asJSON bool) error {
	plan, err := train.MakePlan(ctx, cfg)
	if err != nil {
		return err
	}
	for _, n := range plan.Notices {
		a.log.notice(n)
	}
	if asJSON {
		if err := a.printJSON(plan); err != nil {
			return err
		}
		return plan.Refusal
	}
	a.printPlan(plan)
	return plan.Refusal
}

// printPlan prints what a run would do.
func (a *app) printPlan(p *train.Plan) {
	headings := []string{"<target", "weights", "shape", "entries", "trained", "share"}
	ranked := slices.ContainsFunc(p.Targets, func(r train.PlanTarget) bool { return r.Ranks != nil })
	if ranked {
		headings = append(headings, "rank")
	}
	t := newTable(headings...)
	var weights, trained int64
	matched := 0
	for _, r := range p.Targets {
		dims := ""
		if r.Out > 0 {
			dims = shape([]int{r.Out, r.In})
		}
		cells := []string{r.Pattern, commas(int64(r.Matched)), dims, commas(r.Weights), commas(r.Trained), share(r.Trained, r.Weights)}
		if ranked {
			cells = append(cells, span(r.Ranks))
		}
		t.add(cells...)
		weights, trained, matched = weights+r.Weights, trained+r.Trained, matched+r.Matched
	}
	if len(p.Targets) > 1 {
		cells := []string{"all", commas(int64(matched)), "", commas(weights), commas(trained), percent(p.ShareOfTargets)}
		if ranked {
			cells = append(cells, "")
		}
		t.add(cells...)
	}
	method := p.Method
	if p.Mask != "" {
		method += ", mask " + p.Mask
	}
	fields(a.stdout, [2]string{"model", p.Model}, [2]string{"method", method})
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
	fmt.Fprintln(a.stdout)

	written := "adapter"
	if p.Method == "full" {
		written = "model"
	}
	fields(a.stdout,
		[2]string{"trained", fmt.Sprintf("%s of the model's %s parameters: %s", commas(p.Trained), commas(p.Parameters), percent(p.ShareOfModel))},
		[2]string{written, byteSize(p.AdapterBytes)},
		[2]string{"examples", examplesText(p)},
		[2]string{"steps", fmt.Sprintf("%s of at most %s tokens; %s an epoch", commas(int64(p.Steps)), commas(int64(p.TokensPerStep)), commas(int64(p.StepsPerEpoch)))})
	fmt.Fprintln(a.stdout)
	a.printDatasets(p.Files)

	memory := newTable("<peak memory, estimated", "")
	for _, m := range p.Memory {
		memory.add(m.Component, byteSize(m.Bytes))
	}
	memory.add("total", byteSize(p.MemoryTotal))
	fmt.Fprintln(a.stdout)
	memory.write(a.stdout)
}

// examplesText counts the examples, and those that are not used as they are.
func examplesText(p *train.Plan) string {
	return countExamples(p.Examples, p.Truncated, "max_seq_length", p.NoLabels)
}

// countExamples is a number of examples, of which some were cut at a length, and of what is not among them.
func countExamples(examples, cut int, at string, noLabels int) string {
	var notes []string
	if cut > 0 {
		notes = append(notes, commas(int64(cut))+" cut at "+at)
	}
	if noLabels > 0 {
		notes = append(notes, commas(int64(noLabels))+" more left out, since nothing in them counts")
	}
	s := commas(int64(examples))
	if len(notes) > 0 {
		s += " (" + strings.Join(notes, "; ") + ")"
	}
	return s
}

// share formats part/whole.
func share(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return percent(float64(part) / float64(whole))
}

// printTrained prints what a run has come to, and what to type next.
func (a *app) printTrained(cfg *config.Train, r *train.Result) {
	what := "adapter"
	if cfg.Method == "full" {
		what = "model"
	}
	steps := plural(r.Steps, "step")
	if r.StoppedEarly {
		steps += ", stopped early"
	}
	after := "validation, after"
	if cfg.LoadBestModelAtEnd && r.BestStep > 0 {
		after = fmt.Sprintf("validation, best (step %d)", r.BestStep)
	}
	fields(a.stdout,
		[2]string{what, r.OutputDir},
		[2]string{"report", filepath.Join(r.OutputDir, train.ReportFile)},
		[2]string{"trained", fmt.Sprintf("%s in %s", plural(int(r.TrainableParameters), "parameter"), steps)},
		[2]string{"speed", rate(r.TokensPerSecond) + " tokens/s"},
		[2]string{"memory", memoryText(r.PeakRSSBytes)},
		[2]string{"gates", openText(r.OpenRanks)})

	t := newTable("<", "loss", "perplexity")
	if r.EvalLossBefore != nil {
		t.add("validation, before", lossText(*r.EvalLossBefore), perplexity(*r.EvalLossBefore))
	}
	if r.EvalLoss != nil {
		t.add(after, lossText(*r.EvalLoss), perplexity(*r.EvalLoss))
	}
	t.add("training, last step", lossText(r.TrainLoss), perplexity(r.TrainLoss))
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)

	if r.Profile != nil {
		a.printProfile(cfg, r.Profile)
	}

	model, dir, file := shellQuote(cfg.ModelNameOrPath), shellQuote(r.OutputDir), evalData(cfg)
	if r.Cut {
		file += fmt.Sprintf(" --max-seq-length %d", cfg.MaxSeqLength) // what the losses were measured with
	}
	fmt.Fprint(a.stdout, "\nNext:\n")
	if cfg.Method == "full" {
		fmt.Fprintf(a.stdout, "  shira eval %s --data %s\n", dir, file)
	} else {
		fmt.Fprintf(a.stdout, "  shira eval %s --data %s --adapter %s\n", model, file, dir)
		if len(r.OpenRanks) > 0 && cfg.Gate != config.GateFrozen {
			fmt.Fprintf(a.stdout, "  shira freeze-gate %s --model %s --data %s -o OUT\n", dir, model, file)
		} else {
			fmt.Fprintf(a.stdout, "  shira fuse %s %s\n", model, dir)
		}
	}
	fmt.Fprintf(a.stdout, "  shira inspect %s\n", dir)
}

// openText says how far gates are open, "" where there are none.
func openText(gates []eval.Opening) string {
	if len(gates) == 0 {
		return ""
	}
	var open float64
	rank := 0
	for _, o := range gates {
		open, rank = open+o.Open, rank+o.Rank
	}
	return fmt.Sprintf("%.1f of %d components open in %s", open, rank, plural(len(gates), "module"))
}

// printProfile prints where a run's time went.
func (a *app) printProfile(cfg *config.Train, p *train.Profile) {
	t := newTable("<operator", "calls", "seconds", "share", "Gflop/s")
	rest := p.Seconds
	row := func(name, calls string, seconds, flops float64) {
		speed := ""
		if flops > 0 {
			speed = commas(int64(flops / seconds / 1e9))
		}
		t.add(name, calls, fmt.Sprintf("%.3f", seconds), fmt.Sprintf("%.1f%%", 100*seconds/p.Seconds), speed)
	}
	for _, o := range p.Operators {
		row(o.Name, commas(int64(o.Calls)), o.Seconds, o.Flops)
		rest -= o.Seconds
	}
	row("optimizer, data, the rest", "", rest, 0)
	row("all", "", p.Seconds, p.Flops)
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
	fmt.Fprintln(a.stdout)
	fields(a.stdout,
		[2]string{"peak", fmt.Sprintf("%s Gflop/s: large matrix products in %s, %s", commas(int64(p.PeakFlops/1e9)), cfg.ComputeDType, plural(p.Threads, "thread"))},
		[2]string{"utilisation", percent(p.Utilisation) + " of it, by the model's own arithmetic, from the second step on"})
}

// memoryText formats a peak of memory, "" where the system does not tell.
func memoryText(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return byteSize(bytes) + " at the peak"
}
