package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// Matrix is a table of values whose cells are the darker the larger they are. A NaN is an empty cell.
type Matrix struct {
	Title  string
	Note   string // what the values are, with their unit
	X      string // what the columns are
	Rows   []string
	Cols   []string
	Values [][]float64          // by row
	Format func(float64) string // of a value; nil is Number
	Signed bool                 // values below 0 have another colour
	Most   float64              // value of the darkest cell: 1 for a share; 0 is the largest one there is
	Whole  bool                 // takes the page's whole width
}

func (m Matrix) wide() bool { return m.Whole }

const (
	rowHeight = 24
	cellText  = 30 // least width of a cell that holds a number
)

func (m Matrix) render() template.HTML {
	format := m.Format
	if format == nil {
		format = Number
	}
	names := 0
	for _, r := range m.Rows {
		names = max(names, len([]rune(r)))
	}
	width := float64(chartWidth)
	if m.Whole {
		width = 2 * chartWidth
	}
	left := math.Min(letter*float64(names)+12, width/3)
	cell := (width - left - 8) / float64(max(1, len(m.Cols)))
	height := topMargin + rowHeight*len(m.Rows) + bottomMargin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %d" role="img" aria-label="%s">`, width, height, html.EscapeString(m.Title))
	largest, longest := m.Most, 0
	low, high := math.Inf(1), math.Inf(-1)
	for _, row := range m.Values {
		for _, v := range row {
			if v-v == 0 {
				if m.Most == 0 {
					largest = math.Max(largest, math.Abs(v))
				}
				longest = max(longest, len([]rune(format(v))))
				low, high = math.Min(low, v), math.Max(high, v)
			}
		}
	}
	texts := cell >= math.Max(cellText, letter*float64(longest)+2)
	note := m.Note
	if !texts && low <= high {
		note += fmt.Sprintf("; from %s to %s", format(low), format(high))
	}
	fmt.Fprintf(&b, `<text class="title" x="4" y="16">%s</text><text x="4" y="34">%s</text>`, html.EscapeString(m.Title), html.EscapeString(note))
	for i, row := range m.Values {
		y := topMargin + rowHeight*i
		fmt.Fprintf(&b, `<text class="name" x="%.1f" y="%d" text-anchor="end">%s</text>`, left-6, y+16, html.EscapeString(m.Rows[i]))
		for j, v := range row {
			if v-v != 0 {
				continue
			}
			share, colour, class := 0.0, 0, "in"
			if largest > 0 {
				share = math.Min(math.Abs(v)/largest, 1)
			}
			if m.Signed && v < 0 {
				colour = 1
			}
			if share > 0.5 {
				class += " over"
			}
			x := left + cell*float64(j)
			fmt.Fprintf(&b, `<rect class="f%d" fill-opacity="%.3f" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"><title>%s</title></rect>`,
				colour, 0.06+0.94*share, x+0.5, y, cell-1, rowHeight-2, html.EscapeString(fmt.Sprintf("%s, %s %s: %s", m.Rows[i], m.X, m.Cols[j], format(v))))
			if texts {
				fmt.Fprintf(&b, `<text class="%s" x="%.1f" y="%d">%s</text>`, class, x+cell/2, y+15, html.EscapeString(format(v)))
			}
		}
	}
	m.columns(&b, left, cell, topMargin+rowHeight*len(m.Rows)+14)
	fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="end">%s</text></svg>`, width-8, height-6, html.EscapeString(m.X))
	return template.HTML(b.String())
}

// columns names the columns, as many as have room.
func (m Matrix) columns(b *strings.Builder, left, cell float64, y int) {
	longest := 0
	for _, c := range m.Cols {
		longest = max(longest, len([]rune(c)))
	}
	every := max(1, int(math.Ceil((letter*float64(longest)+6)/cell)))
	for j := 0; j < len(m.Cols); j += every {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, left+cell*(float64(j)+0.5), y, html.EscapeString(m.Cols[j]))
	}
}
