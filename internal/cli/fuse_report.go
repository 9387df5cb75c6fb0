package cli

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"shira/internal/buildinfo"
	"shira/internal/fsx"
	"shira/internal/fuse"
	"shira/internal/report"
)

// writeFuseReport writes the report in pictures.
func writeFuseReport(r *fuse.Report, path string) error {
	p := fusePage(r)
	return fsx.WriteFile(path, p.Write)
}

// fusePage lays a report out: what the adapters have in common, what survives, and both layer by layer.
func fusePage(r *fuse.Report) *report.Page {
	names := shortNames(r.Adapters)
	page := &report.Page{
		Title: "Fusing " + plural(len(r.Adapters), "adapter"), Subtitle: r.Base + " + " + strings.Join(names, " + "),
		Facts: []report.Fact{
			{Name: "method", Value: r.Method, Note: densityText(r.Density)},
			{Name: "survival", Value: survivalText(r.Survival), Note: commas(r.Survival.Changed) + " of " + commas(r.Survival.Entries) + " entries"},
			{Name: "weights changed", Value: commas(int64(len(r.Tensors)))},
		},
		Footer: "shira " + buildinfo.Version(),
	}
	page.Sections = append(page.Sections, adapterSection(r, names))
	if len(r.Adapters) > 1 {
		page.Sections = append(page.Sections, pairSection(r, names))
	}
	page.Sections = append(page.Sections, layerSection(r, names))
	return page
}

func densityText(density float64) string {
	if density == 1 {
		return ""
	}
	return "density " + percent(density)
}

// adapterSection has a row for each adapter.
func adapterSection(r *fuse.Report, names []string) report.Section {
	table := report.Table{Head: []string{"adapter", "method", "weight", "parameters", "entries it may change", "‖ΔW‖", "changed", "survival"}, Wide: true}
	norms := report.Bars{Title: "Size of the changes", Note: "‖ΔW‖ of all weights together, at strength 1"}
	kept := report.Bars{Title: "Survival", Note: "share of the entries whose stored bits change, in percent", Most: 100}
	for i, a := range r.Adapters {
		table.Rows = append(table.Rows, []string{
			names[i], a.Method, fmt.Sprint(a.Weight), commas(a.Parameters), commas(a.Entries), fmt.Sprintf("%.3g", a.Norm),
			commas(a.Survival.Changed), survivalText(a.Survival),
		})
		norms.Rows = append(norms.Rows, report.Bar{Name: names[i], Value: a.Norm, Colour: i})
		if a.Survival.Share != nil {
			kept.Rows = append(kept.Rows, report.Bar{Name: names[i], Value: 100 * *a.Survival.Share, Text: survivalText(a.Survival), Colour: i})
		}
	}
	return report.Section{
		Title:   "Adapters",
		Note:    "Small changes vanish when they are rounded to the type of the base's weights. Survival is what is left of each adapter's entries in the sum of all.",
		Figures: []report.Figure{table, norms, kept},
	}
}

// pairSection has what each pair of adapters has in common.
func pairSection(r *fuse.Report, names []string) report.Section {
	matrix := func(title, note string, most float64, format func(float64) string, value func(fuse.Overlap) float64) report.Matrix {
		m := report.Matrix{Title: title, Note: note, X: "adapter", Rows: names, Cols: names, Format: format, Most: most}
		for range names {
			m.Values = append(m.Values, slices.Repeat([]float64{math.NaN()}, len(names)))
		}
		for _, o := range r.Overlaps {
			m.Values[o.A][o.B], m.Values[o.B][o.A] = value(o), value(o)
		}
		return m
	}
	small := func(v float64) string { return fmt.Sprintf("%.3g", v) }
	figures := []report.Figure{
		matrix("Overlap", "share of the entries of either that are in both", 1, percent, func(o fuse.Overlap) float64 { return o.Share }),
		matrix("Sign conflicts", "share of the entries in both whose changes have opposite signs", 1, percent, func(o fuse.Overlap) float64 {
			if o.Entries == 0 {
				return 0
			}
			return float64(o.SignConflicts) / float64(o.Entries)
		}),
	}
	cosine := matrix("Cosine", "of the angle between two changes", 1, small, func(o fuse.Overlap) float64 { return o.Cosine })
	cosine.Signed = true
	figures = append(figures, cosine)
	if r.Overlaps[0].AWOM != nil {
		figures = append(figures,
			matrix("AWOM", "‖AᵀB‖, the largest over the weights; 0 is orthogonal", 0, small, func(o fuse.Overlap) float64 { return *o.AWOM }),
			matrix("AWOR", "share of AᵀB that is 0; 100% is orthogonal", 1, percent, func(o fuse.Overlap) float64 { return *o.AWOR }))
	}
	return report.Section{
		Title:   "Interference",
		Note:    "Adapters that share few entries and are near to orthogonal disturb each other little.",
		Figures: figures,
	}
}

