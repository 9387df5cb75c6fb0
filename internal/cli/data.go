package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"shira/internal/config"
	"shira/internal/data"
	"shira/internal/fault"
	"shira/internal/train"
)

type dataOptions struct {
	fileFlags
	model         string
	files         []string
	config        string
	sets          []string
	maxSeqLength  int
	trainOnInputs bool
	show          int
	asJSON        bool
}

func newDataCmd(a *app) *cobra.Command {
	var o dataOptions
	cmd := &cobra.Command{
		Use:   "data MODEL FILE…",
		Short: "Look at examples as training sees them: which tokens count",
		Long: `Read files of examples with a model's tokenizer and chat template, count what training
would see of them, and show some: the text of the tokens, special ones included, with
those that count in colour, or between ⟦ and ⟧ where there are no colours. MODEL needs
no weights: a directory with tokenizer.json does.

With --config, the files, tokenizer and lengths are those of a run.`,
		Args: arguments(0, -1, "MODEL and FILEs, or --config FILE"),
		Example: `  shira data base train.jsonl
  shira data base alpaca.json chats.parquet --show 3
  shira data base gsm8k.jsonl --type prompt_completion --field prompt=question --field completion=answer
  shira data --config run.yaml --show 2`,
		Annotations: exits(fault.Malformed, fault.Incompatible),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.config != "" && len(args) > 0:
				return fault.New(fault.Usage, "", "MODEL and FILEs, or --config: not both")
			case o.config == "" && len(args) < 2:
				return fault.New(fault.Usage, "", "want MODEL and FILEs, or --config FILE").WithHint("`shira data --help` shows examples")
			}
			if err := notNegative(cmd.Flags(), "show", "max-seq-length"); err != nil {
				return err
			}
			if o.config != "" {
				for _, name := range append([]string{"max-seq-length", "train-on-inputs"}, flagsOfFiles...) {
					if cmd.Flags().Changed(name) {
						return fault.New(fault.Usage, "", "--%s: with --config, set the key in the file or by --set", name)
					}
				}
			} else {
				o.model, o.files = args[0], args[1:]
			}
			return runData(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&o.show, "show", 1, "show the first `N` examples of each file")
	o.fileFlags.add(f)
	f.IntVar(&o.maxSeqLength, "max-seq-length", 0, "cut examples to `N` tokens; 0: do not")
	f.BoolVar(&o.trainOnInputs, "train-on-inputs", false, "prompts count too")
	addConfigFlags(cmd, &o.config, &o.sets)
	addJSON(cmd, &o.asJSON)
	return cmd
}

func runData(ctx context.Context, a *app, o dataOptions) error {
	opt, err := a.dataOptions(o)
	if err != nil {
		return err
	}
	ds, err := data.Load(ctx, opt)
	if err != nil {
		return err
	}
	defer ds.Close()
	if o.asJSON {
		return a.printJSON(dataObject(ds, opt.Tokenizer, o.show))
	}
	a.printDatasets(train.PlanFiles(ds))
	for _, s := range ds.Sources {
		for i := s.First; i < s.First+min(o.show, s.Examples); i++ {
			a.printExample(ds, i, opt.Tokenizer)
		}
	}
	return nil
}

// dataOptions says what to read: what the configuration trains on, or the files of the command line.
func (a *app) dataOptions(o dataOptions) (opt data.Options, err error) {
	if o.config != "" {
		text, err := a.readConfig(o.config)
		if err != nil {
			return opt, err
		}
		r, err := a.resolveConfig(config.ForData, o.config, text, o.sets)
		if err != nil {
			return opt, err
		}
		dir, err := tokenizerDir(r.ModelNameOrPath)
		if err != nil {
			return opt, err
		}
		opt, err = train.DataOptions(&r.Train, dir)
		opt.MaxLength = r.MaxSeqLength
		return opt, err
	}
	for _, path := range o.files {
		f, err := o.file(path)
		if err != nil {
			return opt, err
		}
		opt.Files = append(opt.Files, f)
	}
	dir, err := tokenizerDir(o.model)
	if err != nil {
		return opt, err
	}
	opt.MaxLength, opt.TrainOnInputs = o.maxSeqLength, o.trainOnInputs
	if opt.Tokenizer, err = data.OpenTokenizer(dir); err != nil {
		return opt, err
	}
	opt.Template, err = data.OpenTemplate(dir, o.chatTemplate)
	return opt, err
}

