package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/train"
)

type maskOptions struct {
	model  string // "" where the configuration names it
	config string
	sets   []string
	flags  []config.Override // from the flags that stand for a key
	out    string
	force  bool
	asJSON bool
}

// maskFlags are the flags of `shira mask` that stand for a key of the configuration.
var maskFlags = []struct{ name, key, usage string }{
	{"mask", "mask", "which entries: `wm|grad|snip|rand|struct`"},
	{"density", "density", "how many, as a share `D` of each weight: 0.01 is 1%"},
	{"r", "r", "how many: `R`·(out+in) of each weight"},
	{"density-pattern", "density_pattern", "other shares of some weights: `q_proj=0.02,…`"},
	{"data", "train_file", "`FILE` with the examples that grad and snip calibrate on"},
	{"calibration-samples", "calibration_samples", "how many of them: `N`"},
	{"max-seq-length", "max_seq_length", "cut examples to `N` tokens"},
	{"target-modules", "target_modules", "`NAMES` of the weights, with commas between them"},
	{"scope", "scope", "rank entries by `tensor|global`"},
	{"axis", "axis", "what struct takes: `row|col|both`"},
	{"offset", "offset", "pass over the first `O` entries, in the unit of the budget"},
	{"exclude", "exclude", "leave the entries of these `ADAPTERS` alone, with commas between them"},
	{"seed", "seed", "`SEED` of rand"},
	{"compute-dtype", "compute_dtype", "calibrate in `float32|bfloat16`"},
	{"threads", "threads", "`N` threads; 0 = all cores"},
}

func newMaskCmd(a *app) *cobra.Command {
	var o maskOptions
	cmd := &cobra.Command{
		Use:   "mask MODEL --mask NAME --density D [-o OUT]",
		Short: "Choose the entries that an adapter would train",
		Long: `Choose the entries that a SHiRA adapter of a model would train, and print how they are
spread over its layers and kinds of weights: how many, and which share of the rows and
columns has any. With -o they are saved, as an adapter whose values are zero: with
init_adapter a run trains just these, and with exclude another one leaves them alone.

The flags stand for keys of the configuration, and --config takes all of them from that
of a run. ` + "`shira mask compare`" + ` compares two masks or adapters.`,
		Args: arguments(0, 1, "MODEL, or --config FILE that names it"),
		Example: `  shira mask base --mask wm --density 0.01
  shira mask base --mask snip --density 0.01 --data train.jsonl -o mask.st
  shira mask --config run.yaml --set offset=0.01 -o second.st
  shira mask compare mask.st second.st`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Numerical, fault.Interrupted, fault.Terminated),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := outputNamed(cmd, o.out); err != nil {
				return err
			}
			if len(args) > 0 {
				o.model = args[0]
				o.flags = append(o.flags, config.Override{Layer: config.Flag, Name: "model_name_or_path", Value: args[0], Flag: "MODEL"})
			}
			if len(args) == 0 && o.config == "" {
				return fault.New(fault.Usage, "", "want MODEL, or --config FILE that names it")
			}
			for _, f := range maskFlags {
				if flag := cmd.Flags().Lookup(f.name); flag.Changed {
					o.flags = append(o.flags, config.Override{Layer: config.Flag, Name: f.key, Value: flag.Value.String(), Flag: "--" + f.name})
				}
			}
			return runMask(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.out, "output", "o", "", "save the mask to `OUT`, a safetensors file")
	f.BoolVar(&o.force, "force", false, "replace OUT where it exists")
	for _, flag := range maskFlags {
		f.String(flag.name, "", flag.usage)
	}
	addConfigFlags(cmd, &o.config, &o.sets)
	addJSON(cmd, &o.asJSON)
	cmd.AddCommand(newMaskCompareCmd(a))
	return cmd
}

// maskObject is the JSON of a mask. Fields are only ever added.
type maskObject struct {
	Model   string  `json:"model"`
	Mask    string  `json:"mask"`
	R       int     `json:"r,omitempty"`
	Density float64 `json:"density,omitempty"`
	Output  *string `json:"output"` // null where it was not saved
	spread
}

func runMask(ctx context.Context, a *app, o maskOptions) error {
	r, err := a.maskConfig(o)
	if err != nil {
		return err
	}
	if err := checkMaskOutput(o, r.ModelNameOrPath); err != nil {
		return err
	}
	m, err := train.ChooseMask(ctx, &r.Train, a.log.notice)
	if err != nil {
		return err
	}
	object := maskObject{Model: r.ModelNameOrPath, Mask: r.Mask, R: r.R, Density: r.Density, spread: spreadOf(m)}
	if o.out != "" {
		if err := m.Adapter.SaveFile(o.out); err != nil {
			return err
		}
		object.Output = &o.out
	}
	if o.asJSON {
		return a.printJSON(object)
	}
	a.printMask(&r.Train, o, object.spread)
	return nil
}

// maskConfig resolves the flags, the environment and the file.
func (a *app) maskConfig(o maskOptions) (*config.Resolved, error) {
	var data []byte
	if o.config != "" {
		var err error
		if data, err = a.readConfig(o.config); err != nil {
			return nil, err
		}
	}
	return a.resolveConfig(config.ForMask, o.config, data, o.sets, o.flags...)
}

// checkMaskOutput refuses an output that could not be written, before what may take minutes.
func checkMaskOutput(o maskOptions, model string) error {
	if o.out == "" {
		return nil
	}
	if err := spare(o.out, model); err != nil {
		return err
	}
	if _, err := os.Lstat(o.out); err == nil && !o.force {
		return fault.New(fault.Usage, o.out, "exists already").WithHint("choose another file, or --force to replace it")
	}
	_, err := os.Stat(filepath.Dir(o.out))
	return fsx.Wrap(err, o.out, "write")
}

// budgetText says how many entries a configuration pays for.
func budgetText(cfg *config.Train) string {
	text := percent(cfg.Density) + " of each weight"
	if cfg.R > 0 {
		text = fmt.Sprintf("r = %d: r·(out+in) entries of each weight", cfg.R)
	}
	if cfg.Scope == config.ScopeGlobal {
		text = strings.Replace(text, "each weight", "all weights together", 1)
	}
	if cfg.Offset > 0 {
		text += fmt.Sprintf(", after an offset of %g", cfg.Offset)
	}
	return text
}

func (a *app) printMask(cfg *config.Train, o maskOptions, s spread) {
	fields(a.stdout,
		[2]string{"model", cfg.ModelNameOrPath},
		[2]string{"mask", cfg.Mask},
		[2]string{"budget", budgetText(cfg)},
		[2]string{"excluded", strings.Join(cfg.Exclude, ", ")},
		[2]string{"entries", fmt.Sprintf("%s of %s in %s: %s", commas(s.Total.Selected), commas(s.Total.Entries), plural(s.Total.Modules, "weight"), percent(s.Total.Share))},
		[2]string{"saved as", o.out})
	a.printSpread("kind", s.Kinds)
	a.printSpread("layer", s.Layers)
	if o.out != "" {
		fmt.Fprintf(a.stdout, "\nNext:\n  shira train --config run.yaml --set init_adapter=%s\n", shellQuote(o.out))
	}
}
