// Package report writes reports as single HTML files that open without a network: figures are inline SVG, colours follow
// the reader's light or dark theme, and the small script that shows values under the pointer is not needed to read them.
package report

import (
	_ "embed"
	"html/template"
	"io"
)

// Page is a report.
type Page struct {
	Title    string
	Subtitle string
	Facts    []Fact // shown first, side by side
	Sections []Section
	Footer   string
}

// Fact is a number that the reader looks for first.
type Fact struct {
	Name, Value string
	Note        string // beside it, smaller; may be empty
}

// Section is a part of a page with a heading.
type Section struct {
	Title   string
	Note    string // a sentence on how to read the figures; may be empty
	Figures []Figure
}

// Figure is a chart or a table.
type Figure interface {
	// render returns the figure as HTML.
	render() template.HTML
	// wide says whether it takes the whole width of the page rather than half of it.
	wide() bool
}

// columns is how many facts to set side by side, so that the last row is about as full as the others.
func columns(facts []Fact) int {
	const most = 8
	rows := (len(facts) + most - 1) / most
	if rows <= 1 {
		return most
	}
	return (len(facts) + rows - 1) / rows
}

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"render": Figure.render, "wide": Figure.wide, "columns": columns,
}).Parse(pageHTML))

// Write writes the page as HTML.
func (p *Page) Write(w io.Writer) error { return page.Execute(w, p) }
