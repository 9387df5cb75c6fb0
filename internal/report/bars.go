package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"
)

// Bars is a chart of horizontal bars, which begin at 0.
type Bars struct {
	Title string
	Note  string // what the values are, with their unit
	Rows  []Bar
	Most  float64 // value of a bar of full length: 100 for percents; 0 is the largest one there is
}

// Bar is one of them.
type Bar struct {
	Name   string
	Value  float64
	Text   string // beside the bar; "" is the value by Number
	Colour int    // index of the palette
}

func (c Bars) wide() bool { return false }

func (c Bars) render() template.HTML {
	names, texts, largest := 0.0, 0, c.Most
	rows := slices.Clone(c.Rows)
	for i := range rows {
		r := &rows[i]
		if r.Text == "" {
			r.Text = Number(r.Value)
		}
		names, texts = max(names, textWidth(r.Name)), max(texts, len([]rune(r.Text)))
		if c.Most == 0 {
			largest = math.Max(largest, r.Value)
		}
	}
	left := math.Min(names+12, chartWidth/2)
	room := chartWidth - left - letter*float64(texts) - 16
	height := topMargin + rowHeight*len(rows) + 8
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><text class="title" x="4" y="16">%s</text><text x="4" y="34">%s</text>`,
		chartWidth, height, html.EscapeString(c.Title), html.EscapeString(c.Title), html.EscapeString(c.Note))
	for i, r := range rows {
		y, width := topMargin+rowHeight*i, 0.0
		if largest > 0 && r.Value > 0 {
			width = math.Max(1, room*math.Min(r.Value/largest, 1))
		}
		fmt.Fprintf(&b, `<text class="name" x="%.1f" y="%d" text-anchor="end">%s</text><rect class="f%d" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"/><text x="%.1f" y="%d">%s</text>`,
			left-6, y+14, html.EscapeString(r.Name), r.Colour%6, left, y+2, width, rowHeight-8, left+width+6, y+14, html.EscapeString(r.Text))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}
