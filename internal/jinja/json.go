package jinja

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// jsonWriter writes values as Python's json.dumps does.
type jsonWriter struct {
	c          *context
	line       int
	b          strings.Builder
	indent     string // of a level
	pretty     bool
	ascii      bool
	sorted     bool
	item, pair string // separators
}

// toJSON is transformers' tojson: json.dumps without escapes of HTML, and by default not of Unicode either.
func toJSON(c *context, line int, v any, a args) any {
	got := a.take(line, "tojson", "ensure_ascii", "indent", "separators", "sort_keys")
	w := &jsonWriter{c: c, line: line, item: ", ", pair: ": "}
	w.ascii = got[0] != nil && truth(*got[0])
	if got[1] != nil && *got[1] != nil {
		w.pretty, w.item = true, ","
		if s, ok := (*got[1]).(string); ok {
			w.indent = s
		} else {
			w.indent = strings.Repeat(" ", min(max(wantInt(line, "indent", *got[1]), 0), 100))
		}
	}
	if got[2] != nil && *got[2] != nil {
		l, ok := (*got[2]).(*List)
		if !ok || len(l.Items) != 2 {
			fail(line, "tojson: want two separators")
		}
		w.item, w.pair = wantString(line, "separators", l.Items[0]), wantString(line, "separators", l.Items[1])
	}
	w.sorted = got[3] != nil && truth(*got[3])
	w.value(v, 0)
	return w.b.String()
}

func (w *jsonWriter) value(v any, depth int) {
	w.c.step(0)
	if depth > maxNesting {
		fail(w.line, "a value nested deeper than %d", maxNesting)
	}
	before := w.b.Len()
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(v))
	case int64:
		w.b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		w.b.WriteString(formatFloat(v))
	case string:
		w.string(v)
	case *List:
		w.items("[", "]", len(v.Items), depth, func(i int) { w.value(v.Items[i], depth+1) })
		return
	case *Dict:
		order := make([]int, len(v.keys))
		for i := range order {
			order[i] = i
		}
		if w.sorted {
			slices.SortFunc(order, func(a, b int) int { return w.c.order(w.line, v.keys[a], v.keys[b]) })
		}
		w.items("{", "}", len(v.keys), depth, func(i int) {
			key := v.keys[order[i]]
			switch key := key.(type) {
			case string:
				w.string(key)
			default:
				w.b.WriteByte('"')
				w.value(key, depth+1)
				w.b.WriteByte('"')
			}
			w.b.WriteString(w.pair)
			w.value(v.values[order[i]], depth+1)
		})
		return
	default:
		fail(w.line, "tojson of %s", typeName(v))
	}
	w.c.grow(w.b.Len() - before)
}

func (w *jsonWriter) items(opening, closing string, n, depth int, item func(i int)) {
	w.b.WriteString(opening)
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.item)
		}
		w.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.WriteString(closing)
	w.c.grow(2 + n*(len(w.item)+len(w.pair)))
}

func (w *jsonWriter) newline(depth int) {
	if w.pretty {
		w.b.WriteByte('\n')
		w.b.WriteString(strings.Repeat(w.indent, depth))
		w.c.grow(1 + depth*len(w.indent))
	}
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (w *jsonWriter) string(s string) {
	w.b.WriteByte('"')
	for _, r := range s {
		esc, ok := jsonEscapes[r]
		switch {
		case ok:
			w.b.WriteString(esc)
		case r < ' ' || w.ascii && r > '~' && r < 0x10000:
			fmt.Fprintf(&w.b, `\u%04x`, r)
		case w.ascii && r > '~':
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, high, low)
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
}
