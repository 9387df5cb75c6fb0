package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shira/internal/adapter"
	"shira/internal/adapter/mask"
	"shira/internal/fault"
)

type maskCompareOptions struct {
	a, b   string
	all    bool
	asJSON bool
}

func newMaskCompareCmd(a *app) *cobra.Command {
	var o maskCompareOptions
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Count the entries that two masks or adapters share",
		Long: `Count the entries that two masks, or two SHiRA adapters, have in common, for each layer
and kind of weight: their share of each one, the Jaccard index |A∩B| / |A∪B|, and how many
masks of these sizes that were drawn at random would share.`,
		Args: arguments(2, 2, "A and B"),
		Example: `  shira mask compare first.st second.st
  shira mask compare out/boolq out/piqa --json`,
		Annotations: exits(fault.Malformed, fault.Incompatible),
		RunE: func(_ *cobra.Command, args []string) error {
			o.a, o.b = args[0], args[1]
			return runMaskCompare(a, o)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "list every module")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// overlapObject is the JSON of a comparison of masks. Fields are only ever added.
type overlapObject struct {
	A       string       `json:"a"`
	B       string       `json:"b"`
	Total   overlapRow   `json:"total"`
	Kinds   []overlapRow `json:"kinds"`
	Layers  []overlapRow `json:"layers"`
	Modules []overlapRow `json:"modules"`
}

// overlapRow is the overlap of two masks in one module, or in all of one kind or layer.
type overlapRow struct {
	Name     string   `json:"name"`
	A        int64    `json:"a"` // entries
	B        int64    `json:"b"`
	Common   int64    `json:"common"`
	ShareOfA float64  `json:"share_of_a"` // common / a
	ShareOfB float64  `json:"share_of_b"`
	Jaccard  float64  `json:"jaccard"`
	Expected *float64 `json:"expected"` // of random masks of these sizes; null where a shape is not known

	expected float64
	unknown  bool
}

func (r overlapRow) name() string { return r.Name }

func newOverlapRow(name string) overlapRow { return overlapRow{Name: name} }

// runMaskCompare compares the masks of two adapters.
func runMaskCompare(a *app, o maskCompareOptions) error {
	x, err := loadMask(o.a)
	if err != nil {
		return err
	}
	y, err := loadMask(o.b)
	if err != nil {
		return err
	}
	object := &overlapObject{A: o.a, B: o.b, Total: newOverlapRow("all"), Kinds: []overlapRow{}, Layers: []overlapRow{}, Modules: []overlapRow{}}
	if err := object.compare(x, y); err != nil {
		return err
	}
	if o.asJSON {
		return a.printJSON(object)
	}
	a.printOverlap(object, o.all)
	return nil
}

// loadMask returns the sparse deltas of an adapter by module.
func loadMask(path string) (map[string]*adapter.Sparse, error) {
	ad, err := adapter.Load(path)
	if err != nil {
		return nil, err
	}
	masks := map[string]*adapter.Sparse{}
	for _, d := range ad.Deltas {
		switch d := d.(type) {
		case *adapter.Sparse:
			masks[d.Module()] = d
		case *adapter.ShiraDora:
			masks[d.Module()] = d.S
		default:
			return nil, fault.New(fault.Incompatible, path, "is an adapter of method %s, which has no mask: it changes every entry of %s",
				ad.Config.Method, fault.Quote(d.Module()))
		}
	}
	return masks, nil
}

// compare fills in all rows. Shapes that disagree are an Incompatible error.
func (o *overlapObject) compare(x, y map[string]*adapter.Sparse) error {
	var modules []string
	for _, masks := range []map[string]*adapter.Sparse{x, y} {
		for module := range masks {
			modules = append(modules, module)
		}
	}
	slices.Sort(modules)
	for _, module := range slices.Compact(modules) {
		var row overlapRow
		switch a, b := x[module], y[module]; {
		case a == nil:
			row = overlapRow{B: int64(len(b.Values))}
		case b == nil:
			row = overlapRow{A: int64(len(a.Values))}
		case a.Out != 0 && b.Out != 0 && (a.Out != b.Out || a.In != b.In):
			return fault.New(fault.Incompatible, o.B, "%s has shape %s, in %s it has %s: these are masks of different models",
				fault.Quote(module), shape([]int{b.Out, b.In}), o.A, shape([]int{a.Out, a.In}))
		default:
			row = overlapRow{A: int64(len(a.Values)), B: int64(len(b.Values)), Common: int64(mask.Common(places(a), places(b)))}
			n := float64(max(a.Out, b.Out)) * float64(max(a.In, b.In))
			if row.unknown = n == 0; !row.unknown {
				row.expected = float64(row.A) * float64(row.B) / n
			}
		}
		for _, r := range []*overlapRow{
			&o.Total, rowOf(&o.Kinds, kindOf(module), newOverlapRow), rowOf(&o.Layers, layerOf(module), newOverlapRow),
			rowOf(&o.Modules, module, newOverlapRow),
		} {
			r.add(row)
		}
	}
	slices.SortStableFunc(o.Layers, func(a, b overlapRow) int { return byLayer(a.Name, b.Name) })
	return nil
}

// places returns a number for each entry, ascending, that does not depend on the shape.
func places(s *adapter.Sparse) []int64 {
	all := make([]int64, len(s.RowIdx))
	for k, r := range s.RowIdx {
		all[k] = int64(r)<<32 | int64(s.ColIdx[k])
	}
	return all
}

func (r *overlapRow) add(o overlapRow) {
	r.A, r.B, r.Common = r.A+o.A, r.B+o.B, r.Common+o.Common
	r.expected, r.unknown = r.expected+o.expected, r.unknown || o.unknown
	r.ShareOfA, r.ShareOfB = ratio(r.Common, r.A), ratio(r.Common, r.B)
	r.Jaccard = ratio(r.Common, r.A+r.B-r.Common)
	if r.Expected = nil; !r.unknown {
		expected := r.expected
		r.Expected = &expected
	}
}

// ratio is part/whole, 0 of nothing.
func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func (a *app) printOverlap(o *overlapObject, all bool) {
	fields(a.stdout, [2]string{"A", o.A}, [2]string{"B", o.B})
	rows := []struct {
		what string
		rows []overlapRow
	}{{"kind", o.Kinds}, {"layer", o.Layers}}
	if all {
		rows = rows[:0]
		rows = append(rows, struct {
			what string
			rows []overlapRow
		}{"module", o.Modules})
	}
	for i, table := range rows {
		t := newTable("<"+table.what, "A", "B", "common", "of A", "of B", "Jaccard", "by chance")
		list := table.rows
		if i == len(rows)-1 {
			list = append(slices.Clone(list), o.Total)
		}
		for _, r := range list {
			chance := "-"
			if r.Expected != nil {
				chance = strings.TrimSuffix(fmt.Sprintf("%.1f", *r.Expected), ".0")
			}
			t.add(r.Name, commas(r.A), commas(r.B), commas(r.Common), percent(r.ShareOfA), percent(r.ShareOfB), fmt.Sprintf("%.4f", r.Jaccard), chance)
		}
		fmt.Fprintln(a.stdout)
		t.write(a.stdout)
	}
}