// layerSection has a cell for each weight: layers across, kinds of weights down.
func layerSection(r *fuse.Report, names []string) report.Section {
	var kinds, layers []string
	for _, t := range r.Tensors {
		module := strings.TrimSuffix(t.Name, ".weight")
		if k := kindOf(module); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
		if l := layerOf(module); !slices.Contains(layers, l) {
			layers = append(layers, l)
		}
	}
	slices.SortStableFunc(layers, byLayer)
	matrix := func(title, note string, most float64, format func(float64) string, value func(t *fuse.TensorReport) float64) report.Matrix {
		m := report.Matrix{Title: title, Note: note, X: "layer", Rows: kinds, Cols: layers, Format: format, Most: most, Whole: len(layers) > 14}
		for range kinds {
			m.Values = append(m.Values, slices.Repeat([]float64{math.NaN()}, len(layers)))
		}
		for i := range r.Tensors {
			module := strings.TrimSuffix(r.Tensors[i].Name, ".weight")
			m.Values[slices.Index(kinds, kindOf(module))][slices.Index(layers, layerOf(module))] = value(&r.Tensors[i])
		}
		return m
	}
	small := func(v float64) string { return fmt.Sprintf("%.2g", v) }
	s := report.Section{Title: "Layer by layer", Figures: []report.Figure{
		matrix("Survival", "share of the merged change's entries whose stored bits change", 1, percent, func(t *fuse.TensorReport) float64 {
			if t.Survival.Share == nil {
				return math.NaN()
			}
			return *t.Survival.Share
		}),
		matrix("Merged change", "its norm", 0, small, func(t *fuse.TensorReport) float64 { return t.Norm }),
	}}
	for i, name := range names {
		s.Figures = append(s.Figures, matrix(name, "‖ΔW‖ at strength 1", 0, small, func(t *fuse.TensorReport) float64 { return t.Adapters[i].Norm }))
	}
	const maxPairs = 6
	for _, pair := range r.Overlaps[:min(len(r.Overlaps), maxPairs)] {
		of := func(value func(fuse.Overlap) float64) func(t *fuse.TensorReport) float64 {
			return func(t *fuse.TensorReport) float64 {
				i := slices.IndexFunc(t.Overlaps, func(o fuse.Overlap) bool { return o.A == pair.A && o.B == pair.B })
				if i < 0 {
					return math.NaN()
				}
				return value(t.Overlaps[i])
			}
		}
		title := names[pair.A] + " and " + names[pair.B]
		s.Figures = append(s.Figures, matrix("Overlap of "+title, "share of the entries of either that are in both", 1, percent, of(func(o fuse.Overlap) float64 { return o.Share })))
		if pair.AWOM != nil {
			s.Figures = append(s.Figures, matrix("AWOM of "+title, "‖AᵀB‖", 0, small, of(func(o fuse.Overlap) float64 {
				if o.AWOM == nil {
					return math.NaN()
				}
				return *o.AWOM
			})))
		}
	}
	return s
}
