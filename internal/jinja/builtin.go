package jinja

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// globals are the functions that every template has.
var globals = map[string]*function{
	"range":           {"range", rangeOf},
	"namespace":       {"namespace", func(_ *context, line int, a args) any { d := dictOf(line, a); d.namespace = true; return d }},
	"dict":            {"dict", func(_ *context, line int, a args) any { return dictOf(line, a) }},
	"raise_exception": {"raise_exception", raise},
	"strftime_now":    {"strftime_now", strftimeNow},
}

func raise(c *context, line int, a args) any {
	msg := ""
	if got := a.take(line, "raise_exception", "message"); got[0] != nil {
		msg = c.text(*got[0])
	}
	panic(&Error{line, msg, true})
}

func rangeOf(c *context, line int, a args) any {
	var n [3]int64
	if len(a.list) < 1 || len(a.list) > 3 || len(a.names) > 0 {
		fail(line, "range takes one to three numbers")
	}
	for i, v := range a.list {
		k, _, isInt, ok := number(v)
		if !ok || !isInt {
			fail(line, "range of %s", typeName(v))
		}
		n[i] = k
	}
	start, stop, step := int64(0), n[0], int64(1)
	if len(a.list) > 1 {
		start, stop = n[0], n[1]
	}
	if len(a.list) > 2 {
		step = n[2]
	}
	if step == 0 {
		fail(line, "a range of step 0")
	}
	var items []any
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(items) == maxRange {
			fail(line, "a range of more than %d items", maxRange)
		}
		items = append(items, i)
	}
	return c.list(items)
}

func dictOf(line int, a args) *Dict {
	d := NewDict()
	if len(a.list) > 1 {
		fail(line, "a dictionary of more than one other")
	}
	for _, v := range a.list {
		from, ok := v.(*Dict)
		if !ok {
			fail(line, "a dictionary of %s", typeName(v))
		}
		for i, k := range from.keys {
			d.Set(k, from.values[i])
		}
	}
	for i, name := range a.names {
		d.Set(name, a.named[i])
	}
	return d
}

// directives maps those of strftime to layouts of package time.
var directives = map[byte]string{'d': "02", 'm': "01", 'Y': "2006", 'y': "06", 'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06", 'e': "_2"}

func strftimeNow(c *context, line int, a args) any {
	got := a.take(line, "strftime_now", "format")
	if got[0] == nil {
		fail(line, "strftime_now needs a format")
	}
	return strftime(line, c.text(*got[0]), c.now)
}

func strftime(line int, format string, now time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format) // no padding
		if bare {
			i++
		}
		layout, ok := directives[format[i]]
		switch {
		case format[i] == '%':
			b.WriteByte('%')
		case format[i] == 'j':
			fmt.Fprintf(&b, "%03d", now.YearDay())
		case !ok:
			fail(line, "strftime_now: the directive %%%c is not supported", format[i])
		case bare:
			b.WriteString(strings.TrimLeft(now.Format(layout), "0 "))
		default:
			b.WriteString(now.Format(layout))
		}
	}
	return b.String()
}

// test is what stands after "is".
type test func(c *context, line int, v any, args []any) bool

// typeTest is a test of the value alone.
func typeTest(f func(v any) bool) test {
	return func(_ *context, line int, v any, a []any) bool {
		if len(a) > 0 {
			fail(line, "the test takes no argument")
		}
		return f(v)
	}
}

func compareTest(op string) test {
	return func(c *context, line int, v any, a []any) bool {
		if len(a) != 1 {
			fail(line, "the test takes one argument")
		}
		return c.compare(line, op, v, a[0])
	}
}

func numberTest(f func(n int64, a []any) bool, want int) test {
	return func(_ *context, line int, v any, a []any) bool {
		n, _, isInt, ok := number(v)
		if !ok || !isInt || len(a) != want {
			fail(line, "the test is of whole numbers")
		}
		return f(n, a)
	}
}

func is[T any](v any) bool { _, ok := v.(T); return ok }

