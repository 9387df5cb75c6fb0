package train

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"shira/internal/adapter"
	"shira/internal/buildinfo"
	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/fsx"
	"shira/internal/kernel"
	"shira/internal/procstat"
	"shira/internal/report"
)

// ReportFile is the name of the report in a run's directory.
const ReportFile = "report.html"

// writeReport writes report.html: what the run has come to so far, in pictures.
func (t *trainer) writeReport() error {
	layers, err := t.layers()
	if err != nil {
		return err
	}
	page := &report.Page{
		Title:    "Training run " + filepath.Base(t.cfg.OutputDir),
		Subtitle: fmt.Sprintf("%s of %s, %s", t.what(), t.cfg.ModelNameOrPath, time.Now().Format("2 January 2006, 15:04")),
		Facts:    t.facts(),
		Sections: []report.Section{t.lossSection(), t.courseSection()},
		Footer:   "Losses are means over counted tokens, in nats; perplexity is their exponential. metrics.jsonl has the numbers.",
	}
	page.Sections = append(page.Sections, layers...)
	page.Sections = append(page.Sections, t.runSection())
	return fsx.WriteFile(filepath.Join(t.out.dir, ReportFile), page.Write)
}

// what names the method and the mask.
func (t *trainer) what() string {
	p := t.planned
	if p.Mask != "" {
		return fmt.Sprintf("%s, mask %s,", p.Method, p.Mask)
	}
	return p.Method
}

func (t *trainer) facts() []report.Fact {
	var facts []report.Fact
	loss := func(name string, v *float64, note string) {
		if v != nil {
			facts = append(facts, report.Fact{Name: name, Value: fmt.Sprintf("%.4f", *v), Note: fmt.Sprintf("perplexity %.2f%s", math.Exp(*v), note)})
		}
	}
	loss("Validation loss before", t.LossBefore, "")
	if t.Step > 0 {
		loss("Validation loss after", t.LossNow, "")
	}
	if t.BestLoss != nil && t.BestStep != t.Step {
		loss("Best validation loss", t.BestLoss, ", step "+report.Commas(int64(t.BestStep)))
	}
	if n := len(t.out.steps); n > 0 {
		loss("Training loss", &t.out.steps[n-1].Loss, ", last step")
	}
	steps := report.Fact{Name: "Steps", Value: report.Commas(int64(t.Step)), Note: fmt.Sprintf("of %s, %.2f epochs", report.Commas(int64(t.steps)), t.Epoch)}
	if t.Stopped {
		steps.Note += ", stopped early"
	}
	p := t.planned
	facts = append(facts, steps,
		report.Fact{Name: "Trained values", Value: report.Commas(p.Trained), Note: percent(p.ShareOfModel) + " of the model"},
		report.Fact{Name: "Tokens", Value: report.Commas(t.Tokens), Note: report.Commas(int64(math.Round(float64(t.Tokens)/math.Max(t.Seconds, 1e-9)))) + " a second"},
		report.Fact{Name: "Time of the steps", Value: (time.Duration(t.Seconds * float64(time.Second))).Round(time.Second / 10).String()})
	if peak := procstat.PeakRSS(); peak > 0 {
		facts = append(facts, report.Fact{Name: "Memory", Value: fmt.Sprintf("%.0f MiB", float64(peak)/(1<<20)), Note: "at the peak"})
	}
	return facts
}

// percent formats a share with two digits.
func percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 2, 64) + "%" }

// column takes one value of every logged step.
func (t *trainer) column(name string, value func(StepInfo) float64) report.Series {
	s := report.Series{Name: name}
	for _, i := range t.out.steps {
		s.X, s.Y = append(s.X, float64(i.Step)), append(s.Y, value(i))
	}
	return s
}

// logged says which steps have values.
func (t *trainer) logged() string {
	if t.cfg.LoggingSteps > 1 {
		return "logged steps"
	}
	return "each step"
}

