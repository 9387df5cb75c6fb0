package cli

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"shira/internal/adapter"
	"shira/internal/kernel"
)

// adapterDetails is the JSON of an inspected adapter. Fields are only ever added.
type adapterDetails struct {
	Kind            string         `json:"kind"` // "adapter"
	Path            string         `json:"path"`
	Format          string         `json:"format"` // "PEFT", "shira" or the program that wrote it
	Method          string         `json:"method"`
	Mask            string         `json:"mask,omitempty"`
	R               int            `json:"r,omitempty"`
	Density         float64        `json:"density,omitempty"`
	TargetModules   []string       `json:"target_modules"`
	Seed            uint64         `json:"seed"`
	Parameters      int64          `json:"parameters"`
	Base            string         `json:"base_model_name_or_path"`
	BaseFingerprint string         `json:"base_fingerprint"`
	DataHash        string         `json:"data_hash"`
	ToolVersion     string         `json:"tool_version"`
	Digest          string         `json:"digest"`
	Values          distribution   `json:"values"` // of sparse entries
	Ranks           []int          `json:"ranks,omitempty"`
	Alphas          []float64      `json:"alphas,omitempty"`
	Scales          []float32      `json:"scales,omitempty"`
	Transform       string         `json:"transform,omitempty"` // of FouRA
	Gate            string         `json:"gate,omitempty"`
	Norm            float64        `json:"norm"`
	Extras          []string       `json:"extras,omitempty"` // tensors that change no weight
	Targets         []targetObject `json:"targets"`
	Modules         []targetObject `json:"modules"`
}

// targetObject is one module of an adapter, or all that end in the same name.
type targetObject struct {
	Name       string       `json:"name"`
	Modules    int          `json:"modules"`
	Out        int          `json:"out"` // of the first module; 0 when the file does not say
	In         int          `json:"in"`
	Parameters int64        `json:"parameters"`
	Density    *float64     `json:"density"` // share of the weights' entries; null when the file does not say their shapes
	Values     distribution `json:"values"`  // of sparse entries
	Ranks      []int        `json:"ranks,omitempty"`
	Alphas     []float64    `json:"alphas,omitempty"`
	Scales     []float32    `json:"scales,omitempty"`
	Norm       float64      `json:"norm"` // Frobenius, of all modules' changes together; of DoRA's, that of the direction

	entries int64
	varies  bool // modules have several shapes
}

// distribution describes trained values.
type distribution struct {
	MeanAbs   float64 `json:"mean_abs"`
	MaxAbs    float64 `json:"max_abs"`
	ZeroShare float64 `json:"zero_share"`

	n, zeros int64
	sum      float64
}

func (d *distribution) add(values []float32) {
	for _, v := range values {
		abs := math.Abs(float64(v))
		d.sum += abs
		d.MaxAbs = max(d.MaxAbs, abs)
		if v == 0 {
			d.zeros++
		}
	}
	if d.n += int64(len(values)); d.n > 0 {
		d.MeanAbs, d.ZeroShare = d.sum/float64(d.n), float64(d.zeros)/float64(d.n)
	}
}

// add counts a module in.
func (t *targetObject) add(d adapter.Delta, norm float64) {
	out, in := d.Shape()
	if t.Modules == 0 {
		t.Out, t.In = out, in
	}
	t.varies = t.varies || t.Out != out || t.In != in
	t.Modules++
	t.Parameters += int64(d.Parameters())
	t.entries += int64(out) * int64(in)
	if t.Density = nil; t.entries > 0 {
		density := float64(t.Parameters) / float64(t.entries)
		t.Density = &density
	}
	t.Norm = math.Hypot(t.Norm, norm)
	t.Values.add(valuesOf(d))
	switch d := d.(type) {
	case *adapter.LowRank:
		t.rank(d.R, d.Alpha, d.Scale)
	case *adapter.FouRA:
		t.rank(d.R, d.Alpha, d.Scale)
	}
}

func (t *targetObject) rank(r int, alpha float64, scale float32) {
	t.Ranks, t.Alphas, t.Scales = insert(t.Ranks, r), insert(t.Alphas, alpha), insert(t.Scales, scale)
}

// flatNumber is a number within a name that has underscores for dots.
var flatNumber = regexp.MustCompile(`_[0-9]+_`)

// kindOf returns what modules of one kind have in common: the last element of the name that is no number, with what
// follows it.
func kindOf(module string) string {
	if component, _, numbered := strings.Cut(module, ":"); numbered {
		return component
	}
	if at := flatNumber.FindAllStringIndex(module, -1); at != nil && !strings.Contains(module, ".") {
		return module[at[len(at)-1][1]:]
	}
	elements := strings.Split(module, ".")
	i := len(elements) - 1
	for i > 0 && strings.Trim(elements[i], "0123456789") == "" {
		i--
	}
	return strings.Join(elements[i:], ".")
}

// insert adds v to a sorted list of distinct values.
func insert[T cmp.Ordered](list []T, v T) []T {
	if i, found := slices.BinarySearch(list, v); !found {
		return slices.Insert(list, i, v)
	}
	return list
}

// valuesOf returns the trained entries of a delta.
func valuesOf(d adapter.Delta) []float32 {
	switch d := d.(type) {
	case *adapter.Sparse:
		return d.Values
	case *adapter.ShiraDora:
		return d.S.Values
	}
	return nil
}

func inspectAdapter(a *app, o inspectOptions) error {
	ad, err := adapter.Load(o.path)
	if err != nil {
		return err
	}
	object := describeAdapter(ad)
	if o.asJSON {
		return a.printJSON(object)
	}
	a.printAdapter(object, o.all)
	return nil
}