var tests = map[string]test{
	"defined":   typeTest(func(v any) bool { return !is[undefined](v) }),
	"undefined": typeTest(is[undefined]),
	"none":      typeTest(func(v any) bool { return v == nil }),
	"string":    typeTest(is[string]),
	"mapping":   typeTest(is[*Dict]),
	"boolean":   typeTest(is[bool]),
	"integer":   typeTest(is[int64]),
	"float":     typeTest(is[float64]),
	"number":    typeTest(func(v any) bool { _, _, _, ok := number(v); return ok }),
	"true":      typeTest(func(v any) bool { return v == true }),
	"false":     typeTest(func(v any) bool { return v == false }),
	"callable":  typeTest(is[*function]),
	"iterable":  typeTest(func(v any) bool { return is[string](v) || is[*List](v) || is[*Dict](v) || is[undefined](v) }),
	"sequence":  typeTest(func(v any) bool { return is[string](v) || is[*List](v) || is[*Dict](v) || is[undefined](v) }),
	"lower":     typeTest(func(v any) bool { s, ok := v.(string); return ok && s == strings.ToLower(s) && s != strings.ToUpper(s) }),
	"upper":     typeTest(func(v any) bool { s, ok := v.(string); return ok && s == strings.ToUpper(s) && s != strings.ToLower(s) }),
	"odd":       numberTest(func(n int64, _ []any) bool { return n%2 != 0 }, 0),
	"even":      numberTest(func(n int64, _ []any) bool { return n%2 == 0 }, 0),
	"divisibleby": numberTest(func(n int64, a []any) bool {
		by, _, isInt, _ := number(a[0])
		return isInt && by != 0 && n%by == 0
	}, 1),
	"eq": compareTest("=="), "equalto": compareTest("=="), "sameas": compareTest("=="),
	"ne": compareTest("!="), "lt": compareTest("<"), "lessthan": compareTest("<"), "le": compareTest("<="),
	"gt": compareTest(">"), "greaterthan": compareTest(">"), "ge": compareTest(">="), "in": compareTest("in"),
}

// method returns the method of a value, or nil.
func method(v any, name string) *function {
	switch v := v.(type) {
	case string:
		if f := stringMethods[name]; f != nil {
			return &function{name, func(c *context, line int, a args) any { return f(c, line, v, a) }}
		}
	case *Dict:
		if f := dictMethods[name]; f != nil {
			return &function{name, func(c *context, line int, a args) any { return f(c, line, v, a) }}
		}
	case *List:
		switch name {
		case "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse":
			return &function{name, func(_ *context, line int, _ args) any {
				fail(line, "lists cannot be changed: %s", name)
				return nil
			}}
		case "index", "count":
			return &function{name, func(c *context, line int, a args) any { return v.search(c, line, name, a) }}
		}
	}
	return nil
}

func (l *List) search(c *context, line int, name string, a args) any {
	got := a.take(line, name, "value")
	if got[0] == nil {
		fail(line, "%s needs a value", name)
	}
	n := int64(0)
	for i, item := range l.Items {
		if c.equal(item, *got[0]) {
			if n++; name == "index" {
				return int64(i)
			}
		}
	}
	if name == "index" {
		fail(line, "the value is not in the list")
	}
	return n
}

var dictMethods = map[string]func(c *context, line int, d *Dict, a args) any{
	"keys":   func(c *context, line int, d *Dict, a args) any { a.take(line, "keys"); return c.list(d.keys) },
	"values": func(c *context, line int, d *Dict, a args) any { a.take(line, "values"); return c.list(d.values) },
	"items":  func(c *context, line int, d *Dict, a args) any { a.take(line, "items"); return c.items(d) },
	"copy":   func(_ *context, line int, d *Dict, a args) any { a.take(line, "copy"); return d },
	"get": func(_ *context, line int, d *Dict, a args) any {
		got := a.take(line, "get", "key", "default")
		if got[0] == nil {
			fail(line, "get needs a key")
		}
		if v, ok := d.Get(*got[0]); ok {
			return v
		}
		if got[1] != nil {
			return *got[1]
		}
		return nil
	},
}