// smoothed returns a series and above it its moving average, over a thirtieth of what was logged.
func smoothed(s report.Series) []report.Series {
	const least = 20
	if len(s.Y) < least {
		return []report.Series{s}
	}
	average := s
	s.Faint = true
	average.Name = "smoothed"
	average.Y = report.Smooth(s.Y, math.Max(3, float64(len(s.Y))/30))
	return []report.Series{s, average}
}

func (t *trainer) lossSection() report.Section {
	const nats = "nats per counted token"
	losses := smoothed(t.column(t.logged(), func(s StepInfo) float64 { return s.Loss }))
	figures := []report.Figure{report.Lines{Title: "Training loss", Y: nats, X: "step", Series: losses}}
	if len(t.out.evals) > 0 {
		held := report.Series{Name: "validation", Points: true, Colour: 1}
		for _, e := range t.out.evals {
			held.X, held.Y = append(held.X, float64(e.Step)), append(held.Y, e.Loss)
		}
		figures = []report.Figure{
			report.Lines{Title: "Loss", Y: nats, X: "step", Series: append(losses, held)},
			report.Lines{Title: "Validation loss", Y: nats, X: "step", Series: []report.Series{held}},
		}
	}
	return report.Section{Title: "Loss", Figures: figures}
}

func (t *trainer) courseSection() report.Section {
	norm := t.column("gradient norm", func(s StepInfo) float64 { return s.GradNorm })
	figures := []report.Figure{
		report.Lines{Title: "Learning rate", Y: "of AdamW", X: "step", Zero: true,
			Series: []report.Series{t.column("learning rate", func(s StepInfo) float64 { return s.LearningRate })}},
		report.Lines{Title: "Gradient norm", Y: "Euclidean, before clipping", X: "step", Log: wideRange(norm.Y), Series: smoothed(norm)},
		report.Lines{Title: "Speed", Y: "tokens per second", X: "step", Zero: true,
			Series: smoothed(t.column(t.logged(), func(s StepInfo) float64 { return s.TokensPerSecond }))},
	}
	return report.Section{Title: "Course", Figures: figures}
}

