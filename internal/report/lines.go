package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// Lines is a chart of values over steps.
type Lines struct {
	Title  string
	Y      string // what the values are, with their unit
	X      string // what they are plotted over
	Log    bool   // logarithmic values
	Zero   bool   // the axis of values begins at 0
	Series []Series
}

// Series is one line of a chart. Values that are not finite are left out.
type Series struct {
	Name   string
	X, Y   []float64
	Faint  bool // drawn thin, as what another line smooths
	Points bool // each value is marked
	Colour int  // index of the palette
}

// The size of a chart and of its margins, in pixels at half the page's width.
const (
	chartWidth, chartHeight         = 560, 270
	leftMargin, rightMargin         = 52, 14
	topMargin, bottomMargin         = 48, 40
	mostPoints                      = 700 // of a line; more than there are pixels shows nothing more
	letter                  float64 = 6.6 // width of a letter, about
)

func (c Lines) wide() bool { return false }

// point is a value in its place.
type point struct{ x, y float64 }

func (c Lines) render() template.HTML {
	var series [][]point
	low, high, first, last := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range c.Series {
		points := thin(s.finite(c.Log))
		series = append(series, points)
		for _, p := range points {
			low, high = math.Min(low, p.y), math.Max(high, p.y)
			first, last = math.Min(first, p.x), math.Max(last, p.x)
		}
	}
	var b strings.Builder
	if low > high {
		fmt.Fprintf(&b, `<svg viewBox="0 0 %d 60" role="img"><text class="title" x="4" y="16">%s</text><text x="4" y="40">nothing was measured</text></svg>`,
			chartWidth, html.EscapeString(c.Title))
		return template.HTML(b.String())
	}
	if c.Zero {
		low = math.Min(low, 0)
	}
	if !c.Log {
		room := 0.04 * (high - low)
		if high += room; low != 0 {
			low -= room
		}
	}
	x := newAxis(first, last, leftMargin, chartWidth-rightMargin, false)
	y := newAxis(low, high, chartHeight-bottomMargin, topMargin, c.Log)
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s" data-chart data-xname="%s" data-log="%t" data-px0="%g" data-px1="%g" data-x0="%g" data-x1="%g" data-py0="%g" data-py1="%g" data-y0="%g" data-y1="%g">`,
		chartWidth, chartHeight, html.EscapeString(c.Title), html.EscapeString(c.X), c.Log, x.at0, x.at1, x.low, x.high, y.at0, y.at1, y.low, y.high)
	fmt.Fprintf(&b, `<text class="title" x="4" y="16">%s</text>`, html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<text x="4" y="36">%s</text>`, html.EscapeString(c.Y))
	c.legend(&b)
	for _, t := range y.ticks(5) {
		at := y.at(t.value)
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			leftMargin, chartWidth-rightMargin, at, at, leftMargin-6, at+4, t.text)
	}
	bottom := chartHeight - bottomMargin
	for _, t := range x.ticks(7) {
		at := x.at(t.value)
		fmt.Fprintf(&b, `<line class="axis" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			at, at, bottom, bottom+4, at, bottom+17, t.text)
	}
	fmt.Fprintf(&b, `<line class="axis" x1="%d" x2="%d" y1="%d" y2="%d"/>`, leftMargin, chartWidth-rightMargin, bottom, bottom)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, chartWidth-rightMargin, chartHeight-6, html.EscapeString(c.X))
	for i, s := range c.Series {
		s.draw(&b, series[i], x, y)
	}
	fmt.Fprintf(&b, `<line class="cursor" x1="0" x2="0" y1="%d" y2="%d"/><text class="tip" y="%d"></text></svg>`, topMargin, bottom, topMargin+12)
	return template.HTML(b.String())
}

// legend names the series, from the right.
func (c Lines) legend(b *strings.Builder) {
	if len(c.Series) < 2 {
		return
	}
	right := float64(chartWidth - rightMargin)
	for i := len(c.Series) - 1; i >= 0; i-- {
		s := c.Series[i]
		width := textWidth(s.Name)
		fmt.Fprintf(b, `<text class="name" x="%.1f" y="36" text-anchor="end">%s</text><line class="%s" x1="%.1f" x2="%.1f" y1="32" y2="32"/>`,
			right, html.EscapeString(s.Name), s.class(), right-width-24, right-width-8)
		right -= width + 38
	}
}

// textWidth is about how wide a text is in the page's fonts.
func textWidth(s string) float64 {
	width := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune("mwMW@%", r):
			width += 11
		case strings.ContainsRune("fijlrtI.,:;'|()[] ", r):
			width += 4.5
		default:
			width += 7.2
		}
	}
	return width
}

func (s Series) class() string {
	class := fmt.Sprintf("s k%d", s.Colour%6)
	if s.Faint {
		class += " faint"
	}
	return class
}

func (s Series) draw(b *strings.Builder, points []point, x, y axis) {
	if len(points) == 0 {
		return
	}
	var line strings.Builder
	for i, p := range points {
		if i > 0 {
			line.WriteByte(' ')
		}
		fmt.Fprintf(&line, "%.1f,%.1f", x.at(p.x), y.at(p.y))
	}
	name := html.EscapeString(s.Name)
	fmt.Fprintf(b, `<polyline class="%s" data-name="%s" data-points="%s" points="%s"/>`, s.class(), name, &line, &line)
	if s.Points || len(points) == 1 {
		for _, p := range points {
			fmt.Fprintf(b, `<circle class="f%d" cx="%.1f" cy="%.1f" r="3"/>`, s.Colour%6, x.at(p.x), y.at(p.y))
		}
	}
}

// finite returns the points that can be drawn.
func (s Series) finite(log bool) []point {
	var points []point
	for i, v := range s.Y {
		if v-v == 0 && (!log || v > 0) {
			points = append(points, point{s.X[i], v})
		}
	}
	return points
}

// thin keeps of every stretch of points its lowest and its highest, so that outliers stay.
func thin(points []point) []point {
	if len(points) <= mostPoints {
		return points
	}
	var kept []point
	n := mostPoints / 2
	for i := range n {
		part := points[i*len(points)/n : (i+1)*len(points)/n]
		low, high := 0, 0
		for j, p := range part {
			if p.y < part[low].y {
				low = j
			}
			if p.y > part[high].y {
				high = j
			}
		}
		kept = append(kept, part[min(low, high)])
		if low != high {
			kept = append(kept, part[max(low, high)])
		}
	}
	return kept
}

// Smooth returns the moving average of values that are a step apart. Each weighs (1−1/span)^distance, on both sides, so that
// the average does not lag behind; at the ends the weights that there are add up to 1.
func Smooth(values []float64, span float64) []float64 {
	keep := 1 - 1/math.Max(span, 1)
	sums, weights := make([]float64, len(values)), make([]float64, len(values))
	pass := func(i int, sum, weight *float64) {
		*sum, *weight = keep**sum, keep**weight
		sums[i], weights[i] = sums[i]+*sum, weights[i]+*weight // without the value itself
		if v := values[i]; v-v == 0 {
			*sum, *weight = *sum+v, *weight+1
		}
	}
	var sum, weight float64
	for i := range values {
		pass(i, &sum, &weight)
	}
	sum, weight = 0, 0
	for i := len(values) - 1; i >= 0; i-- {
		pass(i, &sum, &weight)
	}
	for i, v := range values {
		if v-v == 0 {
			sums[i], weights[i] = sums[i]+v, weights[i]+1
		}
		sums[i] /= weights[i]
	}
	return sums
}