// items are the pairs of a dictionary.
func (c *context) items(d *Dict) *List {
	c.grow(80 * len(d.keys))
	pairs := make([]any, len(d.keys))
	for i, k := range d.keys {
		pairs[i] = &List{[]any{k, d.values[i]}, true}
	}
	return &List{Items: pairs}
}

// white is what Python's str.strip() and split() take for white space, beyond which Unicode's differs but little.
const white = " \t\n\r\v\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\x1c\x1d\x1e\x1f"

type stringMethod func(c *context, line int, s string, a args) any

// trimmer is strip and its kind.
func trimmer(name string, trim func(s, cutset string) string) stringMethod {
	return func(c *context, line int, s string, a args) any {
		cut := white
		if got := a.take(line, name, "chars"); got[0] != nil && *got[0] != nil {
			cut = wantString(line, name, *got[0])
		}
		c.step(len(s) / 64)
		return trim(s, cut)
	}
}

// mapper is upper and its kind.
func mapper(name string, f func(string) string) stringMethod {
	return func(c *context, line int, s string, a args) any {
		a.take(line, name)
		c.grow(2 * len(s))
		return f(s)
	}
}

// one is a method of one string.
func one(name string, f func(c *context, s, arg string) any) stringMethod {
	return func(c *context, line int, s string, a args) any {
		got := a.take(line, name, "value")
		if got[0] == nil {
			fail(line, "%s needs an argument", name)
		}
		c.step(len(s) / 64)
		return f(c, s, wantString(line, name, *got[0]))
	}
}

// edge is startswith or endswith, of one string or any of a tuple.
func edge(name string, f func(s, edge string) bool) stringMethod {
	return func(_ *context, line int, s string, a args) any {
		got := a.take(line, name, "value")
		if got[0] == nil {
			fail(line, "%s needs an argument", name)
		}
		if l, ok := (*got[0]).(*List); ok {
			return slices.ContainsFunc(l.Items, func(v any) bool { return f(s, wantString(line, name, v)) })
		}
		return f(s, wantString(line, name, *got[0]))
	}
}

func wantString(line int, what string, v any) string {
	s, ok := v.(string)
	if !ok {
		fail(line, "%s of %s: want a string", what, typeName(v))
	}
	return s
}

func wantInt(line int, what string, v any) int {
	i, _, isInt, ok := number(v)
	if !ok || !isInt || i > 1<<31 || i < -1<<31 {
		fail(line, "%s of %s: want a whole number", what, typeName(v))
	}
	return int(i)
}

var stringMethods = map[string]stringMethod{
	"strip":        trimmer("strip", strings.Trim),
	"lstrip":       trimmer("lstrip", strings.TrimLeft),
	"rstrip":       trimmer("rstrip", strings.TrimRight),
	"upper":        mapper("upper", strings.ToUpper),
	"lower":        mapper("lower", strings.ToLower),
	"capitalize":   mapper("capitalize", capitalize),
	"title":        mapper("title", title),
	"startswith":   edge("startswith", strings.HasPrefix),
	"endswith":     edge("endswith", strings.HasSuffix),
	"removeprefix": one("removeprefix", func(_ *context, s, p string) any { return strings.TrimPrefix(s, p) }),
	"removesuffix": one("removesuffix", func(_ *context, s, p string) any { return strings.TrimSuffix(s, p) }),
	"find":         one("find", func(_ *context, s, sub string) any { return runeIndex(s, strings.Index(s, sub)) }),
	"rfind":        one("rfind", func(_ *context, s, sub string) any { return runeIndex(s, strings.LastIndex(s, sub)) }),
	"count":        one("count", func(_ *context, s, sub string) any { return int64(strings.Count(s, sub)) }),
	"split":        func(c *context, line int, s string, a args) any { return c.split(line, s, a, false) },
	"rsplit":       func(c *context, line int, s string, a args) any { return c.split(line, s, a, true) },
	"splitlines":   splitLines,
	"replace":      replaceIn,
	"join": func(c *context, line int, s string, a args) any {
		got := a.take(line, "join", "items")
		if got[0] == nil {
			fail(line, "join needs items")
		}
		return c.join(c.iterate(line, *got[0]), s)
	},
	"isdigit": mapperBool(func(r rune) bool { return '0' <= r && r <= '9' }),
	"isspace": mapperBool(func(r rune) bool { return strings.ContainsRune(white, r) }),
}