// tokenizerDir is the directory of a model's tokenizer: the model, or where its file is.
func tokenizerDir(model string) (string, error) {
	info, err := os.Stat(model)
	switch {
	case err != nil:
		return "", fault.New(fault.Environment, model, "no such model")
	case info.IsDir():
		return model, nil
	}
	return filepath.Dir(model), nil
}

// dataObject is the JSON of datasets and of some examples. Fields are only ever added.
func dataObject(ds *data.Dataset, tok data.Tokenizer, show int) any {
	type example struct {
		File   string       `json:"file"`
		Line   int          `json:"line"`
		Tokens int          `json:"tokens"`
		Counts int          `json:"counts"`
		Pieces []data.Piece `json:"pieces"`
	}
	shown := []example{}
	for _, s := range ds.Sources {
		for i := s.First; i < s.First+min(show, s.Examples); i++ {
			ex := ds.Example(i)
			shown = append(shown, example{s.Path, ex.Line, len(ex.IDs), ex.Counted(), ex.Pieces(tok)})
		}
	}
	return struct {
		Files    []train.PlanFile `json:"files"`
		Examples []example        `json:"examples"`
	}{train.PlanFiles(ds), shown}
}

// printDatasets prints the counts of files.
func (a *app) printDatasets(files []train.PlanFile) {
	headings := []string{"<file", "<type", "rows", "examples", "cut", "left out", "tokens", "that count", "longest"}
	mixed := slices.ContainsFunc(files, func(f train.PlanFile) bool { return f.PerEpoch > 0 })
	if mixed {
		headings = append(headings, "in an epoch")
	}
	t := newTable(headings...)
	for _, f := range files {
		path := f.Path
		if f.Use == "validation" {
			path += " (validation)"
		}
		row := []string{path, f.Type, commas(int64(f.Rows)), commas(int64(f.Examples)), commas(int64(f.Truncated)), commas(int64(f.NoLabels)),
			commas(f.Tokens), commas(f.LabelTokens), commas(int64(f.Longest))}
		if mixed {
			perEpoch := ""
			if f.PerEpoch > 0 {
				perEpoch = commas(int64(f.PerEpoch))
			}
			row = append(row, perEpoch)
		}
		t.add(row...)
	}
	t.write(a.stdout)
}

// maxShown is how many bytes of an example are printed.
const maxShown = 16 << 10

// printExample prints the text of an example, with marks around what counts.
func (a *app) printExample(ds *data.Dataset, i int, tok data.Tokenizer) {
	ex := ds.Example(i)
	fmt.Fprintf(a.stdout, "\n%s: %s, %s\n", oneLine(ds.Place(i)), plural(len(ex.IDs), "token"), countText(ex.Counted()))
	opening, closing := "⟦", "⟧"
	if a.colourOut {
		opening, closing = green, reset
	}
	var b strings.Builder
	cut := false
	for _, p := range ex.Pieces(tok) {
		text := printable(p.Text)
		if room := maxShown - b.Len(); len(text) > room {
			text, cut = strings.ToValidUTF8(text[:room], ""), true
		}
		if p.Counts {
			// A colour holds for a line, since pagers start each anew.
			if a.colourOut {
				text = strings.ReplaceAll(text, "\n", closing+"\n"+opening)
			}
			text = opening + text + closing
		}
		if b.WriteString(text); cut {
			b.WriteString(" …\n(cut here; --json has all)")
			break
		}
	}
	for line := range strings.Lines(b.String()) {
		fmt.Fprintf(a.stdout, "  %s\n", strings.TrimSuffix(line, "\n"))
	}
}

func countText(n int) string {
	if n == 1 {
		return "1 counts"
	}
	return commas(int64(n)) + " count"
}

// printable makes a text fit for a terminal: of what is no character to print, only ends of lines and tabs stay.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
