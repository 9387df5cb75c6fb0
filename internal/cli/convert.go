package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// The forms that --to names.
const (
	toPEFT    = "peft"
	toFile    = "file"
	toCompact = "compact"
)

type convertOptions struct {
	in, out   string
	to        string // "" for the one that out's name suggests
	dtype     string // "" for that of the input
	base      string
	component string
	force     bool
	dryRun    bool
	asJSON    bool
}

func newConvertCmd(a *app) *cobra.Command {
	var o convertOptions
	cmd := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Write an adapter in another form",
		Long: `Write an adapter in another form. IN is any adapter that shira reads: of PEFT, mlx-lm,
diffusers, kohya's scripts, or its own. What it does stays the same, but for the rounding
that --dtype asks for. OUT becomes

  --to peft     a directory for PEFT; so without --to
  --to file     one safetensors file that stands alone; so when OUT ends in .safetensors
                or .st
  --to compact  such a file with a SHiRA adapter's indices packed, about 3 bytes for each
                parameter in bfloat16 instead of 12

Names of kohya's scripts have underscores for dots: --base names the model that has the
right ones. It also gives SHiRA adapters of PEFT the shapes that --to compact needs. An
adapter for several models of a diffusion pipeline is converted for one --component.`,
		Args: arguments(2, 2, "IN and OUT"),
		Example: `  shira convert out out.st --to compact --dtype bfloat16
  shira convert mlx-adapters peft-adapter
  shira convert kohya.safetensors unet-lora --base sd/unet --component unet`,
		Annotations: exits(fault.Malformed, fault.Incompatible, fault.Numerical),
		RunE: func(_ *cobra.Command, args []string) error {
			o.in, o.out = args[0], args[1]
			return runConvert(a, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.to, "to", "", "the form of OUT: `peft|file|compact`")
	f.StringVar(&o.dtype, "dtype", "", "the type of the values: `float32|float16|bfloat16`; default that of IN")
	f.StringVar(&o.base, "base", "", "the `MODEL` that the adapter is for: names and shapes are checked against it")
	f.StringVar(&o.component, "component", "", "keep what is for this `MODEL` of a pipeline: unet, text_encoder, …")
	f.BoolVar(&o.force, "force", false, "replace OUT where it exists, and take a base other than the one it was trained on")
	f.BoolVar(&o.dryRun, "dry-run", false, "report only; write nothing")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// convertedObject is the JSON of a conversion. Fields are only ever added.
type convertedObject struct {
	Input      string   `json:"input"`
	From       string   `json:"from"` // its format
	Output     string   `json:"output"`
	To         string   `json:"to"`
	Method     string   `json:"method"`
	DType      string   `json:"dtype"`
	Modules    int      `json:"modules"`
	Parameters int64    `json:"parameters"`
	Bytes      int64    `json:"bytes"`    // of OUT's tensors
	Rounding   *float64 `json:"rounding"` // norm of what rounding changed over that of the values; null without --dtype
	Written    bool     `json:"written"`
}

func runConvert(a *app, o convertOptions) error {
	if err := o.complete(); err != nil {
		return err
	}
	ad, err := adapter.Load(o.in)
	if err != nil {
		return err
	}
	r := &convertedObject{Input: o.in, From: ad.Format, Output: o.out, To: o.to}
	if err := o.identify(ad); err != nil {
		return err
	}
	if o.dtype != "" {
		lost, err := ad.Round(dtypes[o.dtype])
		if err != nil {
			return err
		}
		r.Rounding = &lost
	}
	ad.Form.Compact = o.to == toCompact
	r.Method, r.Modules, r.Parameters, r.DType = ad.Config.Method, len(ad.Deltas), ad.Parameters(), ad.Form.Type().String()
	if r.Bytes, err = ad.Size(); err != nil {
		return err
	}
	if !o.dryRun {
		if err := o.write(ad); err != nil {
			return err
		}
		r.Written = true
	}
	if s := ad.PEFTNotice(); s != "" && o.to == toPEFT {
		a.log.notice(s)
	}
	if o.asJSON {
		return a.printJSON(r)
	}
	a.printConverted(r)
	return nil
}

// dtypes are the values of --dtype, with their short names.
var dtypes = map[string]checkpoint.DType{
	"float32": checkpoint.F32, "float16": checkpoint.F16, "bfloat16": checkpoint.BF16,
	"fp32": checkpoint.F32, "fp16": checkpoint.F16, "bf16": checkpoint.BF16,
}

// complete checks the flags and the output, and fills in what is not given.
func (o *convertOptions) complete() error {
	o.out = filepath.Clean(o.out)
	if o.to == "" {
		o.to = toPEFT
		if ext := filepath.Ext(o.out); ext == ".safetensors" || ext == ".st" {
			o.to = toFile
		}
	}
	if !slices.Contains([]string{toPEFT, toFile, toCompact}, o.to) {
		return fault.New(fault.Usage, "", "--to: want peft, file or compact, got %s", fault.Quote(o.to))
	}
	if _, ok := dtypes[o.dtype]; !ok && o.dtype != "" {
		return fault.New(fault.Usage, "", "--dtype: want float32, float16 or bfloat16, got %s", fault.Quote(o.dtype))
	}
	in, err := fsx.Resolve(o.in)
	if err != nil {
		return fsx.Wrap(err, o.in, "open the adapter")
	}
	out, err := fsx.Resolve(o.out)
	if err != nil {
		return fsx.Wrap(err, o.out, "write")
	}
	if in == out || fsx.Within(in, out) {
		return fault.New(fault.Usage, o.out, "the output is, or holds, the input %s", fault.Quote(o.in))
	}
	inputs := []string{o.in}
	if o.base != "" {
		inputs = append(inputs, o.base)
	}
	if err := spare(o.out, inputs...); err != nil {
		return err
	}
	return o.checkExisting()
}

// checkExisting refuses an output that something would be lost by.
func (o *convertOptions) checkExisting() error {
	info, err := os.Stat(o.out)
	switch {
	case os.IsNotExist(err) || o.dryRun:
		return nil
	case err != nil:
		return fsx.Wrap(err, o.out, "write")
	case info.IsDir() != (o.to == toPEFT):
		return fault.New(fault.Usage, o.out, "exists, and --to %s would write %s", o.to, map[bool]string{true: "a directory", false: "a file"}[o.to == toPEFT])
	case holdsModel(o.out):
		return fault.New(fault.Usage, o.out, "holds a model: no adapter is written into it")
	case o.force:
		return nil
	case info.IsDir():
		if found, err := adapter.Recognize(o.out); err != nil || !found {
			return err
		}
		return fault.New(fault.Usage, o.out, "holds an adapter already").WithHint("--force replaces it")
	}
	return fault.New(fault.Usage, o.out, "exists").WithHint("--force replaces it")
}

// identify gives modules the names, and deltas the shapes, of the base.
func (o *convertOptions) identify(ad *adapter.Adapter) error {
	if o.base == "" || o.component != "" {
		if err := ad.Component(o.component); err != nil {
			return err
		}
	}
	if o.base == "" {
		return nil
	}
	base, err := checkpoint.OpenModel(o.base)
	if err != nil {
		return err
	}
	defer base.Close()
	return adapter.CheckAllBeside(base, []*adapter.Adapter{ad}, o.force)
}

func (o *convertOptions) write(ad *adapter.Adapter) error {
	if o.to == toPEFT {
		return ad.Save(o.out)
	}
	return ad.SaveFile(o.out)
}

func (a *app) printConverted(r *convertedObject) {
	form := map[string]string{toPEFT: "PEFT", toFile: "shira", toCompact: "compact"}[r.To]
	rounding := ""
	if r.Rounding != nil {
		rounding = "changed nothing"
		if *r.Rounding > 0 {
			rounding = fmt.Sprintf("changed the values by %s of their norm", percent(*r.Rounding))
		}
	}
	fields(a.stdout,
		[2]string{"adapter", r.Input},
		[2]string{"method", r.Method},
		[2]string{"from", r.From},
		[2]string{"to", form + ", " + r.DType},
		[2]string{"rounding", rounding},
		[2]string{"parameters", fmt.Sprintf("%s in %s", commas(r.Parameters), plural(r.Modules, "module"))},
		[2]string{"tensors", fmt.Sprintf("%s, %.2f bytes a parameter", byteSize(r.Bytes), float64(r.Bytes)/float64(max(1, r.Parameters)))})
	verb := "nothing written; the output would be "
	if r.Written {
		verb = "wrote "
	}
	fmt.Fprintf(a.stdout, "\n%s%s\n", verb, oneLine(r.Output))
}