func describeAdapter(ad *adapter.Adapter) *adapterDetails {
	c := ad.Config
	o := &adapterDetails{
		Kind: "adapter", Path: ad.Path, Format: ad.Format, Method: c.Method, Mask: c.Mask, R: c.R, Density: c.Density, TargetModules: c.TargetModules,
		Seed: c.Seed, Parameters: ad.Parameters(), Base: c.BaseName, BaseFingerprint: c.BaseFingerprint, DataHash: c.DataHash,
		ToolVersion: c.ToolVersion, Transform: c.Transform, Gate: c.Gate, Digest: ad.Digest(), Targets: []targetObject{}, Modules: []targetObject{},
	}
	var all targetObject
	norms := make([]float64, len(ad.Deltas))
	kernel.Parallel(len(norms), func(i int) { norms[i] = ad.Deltas[i].Norm() })
	for i, d := range ad.Deltas {
		all.add(d, norms[i])
		module := targetObject{Name: d.Module()}
		module.add(d, norms[i])
		o.Modules = append(o.Modules, module)

		last := kindOf(d.Module())
		at := slices.IndexFunc(o.Targets, func(t targetObject) bool { return t.Name == last })
		if at < 0 {
			at = len(o.Targets)
			o.Targets = append(o.Targets, targetObject{Name: last})
		}
		o.Targets[at].add(d, norms[i])
	}
	o.Extras = ad.Extras
	o.Values, o.Ranks, o.Alphas, o.Scales, o.Norm = all.Values, all.Ranks, all.Alphas, all.Scales, all.Norm
	return o
}

func (a *app) printAdapter(o *adapterDetails, all bool) {
	var budget, rank, values string
	switch {
	case o.Ranks != nil:
		rank = fmt.Sprintf("%s; alpha %s, scale %s", span(o.Ranks), span(o.Alphas), span(o.Scales))
	case o.R > 0:
		budget = fmt.Sprintf("r = %d: r·(out+in) entries of each weight", o.R)
	case o.Density > 0:
		budget = percent(o.Density) + " of each weight"
	}
	if o.Ranks == nil {
		values = fmt.Sprintf("mean |v| %.3g, largest %.3g, %s zero", o.Values.MeanAbs, o.Values.MaxAbs, percent(o.Values.ZeroShare))
	}
	fields(a.stdout,
		[2]string{"adapter", o.Path},
		[2]string{"format", o.Format},
		[2]string{"method", o.Method},
		[2]string{"mask", o.Mask},
		[2]string{"budget", budget},
		[2]string{"rank", rank},
		[2]string{"transform", o.Transform},
		[2]string{"gate", o.Gate},
		[2]string{"parameters", fmt.Sprintf("%s in %s", commas(o.Parameters), plural(len(o.Modules), "module"))},
		[2]string{"values", values},
		[2]string{"norm", fmt.Sprintf("%.4g", o.Norm)},
		[2]string{"also holds", strings.Join(o.Extras, ", ")},
		[2]string{"base", o.Base},
		[2]string{"base fingerprint", o.BaseFingerprint},
		[2]string{"data hash", o.DataHash},
		[2]string{"written by", o.ToolVersion})

	rows, name := o.Targets, "<target"
	if all {
		rows, name = o.Modules, "<module"
	}
	columns := sparseColumns
	if o.Ranks != nil {
		columns = lowRankColumns
	}
	headings := []string{name, "modules", "shape", "parameters"}
	for _, c := range columns {
		headings = append(headings, c.heading)
	}
	t := newTable(headings...)
	for i, r := range rows {
		if !all && i == maxListed {
			break
		}
		dims := "-"
		if r.Out > 0 {
			dims = shape([]int{r.Out, r.In})
			if r.varies {
				dims += " …"
			}
		}
		cells := []string{r.Name, commas(int64(r.Modules)), dims, commas(r.Parameters)}
		for _, c := range columns {
			cells = append(cells, c.cell(&r))
		}
		t.add(cells...)
	}
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
	a.printMore(len(rows), all)
}

// column is one of the table of targets.
type column struct {
	heading string
	cell    func(t *targetObject) string
}

var (
	normColumn = column{"norm", func(t *targetObject) string { return fmt.Sprintf("%.4g", t.Norm) }}

	sparseColumns = []column{
		{"density", func(t *targetObject) string {
			if t.Density == nil {
				return "-"
			}
			return percent(*t.Density)
		}},
		{"mean |v|", func(t *targetObject) string { return fmt.Sprintf("%.3g", t.Values.MeanAbs) }},
		{"largest", func(t *targetObject) string { return fmt.Sprintf("%.3g", t.Values.MaxAbs) }},
		{"zero", func(t *targetObject) string { return percent(t.Values.ZeroShare) }},
		normColumn,
	}
	lowRankColumns = []column{
		{"rank", func(t *targetObject) string {
			if t.Ranks == nil {
				return "whole"
			}
			return span(t.Ranks)
		}},
		{"alpha", func(t *targetObject) string { return span(t.Alphas) }},
		{"scale", func(t *targetObject) string { return span(t.Scales) }},
		normColumn,
	}
)

// span says of sorted distinct values which there are: "8" or "4–64".
func span[T cmp.Ordered](list []T) string {
	switch len(list) {
	case 0:
		return "-"
	case 1:
		return fmt.Sprint(list[0])
	}
	return fmt.Sprintf("%v–%v", list[0], list[len(list)-1])
}
