package cli

import (
	"context"
	"fmt"
	"io"

	"shira/internal/fsx"
	"shira/internal/kernel"
	"shira/internal/report"
	"shira/internal/switcher"
)

// What the paper gives for switching on a CPU: overwriting entries is so many times faster than fusing LoRA.
const (
	paperLayer = "13 to 16"   // of one weight of 4096×4096
	paperModel = "4.7 to 5.7" // of a whole model

	paperLayerHigh, paperModelHigh = 16, 5.7
)

// comparableBytes is from which size on a model's weights are compared with the paper's, which have gigabytes: those of less lie in
// caches, and calls take a part of the time.
const comparableBytes = 1 << 30

// paperOf is the paper's ratio for a model of the size of b's, "-" where there is none.
func paperOf(b *switcher.Bench) string {
	if b.Whole.Bytes < comparableBytes {
		return "-"
	}
	return paperModel + "×"
}

func (a *app) switchBench(ctx context.Context, o switchOptions) error {
	if err := a.checkSwitched(o.Model, true, o.Force); err != nil {
		return err
	}
	if o.report != "" {
		if err := checkFile(o.report, o.Force, append(paths(o.Adapters), o.Model)...); err != nil {
			return err
		}
	}
	b, err := switcher.Measure(ctx, o.Model, o.Adapters, o.Force)
	if err != nil {
		return err
	}
	if o.report != "" {
		page := benchPage(b)
		if err := fsx.WriteFile(o.report, func(w io.Writer) error { return page.Write(w) }); err != nil {
			return err
		}
	}
	if o.asJSON {
		return a.printJSON(b)
	}
	a.printBench(b)
	return nil
}

// duration formats seconds: 12.3 µs, 4.56 ms.
func duration(seconds float64) string {
	switch {
	case seconds < 1e-3:
		return fmt.Sprintf("%.1f µs", 1e6*seconds)
	case seconds < 1:
		return fmt.Sprintf("%.2f ms", 1e3*seconds)
	}
	return fmt.Sprintf("%.2f s", seconds)
}

func ratioText(r float64) string {
	if r >= 10 {
		return fmt.Sprintf("%.0f×", r)
	}
	return fmt.Sprintf("%.1f×", r)
}

// benchRows are the cells of the table: what, sparse, low rank, ratio, the paper's.
func benchRows(b *switcher.Bench) [][]string {
	var list [][]string
	for _, l := range b.Layers {
		paper := "-"
		if l.Size == 4096 {
			paper = paperLayer + "×"
		}
		list = append(list, []string{fmt.Sprintf("%d×%d %s", l.Size, l.Size, l.DType), commas(int64(l.Entries)),
			duration(l.Scatter), duration(l.Refuse), ratioText(l.Ratio), paper})
	}
	w := b.Whole
	entries := commas(w.Entries)
	if w.Dense {
		entries = "all"
	}
	return append(list, []string{fmt.Sprintf("model, %s", plural(w.Tensors, "weight")), entries,
		duration(w.Switch), duration(w.Refuse), ratioText(w.Ratio), paperOf(b)})
}

var benchHead = []string{"in memory", "entries", "switch", "fuse low rank", "ratio", "in the paper"}

func (a *app) printBench(b *switcher.Bench) {
	t := newTable("<"+benchHead[0], benchHead[1], benchHead[2], benchHead[3], benchHead[4], benchHead[5])
	for _, row := range benchRows(b) {
		t.add(row...)
	}
	t.write(a.stdout)
	fmt.Fprintf(a.stdout, "\n%s\n", benchNote(b))
}

// benchNote says what was measured.
func benchNote(b *switcher.Bench) string {
	note := fmt.Sprintf(`One weight: 1%% of its entries is written, and rank %d is added. The model: from %s to %s, restoring the entries of
the first and writing those of the second, and rank %d added to the same weights. The least of several times, on %s
with kernels for %s. Switches of files are measured by the command itself.`,
		switcher.LayerRank, oneLine(b.Adapters[0]), oneLine(b.Adapters[1]), switcher.ModelRank, plural(kernel.Threads(), "thread"), kernel.Features())
	if paperOf(b) == "-" {
		note += fmt.Sprintf("\nThe model's weights are too small to compare with the paper's models, which have gigabytes: %s lie in caches.", byteSize(b.Whole.Bytes))
	}
	return note
}

// benchPage shows the same as a page.
func benchPage(b *switcher.Bench) *report.Page {
	ratios := report.Bars{Title: "How many times faster than fusing low rank", Note: "ratio of times"}
	rows := benchRows(b)
	for i, l := range b.Layers {
		ratios.Rows = append(ratios.Rows, report.Bar{Name: rows[i][0], Value: l.Ratio, Text: rows[i][4]})
	}
	ratios.Rows = append(ratios.Rows,
		report.Bar{Name: "paper, 4096×4096", Value: paperLayerHigh, Text: paperLayer + "×", Colour: 2},
		report.Bar{Name: "the model", Value: b.Whole.Ratio, Text: ratioText(b.Whole.Ratio), Colour: 1})
	inPaper := ""
	if paper := paperOf(b); paper != "-" {
		inPaper = "in the paper " + paper
		ratios.Rows = append(ratios.Rows, report.Bar{Name: "paper, a model", Value: paperModelHigh, Text: paper, Colour: 2})
	}
	times := report.Bars{Title: "The model's " + plural(b.Whole.Tensors, "weight"), Note: "time; " + byteSize(b.Whole.Bytes) + " in memory", Rows: []report.Bar{
		{Name: "switch", Value: b.Whole.Switch, Text: duration(b.Whole.Switch), Colour: 1},
		{Name: "fuse low rank", Value: b.Whole.Refuse, Text: duration(b.Whole.Refuse), Colour: 3},
	}}
	return &report.Page{
		Title: "Switching adapters in memory", Subtitle: b.Model,
		Facts: []report.Fact{
			{Name: "Switch", Value: duration(b.Whole.Switch), Note: rows[len(rows)-1][1] + " entries"},
			{Name: "Fusing low rank", Value: duration(b.Whole.Refuse), Note: byteSize(b.Whole.Bytes) + " of weights"},
			{Name: "Ratio", Value: ratioText(b.Whole.Ratio), Note: inPaper},
		},
		Sections: []report.Section{{
			Title: "Switch and fusion", Note: benchNote(b),
			Figures: []report.Figure{ratios, times, report.Table{Head: benchHead, Rows: rows, Wide: true}},
		}},
	}
}