// wideRange says whether values span so much that only a logarithmic axis shows them.
func wideRange(values []float64) bool {
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if v > 0 {
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	return high > 30*low
}

// layerOf is the number of the layer in a module's name.
var layerOf = regexp.MustCompile(`\.layers\.(\d+)\.`)

// layers shows what is trained in each layer and by how much it has changed the weights.
func (t *trainer) layers() ([]report.Section, error) {
	if t.cfg.Method == "full" {
		return nil, nil
	}
	var kinds, numbers []string
	type place struct{ kind, layer string }
	trained, ranks, norms, open := map[place]float64{}, map[place]float64{}, map[place]float64{}, map[place]float64{}
	var buf normBuffer
	for _, d := range t.deltas {
		m := layerOf.FindStringSubmatch(d.Module())
		if m == nil {
			continue
		}
		at := place{adapter.ShortName(d.Module()), m[1]}
		kinds, numbers = append(kinds, at.kind), append(numbers, at.layer)
		norm, err := t.norm(d, &buf)
		if err != nil {
			return nil, err
		}
		trained[at], norms[at] = float64(t.trainedOf(d)), norm
		switch d := d.(type) {
		case *adapter.LowRank:
			ranks[at] = float64(d.R)
		case *adapter.FouRA:
			ranks[at] = float64(d.R)
		}
		if i := slices.IndexFunc(t.openRanks, func(o eval.Opening) bool { return o.Module == d.Module() }); i >= 0 {
			open[at] = t.openRanks[i].Open
		}
	}
	if len(kinds) == 0 {
		return nil, nil
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	slices.SortFunc(numbers, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	numbers = slices.Compact(numbers)
	grid := func(values map[place]float64) [][]float64 {
		rows := make([][]float64, len(kinds))
		for i, kind := range kinds {
			for _, layer := range numbers {
				v, ok := values[place{kind, layer}]
				if !ok {
					v = math.NaN()
				}
				rows[i] = append(rows[i], v)
			}
		}
		return rows
	}
	matrix := func(title, note string, values map[place]float64) report.Matrix {
		return report.Matrix{Title: title, Note: note, X: "layer", Rows: kinds, Cols: numbers, Values: grid(values), Whole: len(numbers) > 14}
	}
	figures := []report.Figure{
		matrix("Trained values", "in the weight of each module", trained),
		matrix("Change", "Frobenius norm of the change of each weight", norms),
	}
	if len(ranks) > 0 {
		figures = append(figures, matrix("Rank", "of the factors", ranks))
	}
	if len(open) > 0 {
		figures = append(figures, matrix("Open rank", "sum over the components of each gate's mean over the calibration examples", open))
	}
	return []report.Section{{Title: "Layers", Figures: figures}}, nil
}

// blockEntries is about how many entries of a change are looked at together.
const blockEntries = 1 << 20

// normBuffer is memory that norms use in turn.
type normBuffer struct{ base, block []float32 }

// norm returns the Frobenius norm of a change.
func (t *trainer) norm(d adapter.Delta, buf *normBuffer) (float64, error) {
	out, in := d.Shape()
	sum := 0.0
	switch d := d.(type) {
	case adapter.Entries:
		for r := range out {
			_, values := d.Row(r)
			for _, v := range values {
				sum += float64(v) * float64(v)
			}
		}
		return math.Sqrt(sum), nil
	case *adapter.LowRank:
		if d.Magnitude == nil {
			return d.Norm(), nil
		}
	case *adapter.FouRA:
		return d.Norm(), nil
	}
	tensor, ok := t.model.Checkpoint.Lookup(d.Module() + ".weight")
	if !ok {
		return math.NaN(), nil
	}
	var err error
	if buf.base, err = tensor.Float32s(buf.base[:0]); err != nil {
		return 0, err
	}
	tensor.Release() // or the whole base would be in memory in the end
	base, rows := buf.base, max(1, blockEntries/in)
	buf.block = slices.Grow(buf.block[:0], min(rows, out)*in)
	block := buf.block[:cap(buf.block)]
	for first := 0; first < out; first += rows {
		n := min(rows, out-first)
		d.Rows(block[:n*in], base[first*in:(first+n)*in], first, n)
		for _, v := range block[:n*in] {
			sum += float64(v) * float64(v)
		}
	}
	return math.Sqrt(sum), nil
}

// runSection lists the configuration and where the run took place.
func (t *trainer) runSection() report.Section {
	settings := report.Table{Head: []string{"Configuration", "Value"}}
	for _, s := range (&config.Resolved{Train: *t.cfg}).Settings() {
		if s.Value != nil {
			settings.Rows = append(settings.Rows, []string{s.Key.Name, config.Text(s.Value)})
		}
	}
	p := t.planned
	facts := report.Table{Head: []string{"Run", "Value"}, Rows: [][]string{
		{"base", t.cfg.ModelNameOrPath}, {"base fingerprint", t.fingerprint}, {"parameters of the model", report.Commas(p.Parameters)},
		{"trained values", report.Commas(p.Trained)},
		{"training data", t.train.Name()}, {"training data, SHA-256", t.train.SHA256},
		{"examples", report.Commas(int64(p.Examples))}, {"examples cut at max_seq_length", report.Commas(int64(p.Truncated))},
		{"examples left out, nothing in them counts", report.Commas(int64(p.NoLabels))},
		{"shira", buildinfo.Version()}, {"Go", runtime.Version()}, {"system", runtime.GOOS + "/" + runtime.GOARCH},
		{"kernels", kernel.Features()}, {"threads", strconv.Itoa(kernel.Threads())},
	}}
	if t.resumed > 0 {
		facts.Rows = append(facts.Rows, []string{"went on after step", report.Commas(int64(t.resumed))})
	}
	return report.Section{Title: "Run", Figures: []report.Figure{settings, facts}}
}