func mapperBool(f func(rune) bool) stringMethod {
	return func(_ *context, line int, s string, a args) any {
		a.take(line, "the method")
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !f(r) }) < 0
	}
}

// runeIndex turns an index of bytes into one of characters.
func runeIndex(s string, at int) int64 {
	if at < 0 {
		return -1
	}
	return int64(length(0, s[:at]))
}

func capitalize(s string) string {
	for i := range s {
		if i > 0 {
			return strings.ToUpper(s[:i]) + strings.ToLower(s[i:])
		}
	}
	return strings.ToUpper(s)
}

// title writes every word with a capital, a word being letters.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, r := range s {
		letter := strings.ToUpper(string(r)) != strings.ToLower(string(r))
		switch {
		case !letter:
			b.WriteRune(r)
		case inWord:
			b.WriteString(strings.ToLower(string(r)))
		default:
			b.WriteString(strings.ToUpper(string(r)))
		}
		inWord = letter
	}
	return b.String()
}

// split cuts at a separator, or at white space without one, at most so many times; from the right for rsplit.
func (c *context) split(line int, s string, a args, right bool) any {
	got := a.take(line, "split", "sep", "maxsplit")
	most := -1
	if got[1] != nil {
		most = wantInt(line, "split", *got[1])
	}
	var parts []string
	if got[0] == nil || *got[0] == nil {
		if most >= 0 {
			fail(line, "split at white space a number of times is not supported")
		}
		parts = strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(white, r) })
	} else {
		sep := wantString(line, "split", *got[0])
		if sep == "" {
			fail(line, "split at an empty string")
		}
		parts = strings.Split(s, sep)
		if extra := len(parts) - most - 1; most >= 0 && extra > 0 {
			if right {
				parts = append([]string{strings.Join(parts[:extra+1], sep)}, parts[extra+1:]...)
			} else {
				parts = append(parts[:most:most], strings.Join(parts[most:], sep))
			}
		}
	}
	c.grow(len(s) + 16*len(parts))
	return c.stringList(parts)
}

func (c *context) stringList(parts []string) *List {
	items := make([]any, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return c.list(items)
}

func splitLines(c *context, line int, s string, a args) any {
	got := a.take(line, "splitlines", "keepends")
	keep := got[0] != nil && truth(*got[0])
	var parts []string
	for l := range strings.Lines(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)) {
		if !keep {
			l = strings.TrimSuffix(l, "\n")
		}
		parts = append(parts, l)
	}
	c.grow(len(s))
	return c.stringList(parts)
}

func replaceIn(c *context, line int, s string, a args) any {
	got := a.take(line, "replace", "old", "new", "count")
	if got[0] == nil || got[1] == nil {
		fail(line, "replace needs what to replace and by what")
	}
	old, with, n := wantString(line, "replace", *got[0]), wantString(line, "replace", *got[1]), -1
	if got[2] != nil && *got[2] != nil {
		n = wantInt(line, "replace", *got[2])
	}
	c.grow(len(s) + (strings.Count(s, old)+1)*len(with))
	return strings.Replace(s, old, with, n)
}

func (c *context) join(items []any, sep string) string {
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(sep)
		}
		before := b.Len()
		b.WriteString(c.text(item))
		c.grow(b.Len() - before + len(sep))
	}
	return b.String()
}

// parseInt reads a number as Python's int() does, otherwise returns the default.
func parseInt(v any, otherwise int64) int64 {
	switch v := v.(type) {
	case string:
		s := strings.Trim(v, white)
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return int64(f)
		}
	case float64:
		return int64(v)
	case int64:
		return v
	case bool:
		if v {
			return 1
		}
		return 0
	}
	return otherwise
}
