package cli

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"shira/internal/adapter"
	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fault"
	"shira/internal/kernel"
)

type evalOptions struct {
	eval.Options
	fileFlags
	adapters      []string
	batchSize     int
	computeDType  string
	maxPerplexity float64
	gated         bool // maxPerplexity was given
	each          bool // adapters apart
	rows          []string
	mixtures      [][]adapter.Ref // of each
	asJSON        bool
}

// scoringFromEnv are the flags of the commands that score without a configuration, eval and freeze-gate, which the environment
// can set too.
var scoringFromEnv = []string{"threads", "max-seq-length", "compute-dtype"}

func newEvalCmd(a *app) *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval MODEL --data FILE [--adapter ADAPTER[@WEIGHT]]… [--each ADAPTER[@WEIGHT][,…]…]",
		Short: "Score a model, with adapters, on a data file",
		Long: `Score a model on a data file: the mean loss over counted tokens, in nats, and its
exponential, the perplexity. Adapters are applied in memory at their weights; no
file is changed. The result does not depend on threads or batch size.

--each compares: it scores the model as it is, and then with each of the adapters
that follow MODEL, or of mixtures joined by commas. The model is loaded once, and
adapters are switched in memory; the digits are those of a command for each. The
table has how the loss changes from the model's on the same examples, and the
standard error of that, were these others of the same kind.

--max-perplexity makes it a gate for scripts: a worse result is printed, and the
exit code is 9. With --each it holds for every row but the model's own.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.each {
				return arguments(2, -1, "MODEL and adapters")(cmd, args)
			}
			err := arguments(1, 1, "one MODEL")(cmd, args)
			if e, ok := errors.AsType[*fault.Error](err); ok && len(args) > 1 {
				return e.WithHint("--adapter applies an adapter; --each compares those that follow MODEL")
			}
			return err
		},
		Example: `  shira eval base --data test.jsonl
  shira eval base --data test.jsonl --adapter out --adapter other.st@0.5 --json
  shira eval base --data test.jsonl --each runs/* a.st@0.5 a.st,b.st
  shira eval base-fused --data test.jsonl --max-perplexity 12`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Locked, fault.Unrecoverable, fault.Numerical, fault.Gate, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model, o.rows = args[0], args[1:]
			o.gated = cmd.Flags().Changed("max-perplexity")
			if err := o.complete(a, cmd.Flags()); err != nil {
				return err
			}
			return runEval(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.Data, "data", "d", "", "`FILE` of examples, see \"shira help formats\"")
	o.fileFlags.add(f)
	f.StringArrayVarP(&o.adapters, "adapter", "a", nil, "`ADAPTER[@WEIGHT]` to apply; may be repeated")
	f.BoolVar(&o.each, "each", false, "compare the adapters that follow MODEL: score it without and with each")
	f.IntVar(&o.MaxSeqLength, "max-seq-length", 0, "cut examples to `N` tokens; 0: the model's number of positions")
	f.IntVar(&o.Limit, "limit", 0, "score the first `N` examples only; 0: all")
	f.Float64Var(&o.maxPerplexity, "max-perplexity", 0, "fail with exit code 9 when the perplexity is above `X`")
	f.BoolVar(&o.ForceBase, "force", false, "apply adapters that were trained on another base")
	f.IntVar(&o.batchSize, "batch-size", 0, "examples looked at together, `N` of full length; 0: a good number")
	addScoring(f, &o.Options, &o.computeDType)
	addJSON(cmd, &o.asJSON)
	return cmd
}

// addScoring adds the flags of how models are scored.
func addScoring(f *pflag.FlagSet, o *eval.Options, computeDType *string) {
	f.StringVar(computeDType, "compute-dtype", config.Float32, "`TYPE` of the matrix products: float32 or bfloat16")
	f.IntVar(&o.Threads, "threads", 0, "`N` threads; 0: all cores")
}

// completeScoring gives the flags of scoring that were not given the values of their variables, and checks them.
func (a *app) completeScoring(f *pflag.FlagSet, o *eval.Options, computeDType *string) error {
	if err := fromEnvironment(f, scoringFromEnv...); err != nil {
		return err
	}
	if err := notNegative(f, "limit", "batch-size", "threads"); err != nil {
		return err
	}
	if o.MaxSeqLength < 0 || o.MaxSeqLength == 1 {
		return fault.New(fault.Usage, "", "%s: want at least 2, or 0, got %d", flagName(f, "max-seq-length"), o.MaxSeqLength)
	}
	dtype, notice, err := config.Choose("compute_dtype", flagName(f, "compute-dtype"), *computeDType)
	if err != nil {
		return err
	}
	if notice != "" {
		a.log.notice(notice)
	}
	*computeDType, o.Half, o.Notice = dtype, dtype == config.BFloat16, a.log.notice
	return nil
}

// complete checks the flags and brings them into the form that package eval takes.
func (o *evalOptions) complete(a *app, f *pflag.FlagSet) error {
	if err := a.completeScoring(f, &o.Options, &o.computeDType); err != nil {
		return err
	}
	switch {
	case o.Data == "":
		return fault.New(fault.Usage, "", "want --data FILE")
	case o.each && len(o.adapters) > 0:
		return fault.New(fault.Usage, "", "--adapter and --each: with --each adapters follow MODEL, those of a mixture joined by commas")
	case o.gated && !(o.maxPerplexity >= 1):
		return fault.New(fault.Usage, "", "--max-perplexity: want at least 1, got %v", o.maxPerplexity)
	}
	length := o.MaxSeqLength
	if length == 0 {
		length = 512 // only a budget: the result does not depend on it
	}
	if o.batchSize > 1<<30/length {
		return fault.New(fault.Usage, "", "--batch-size: %d is too many", o.batchSize)
	}
	o.BatchTokens = o.batchSize * length
	o.ChatTemplate = o.chatTemplate
	var err error
	if o.File, err = o.file(o.Data); err != nil {
		return err
	}
	for _, row := range o.rows {
		refs, err := adapter.ParseMixture(row)
		if err != nil {
			return err
		}
		o.mixtures = append(o.mixtures, refs)
	}
	o.Adapters, err = parseRefs(o.adapters)
	return err
}

func runEval(ctx context.Context, a *app, o evalOptions) error {
	if err := a.checkSwitched(o.Model, len(o.Adapters)+len(o.mixtures) > 0, o.ForceBase); err != nil {
		return err
	}
	if o.each {
		return runEach(ctx, a, o)
	}
	r, err := eval.Perplexity(ctx, o.Options)
	if err != nil {
		return err
	}
	if o.asJSON {
		err = a.printJSON(evalObject(o, r))
	} else {
		a.printEval(o, r)
	}
	if err == nil && o.gated && !(r.Perplexity <= o.maxPerplexity) {
		return fault.New(fault.Gate, o.Model, "perplexity %s is above --max-perplexity %v", perplexity(r.Loss), o.maxPerplexity)
	}
	return err
}

// adapterObject is an adapter in the JSON of results.
type adapterObject struct {
	Path   string  `json:"path"`
	Weight float64 `json:"weight"`
}

func adapterObjects(refs []adapter.Ref) []adapterObject {
	list := []adapterObject{}
	for _, ref := range refs {
		list = append(list, adapterObject{ref.Path, ref.Weight})
	}
	return list
}

// resultsObject has the measurements by name. Fields are only ever added.
type resultsObject struct {
	Perplexity struct {
		Loss       float64 `json:"loss"`
		Perplexity float64 `json:"perplexity"`
		Tokens     int64   `json:"tokens"`
	} `json:"perplexity"`
}

func newResults(r *eval.Result) (o resultsObject) {
	o.Perplexity.Loss, o.Perplexity.Perplexity, o.Perplexity.Tokens = r.Loss, r.Perplexity, r.Tokens
	return o
}

// scoredObject is what was scored, and in what: the loss depends on both. Fields are only ever added.
type scoredObject struct {
	Rows         int    `json:"rows"`      // of the file
	Examples     int    `json:"examples"`  // scored
	Truncated    int    `json:"truncated"` // rows
	NoLabels     int    `json:"no_labels"` // rows left out, since nothing in them counts
	ComputeDType string `json:"compute_dtype"`
	Kernel       string `json:"kernel"`
}

func newScored(o evalOptions, r *eval.Result) scoredObject {
	return scoredObject{r.Rows, r.Examples, r.Truncated, r.NoLabels, o.computeDType, kernel.Features()}
}

// evalObject is the JSON of a result. Fields are only ever added.
func evalObject(o evalOptions, r *eval.Result) any {
	return struct {
		Model    string          `json:"model"`
		Adapters []adapterObject `json:"adapters"`
		Data     string          `json:"data"`
		scoredObject
		Results         resultsObject `json:"results"`
		TokensPerSecond float64       `json:"tokens_per_second"`
		PeakRSSBytes    int64         `json:"peak_rss_bytes"`
	}{o.Model, adapterObjects(o.Adapters), o.Data, newScored(o, r), newResults(r), r.TokensPerSecond, r.PeakRSSBytes}
}

func (a *app) printEval(o evalOptions, r *eval.Result) {
	fields(a.stdout,
		[2]string{"model", o.Model},
		[2]string{"adapters", mixtureText(o.Adapters, ", ")},
		[2]string{"data", o.Data},
		[2]string{"examples", examplesOf(r)},
		[2]string{"tokens", commas(r.Tokens)},
		[2]string{"loss", exactLoss(r.Loss)},
		[2]string{"perplexity", perplexity(r.Loss)},
		[2]string{"arithmetic", arithmeticText(o)},
		[2]string{"speed", rate(r.TokensPerSecond) + " tokens/s"},
		[2]string{"memory", memoryText(r.PeakRSSBytes)})
}

// examplesOf says how many examples were scored, and which not as they are.
func examplesOf(r *eval.Result) string {
	return countExamples(r.Examples, r.Truncated, "the maximum length", r.NoLabels)
}

// arithmeticText says in what the losses were computed.
func arithmeticText(o evalOptions) string {
	return o.computeDType + ", kernels: " + kernel.Features()
}

func exactLoss(loss float64) string { return strconv.FormatFloat(loss, 'f', 6, 64) }

func mixtureText(refs []adapter.Ref, separator string) string {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = ref.String()
	}
	return strings.Join(names, separator)
}

// parseRefs reads adapters with their weights.
func parseRefs(args []string) ([]adapter.Ref, error) {
	refs := make([]adapter.Ref, 0, len(args))
	for _, arg := range args {
		ref, err := adapter.ParseRef(arg)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}
