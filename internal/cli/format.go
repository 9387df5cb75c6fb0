package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"shira/internal/report"
)

// commas formats n with thousands separated: 15,840.
var commas = report.Commas

// byteSize formats a number of bytes: 512 B, 3.4 MiB.
func byteSize(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1024, 0
	for v >= 1023.95 && u < len(units)-1 {
		v /= 1024
		u++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[u])
}

// percent formats a share: 0.01 is 1%. Small shares keep two digits, and only a whole one is 100%.
func percent(share float64) string {
	p := 100 * share
	switch {
	case p == 0 || p == 100:
		return fmt.Sprintf("%.0f%%", p)
	case p > 99.9 && p < 100:
		return fmt.Sprintf("%g%%", math.Floor(p*1000)/1000)
	case math.Abs(p) >= 0.1:
		return fmt.Sprintf("%.1f%%", p)
	}
	digits := 1 - int(math.Floor(math.Log10(math.Abs(p)))) // of which two are not 0
	return strings.TrimRight(strconv.FormatFloat(p, 'f', digits, 64), "0") + "%"
}

// rate formats a throughput: 34,210, or 3.2 below ten.
func rate(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return commas(int64(math.Round(v)))
}

// shape formats the shape of a tensor: 64×172, or scalar.
func shape(dims []int) string {
	if len(dims) == 0 {
		return "scalar"
	}
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = strconv.Itoa(d)
	}
	return strings.Join(parts, "×")
}

// perplexity is exp(loss), loss being nats per token.
func perplexity(loss float64) string { return strconv.FormatFloat(math.Exp(loss), 'f', 4, 64) }

func lossText(loss float64) string { return strconv.FormatFloat(loss, 'f', 4, 64) }

// table lays out rows in columns. A heading that starts with "<" is that of a column of text, which is set to the left;
// others are set to the right.
type table struct {
	left []bool
	rows [][]string
}

func newTable(headings ...string) *table {
	t := &table{left: make([]bool, len(headings))}
	for i, h := range headings {
		headings[i], t.left[i] = strings.CutPrefix(h, "<")
	}
	t.add(headings...)
	return t
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = oneLine(cells[i]) // names come from files
	}
	t.rows = append(t.rows, cells)
}

// write prints the table, indented by two spaces.
func (t *table) write(w io.Writer) {
	width := make([]int, len(t.left))
	for _, row := range t.rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			b.WriteString("  ")
			if t.left[i] {
				b.WriteString(c + pad)
			} else {
				b.WriteString(pad + c)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// fields prints lines of a name and a value each.
func fields(w io.Writer, pairs ...[2]string) {
	width := 0
	for _, p := range pairs {
		width = max(width, len(p[0]))
	}
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(w, "%-*s  %s\n", width, p[0], oneLine(p[1]))
		}
	}
}

// shellQuote makes s one word of a shell command.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@%,:=", r) || r > 127
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
