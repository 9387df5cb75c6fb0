package cli

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"shira/internal/adapter"
	"shira/internal/train"
)

// spread says where the entries of a mask lie.
type spread struct {
	Total   spreadRow   `json:"total"`
	Kinds   []spreadRow `json:"kinds"`
	Layers  []spreadRow `json:"layers"`
	Modules []spreadRow `json:"modules"`
}

// spreadRow counts the entries of one module, or of all of one kind or layer.
type spreadRow struct {
	Name     string  `json:"name"`
	Modules  int     `json:"modules"`
	Entries  int64   `json:"entries"` // of the weights
	Selected int64   `json:"selected"`
	Share    float64 `json:"share"`   // selected / entries
	Rows     float64 `json:"rows"`    // share of the weights' rows that have a selected entry
	Columns  float64 `json:"columns"` // and of their columns

	rows, columns       int64
	rowsHit, columnsHit int64
}

func (r *spreadRow) add(s *adapter.Sparse) {
	r.Modules++
	r.Entries += int64(s.Out) * int64(s.In)
	r.Selected += int64(len(s.RowIdx))
	r.rows, r.columns = r.rows+int64(s.Out), r.columns+int64(s.In)
	r.rowsHit, r.columnsHit = r.rowsHit+distinct(s.RowIdx, s.Out), r.columnsHit+distinct(s.ColIdx, s.In)
	r.Share = float64(r.Selected) / float64(r.Entries)
	r.Rows, r.Columns = float64(r.rowsHit)/float64(r.rows), float64(r.columnsHit)/float64(r.columns)
}

// distinct counts the different values of indices, which are below n.
func distinct(indices []int32, n int) int64 {
	seen := make([]bool, n)
	count := int64(0)
	for _, i := range indices {
		if !seen[i] {
			seen[i] = true
			count++
		}
	}
	return count
}

// spreadOf counts the entries of a mask.
func spreadOf(m *train.Mask) spread {
	s := spread{Total: spreadRow{Name: "all"}, Kinds: []spreadRow{}, Layers: []spreadRow{}, Modules: []spreadRow{}}
	var all []*adapter.Sparse
	for _, d := range m.Adapter.Deltas {
		all = append(all, d.(*adapter.Sparse))
	}
	for _, sparse := range append(all, m.Empty...) {
		s.Total.add(sparse)
		rowOf(&s.Kinds, kindOf(sparse.Name), newSpreadRow).add(sparse)
		rowOf(&s.Layers, layerOf(sparse.Name), newSpreadRow).add(sparse)
		rowOf(&s.Modules, sparse.Name, newSpreadRow).add(sparse)
	}
	slices.SortStableFunc(s.Layers, func(a, b spreadRow) int { return byLayer(a.Name, b.Name) })
	return s
}

func newSpreadRow(name string) spreadRow { return spreadRow{Name: name} }

func (r spreadRow) name() string { return r.Name }

// rowOf returns the row of that name in a list, at whose end it puts a new one where there is none.
func rowOf[T interface{ name() string }](rows *[]T, name string, make func(string) T) *T {
	i := slices.IndexFunc(*rows, func(r T) bool { return r.name() == name })
	if i < 0 {
		i = len(*rows)
		*rows = append(*rows, make(name))
	}
	return &(*rows)[i]
}

// layerOf returns the number of the layer that a module's name has: 3 in model.layers.3.mlp.up_proj; "-" without one.
func layerOf(module string) string {
	for part := range strings.SplitSeq(module, ".") {
		if _, err := strconv.ParseUint(part, 10, 31); err == nil {
			return part
		}
	}
	return "-"
}

// byLayer orders layers by their numbers.
func byLayer(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX != nil || errY != nil {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(x, y)
}

// printSpread prints a table of rows of one sort.
func (a *app) printSpread(what string, rows []spreadRow) {
	most := 0.0
	for _, r := range rows {
		most = max(most, r.Share)
	}
	t := newTable("<"+what, "weights", "entries", "selected", "share", "rows", "columns", "<")
	for _, r := range rows {
		t.add(r.Name, commas(int64(r.Modules)), commas(r.Entries), commas(r.Selected), percent(r.Share), percent(r.Rows), percent(r.Columns), bar(r.Share/most))
	}
	fmt.Fprintln(a.stdout)
	t.write(a.stdout)
}

// barWidth is the width of the longest bar, in characters.
const barWidth = 16

// bar draws a share of the longest bar, in eighths of a character.
func bar(share float64) string {
	eighths := int(math.Round(share * barWidth * 8))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return s
}
