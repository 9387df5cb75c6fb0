package jinja

import (
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// filter is what stands after "|".
type filter func(c *context, line int, v any, a args) any

var filters = map[string]filter{
	"tojson": toJSON,
	"trim":   fromMethod("strip"), "upper": fromMethod("upper"), "lower": fromMethod("lower"),
	"capitalize": fromMethod("capitalize"), "title": titleFilter, "replace": fromMethod("replace"),
	"length": lengthFilter, "count": lengthFilter,
	"first":      func(c *context, line int, v any, a args) any { return c.end(line, v, a, 0) },
	"last":       func(c *context, line int, v any, a args) any { return c.end(line, v, a, -1) },
	"list":       func(c *context, line int, v any, _ args) any { return c.list(slices.Clone(c.iterate(line, v))) },
	"join":       joinFilter,
	"default":    defaultFilter,
	"d":          defaultFilter,
	"items":      itemsFilter,
	"dictsort":   dictSort,
	"string":     func(c *context, _ int, v any, _ args) any { return c.text(v) },
	"int":        intFilter,
	"float":      floatFilter,
	"abs":        absFilter,
	"round":      roundFilter,
	"sort":       sortFilter,
	"unique":     uniqueFilter,
	"reverse":    reverseFilter,
	"map":        mapFilter,
	"select":     selector(false, true),
	"reject":     selector(false, false),
	"selectattr": selector(true, true),
	"rejectattr": selector(true, false),
	"sum":        sumFilter,
	"min":        func(c *context, line int, v any, _ args) any { return c.extreme(line, v, -1) },
	"max":        func(c *context, line int, v any, _ args) any { return c.extreme(line, v, 1) },
	"indent":     indentFilter,
	"safe":       func(_ *context, _ int, v any, _ args) any { return v },
	"escape":     escapeFilter,
	"e":          escapeFilter,
}

// fromMethod makes a filter of a method of strings.
func fromMethod(name string) filter {
	return func(c *context, line int, v any, a args) any {
		return stringMethods[name](c, line, c.text(known(line, v)), a)
	}
}

// titleFilter writes a capital at the start and after white space, dashes and brackets; the method does so after all but
// letters.
func titleFilter(c *context, line int, v any, a args) any {
	a.take(line, "title")
	s := c.text(known(line, v))
	c.grow(2 * len(s))
	var b strings.Builder
	first := true
	for _, r := range s {
		if first {
			b.WriteString(strings.ToUpper(string(r)))
		} else {
			b.WriteString(strings.ToLower(string(r)))
		}
		first = strings.ContainsRune(white+"-({[<", r)
	}
	return b.String()
}

func lengthFilter(_ *context, line int, v any, a args) any {
	a.take(line, "length")
	return int64(length(line, v))
}

// end returns the first (0) or last (-1) item.
func (c *context) end(line int, v any, a args, at int) any {
	a.take(line, "the filter")
	items := c.iterate(line, v)
	switch {
	case len(items) == 0:
		return undefined{"item"}
	case at < 0:
		return items[len(items)-1]
	}
	return items[0]
}

func joinFilter(c *context, line int, v any, a args) any {
	got := a.take(line, "join", "d", "attribute")
	sep := ""
	if got[0] != nil {
		sep = c.text(*got[0])
	}
	items := c.iterate(line, v)
	if got[1] != nil {
		items = c.attributes(line, items, *got[1], nil)
	}
	return c.join(items, sep)
}

func defaultFilter(_ *context, line int, v any, a args) any {
	got := a.take(line, "default", "default_value", "boolean")
	missing := is[undefined](v) || got[1] != nil && truth(*got[1]) && !truth(v)
	switch {
	case !missing:
		return v
	case got[0] == nil:
		return ""
	}
	return *got[0]
}

func wantDict(line int, what string, v any) *Dict {
	d, ok := v.(*Dict)
	if !ok {
		fail(line, "%s of %s: want a dict", what, typeName(v))
	}
	return d
}

func itemsFilter(c *context, line int, v any, a args) any {
	a.take(line, "items")
	if is[undefined](v) {
		return &List{}
	}
	return c.items(wantDict(line, "items", v))
}

func dictSort(c *context, line int, v any, a args) any {
	got := a.take(line, "dictsort", "case_sensitive", "by", "reverse")
	by := 0
	if got[1] != nil && c.text(*got[1]) == "value" {
		by = 1
	}
	pairs := c.items(wantDict(line, "dictsort", v))
	c.sort(line, pairs.Items, func(v any) any { return v.(*List).Items[by] }, got[0] != nil && truth(*got[0]), got[2] != nil && truth(*got[2]))
	return pairs
}

// sort sorts items in place by key, strings without regard to case unless exact.
func (c *context) sort(line int, items []any, key func(any) any, exact, reverse bool) {
	fold := func(v any) any {
		if s, ok := v.(string); ok && !exact {
			return strings.ToLower(s)
		}
		return v
	}
	slices.SortStableFunc(items, func(a, b any) int {
		c.step(0)
		o := c.order(line, fold(key(a)), fold(key(b)))
		if reverse {
			return -o
		}
		return o
	})
}

func sortFilter(c *context, line int, v any, a args) any {
	got := a.take(line, "sort", "reverse", "case_sensitive", "attribute")
	items := slices.Clone(c.iterate(line, v))
	key := func(v any) any { return v }
	if got[2] != nil {
		path := *got[2]
		key = func(v any) any { return c.attributes(line, []any{v}, path, nil)[0] }
	}
	c.sort(line, items, key, got[1] != nil && truth(*got[1]), got[0] != nil && truth(*got[0]))
	return c.list(items)
}

func uniqueFilter(c *context, line int, v any, a args) any {
	a.take(line, "unique")
	var items []any
	for _, item := range c.iterate(line, v) {
		if !slices.ContainsFunc(items, func(have any) bool { return c.equal(have, item) }) {
			items = append(items, item)
		}
	}
	return c.list(items)
}

func reverseFilter(c *context, line int, v any, a args) any {
	a.take(line, "reverse")
	items := slices.Clone(c.iterate(line, v))
	slices.Reverse(items)
	if is[string](v) {
		return c.join(items, "")
	}
	return c.list(items)
}

// attributes returns the attribute of each item: a name, names joined by dots, or a number.
func (c *context) attributes(line int, items []any, path any, otherwise *any) []any {
	c.grow(16 * len(items))
	out := make([]any, len(items))
	for i, item := range items {
		v := item
		if name, ok := path.(string); ok {
			for part := range strings.SplitSeq(name, ".") {
				var key any = part
				if n, err := strconv.ParseInt(part, 10, 64); err == nil {
					key = n
				}
				v = indexExpr{line, constant{v}, constant{key}}.eval(c)
			}
		} else {
			v = indexExpr{line, constant{v}, constant{path}}.eval(c)
		}
		if is[undefined](v) && otherwise != nil {
			v = *otherwise
		}
		out[i] = v
	}
	return out
}

func mapFilter(c *context, line int, v any, a args) any {
	items := c.iterate(line, v)
	if len(a.list) == 0 {
		got := a.take(line, "map", "attribute", "default")
		if got[0] == nil {
			fail(line, "map needs a filter or an attribute")
		}
		return &List{Items: c.attributes(line, items, *got[0], got[1])}
	}
	name := wantString(line, "map", a.list[0])
	f := c.filters[name]
	if f == nil {
		fail(line, "no filter %q", name)
	}
	out := make([]any, len(items))
	for i, item := range items {
		c.step(0)
		out[i] = f(c, line, item, args{a.list[1:], a.names, a.named})
	}
	return c.list(out)
}

// selector is select and its kind: the items, or those whose attribute, that do or do not pass a test.
func selector(byAttr, want bool) filter {
	return func(c *context, line int, v any, a args) any {
		items, rest := c.iterate(line, v), a.list
		keys := items
		if byAttr {
			if len(rest) == 0 {
				fail(line, "the filter needs an attribute")
			}
			keys, rest = c.attributes(line, items, rest[0], nil), rest[1:]
		}
		pass := func(v any) bool { return truth(v) }
		if len(rest) > 0 {
			name := wantString(line, "select", rest[0])
			f := tests[map[string]string{"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}[name]]
			if f == nil {
				f = tests[name]
			}
			if f == nil {
				fail(line, "no test %q", name)
			}
			pass = func(v any) bool { return f(c, line, v, rest[1:]) }
		}
		var out []any
		for i, item := range items {
			c.step(0)
			if pass(keys[i]) == want {
				out = append(out, item)
			}
		}
		return c.list(out)
	}
}

func (c *context) extreme(line int, v any, sign int) any {
	items := c.iterate(line, v)
	if len(items) == 0 {
		return undefined{"item"}
	}
	best := items[0]
	for _, item := range items[1:] {
		if c.order(line, item, best)*sign > 0 {
			best = item
		}
	}
	return best
}

func sumFilter(c *context, line int, v any, a args) any {
	got := a.take(line, "sum", "attribute", "start")
	items := c.iterate(line, v)
	if got[0] != nil && *got[0] != nil {
		items = c.attributes(line, items, *got[0], nil)
	}
	var total any = int64(0)
	if got[1] != nil {
		total = *got[1]
	}
	for _, item := range items {
		total = binaryExpr{line, "+", constant{total}, constant{item}}.eval(c)
	}
	return total
}

func intFilter(_ *context, line int, v any, a args) any {
	got := a.take(line, "int", "default")
	otherwise := int64(0)
	if got[0] != nil {
		otherwise = parseInt(*got[0], 0)
	}
	return parseInt(v, otherwise)
}

func floatFilter(_ *context, line int, v any, a args) any {
	a.take(line, "float")
	if s, ok := v.(string); ok {
		f, err := strconv.ParseFloat(strings.Trim(s, white), 64)
		if err != nil {
			return 0.0
		}
		return f
	}
	_, f, _, _ := number(v)
	return f
}

func absFilter(_ *context, line int, v any, a args) any {
	a.take(line, "abs")
	i, f, isInt, ok := number(v)
	if !ok {
		fail(line, "abs of %s", typeName(v))
	}
	if isInt {
		return max(i, -i)
	}
	return math.Abs(f)
}

func roundFilter(_ *context, line int, v any, a args) any {
	got := a.take(line, "round", "precision", "method")
	_, f, _, ok := number(v)
	if !ok {
		fail(line, "round of %s", typeName(v))
	}
	scale := 1.0
	if got[0] != nil {
		scale = math.Pow(10, float64(wantInt(line, "round", *got[0])))
	}
	round := math.RoundToEven
	if got[1] != nil {
		switch *got[1] {
		case "ceil":
			round = math.Ceil
		case "floor":
			round = math.Floor
		}
	}
	return round(f*scale) / scale
}

func indentFilter(c *context, line int, v any, a args) any {
	got := a.take(line, "indent", "width", "first", "blank")
	pad := "    "
	if got[0] != nil {
		if s, ok := (*got[0]).(string); ok {
			pad = s
		} else {
			pad = strings.Repeat(" ", min(max(wantInt(line, "indent", *got[0]), 0), 1000))
		}
	}
	first, blank := got[1] != nil && truth(*got[1]), got[2] != nil && truth(*got[2])
	var b strings.Builder
	i := 0
	for l := range strings.Lines(c.text(v)) {
		if (i > 0 || first) && (blank || strings.TrimSpace(l) != "") {
			b.WriteString(pad)
			c.grow(len(pad))
		}
		c.grow(len(l))
		b.WriteString(l)
		i++
	}
	return b.String()
}

func escapeFilter(c *context, line int, v any, a args) any {
	a.take(line, "escape")
	s := html.EscapeString(c.text(v))
	c.grow(len(s))
	return s
}
