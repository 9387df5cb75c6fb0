package report

import (
	"html"
	"html/template"
	"strings"
)

// Table is a table of texts. The first column is set to the left, the others to the right.
type Table struct {
	Head []string
	Rows [][]string
	Left bool // all columns are set to the left
	Wide bool // takes the page's whole width
}

func (t Table) wide() bool { return t.Wide }

func (t Table) render() template.HTML {
	var b strings.Builder
	row := func(tag string, cells []string) {
		b.WriteString("<tr>")
		for i, c := range cells {
			class := ""
			if i == 0 || t.Left {
				class = ` class="left"`
			}
			b.WriteString("<" + tag + class + ">" + html.EscapeString(c) + "</" + tag + ">")
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("<table>")
	if len(t.Head) > 0 {
		row("th", t.Head)
	}
	for _, r := range t.Rows {
		row("td", r)
	}
	b.WriteString("</table>")
	return template.HTML(b.String())
}

// Text is preformatted text under a title, as samples of a model's output are.
type Text struct {
	Title, Body string
}

func (t Text) wide() bool { return true }

func (t Text) render() template.HTML {
	return template.HTML("<p>" + html.EscapeString(t.Title) + "</p><pre>" + html.EscapeString(t.Body) + "</pre>")
}
