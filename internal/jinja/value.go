package jinja

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The values of a template are nil (None), bool, int64, float64, string, *List, *Dict, and those of this package.

// List is a list or tuple. It is never changed once made.
type List struct {
	Items []any
	tuple bool
}

// Dict is a dictionary in the order of insertion. Templates never change one.
type Dict struct {
	keys, values []any
	index        map[any]int
	namespace    bool // made by namespace(): its attributes can be set
}

// NewDict returns an empty dictionary.
func NewDict() *Dict { return &Dict{} }

// few is up to how many keys a dictionary is searched without an index.
const few = 8

// Set gives key, a string, number, bool or nil, a value.
func (d *Dict) Set(key, value any) {
	if i := d.find(key); i >= 0 {
		d.values[i] = value
		return
	}
	d.keys, d.values = append(d.keys, key), append(d.values, value)
	switch n := len(d.keys); {
	case n == few+1:
		d.index = make(map[any]int, 2*n)
		for i, k := range d.keys {
			d.index[k] = i
		}
	case n > few:
		d.index[key] = n - 1
	}
}

func (d *Dict) find(key any) int {
	if d.index != nil {
		if i, ok := d.index[key]; ok {
			return i
		}
		return -1
	}
	for i, k := range d.keys {
		if k == key {
			return i
		}
	}
	return -1
}

// Get returns the value of key.
func (d *Dict) Get(key any) (any, bool) {
	if !hashable(key) {
		return nil, false
	}
	if i := d.find(key); i >= 0 {
		return d.values[i], true
	}
	return nil, false
}

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// hashable says whether v can be a key.
func hashable(v any) bool {
	switch v.(type) {
	case nil, bool, int64, float64, string:
		return true
	}
	return false
}

// undefined stands for what has no value. It prints as nothing, and using it otherwise is an error.
type undefined struct{ what string }

// function is something that can be called.
type function struct {
	name string
	call func(c *context, line int, a args) any
}

// args are the values of a call's arguments.
type args struct {
	list  []any
	names []string
	named []any
}

// take returns the arguments in the order of the given parameters, nil pointers where not given. Too many or unknown ones are
// an error.
func (a args) take(line int, what string, params ...string) []*any {
	if len(a.list) > len(params) {
		fail(line, "%s takes at most %d arguments, got %d", what, len(params), len(a.list))
	}
	got := make([]*any, len(params))
	for i := range a.list {
		got[i] = &a.list[i]
	}
	for i, name := range a.names {
		at := -1
		for j, p := range params {
			if p == name {
				at = j
			}
		}
		switch {
		case at < 0:
			fail(line, "%s has no argument %q", what, name)
		case got[at] != nil:
			fail(line, "%s has its argument %q twice", what, name)
		}
		got[at] = &a.named[i]
	}
	return got
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *List:
		return len(v.Items) > 0
	case *Dict:
		return v.namespace || len(v.keys) > 0
	}
	return true
}

// typeName names v's type for a message, as Python does.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case undefined:
		return "undefined"
	case bool:
		return "a bool"
	case int64:
		return "an int"
	case float64:
		return "a float"
	case string:
		return "a string"
	case *List:
		if v.tuple {
			return "a tuple"
		}
		return "a list"
	case *Dict:
		return "a dict"
	}
	return "a function"
}

// number returns v as a number, where it is one; a bool is.
func number(v any) (i int64, f float64, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int64:
		return v, float64(v), true, true
	case float64:
		return 0, v, false, true
	}
	return 0, 0, false, false
}

// equal is ==. Undefined equals undefined.
func (c *context) equal(a, b any) bool {
	c.step(0)
	if ai, af, aInt, ok := number(a); ok {
		bi, bf, bInt, ok := number(b)
		if aInt && bInt {
			return ok && ai == bi
		}
		return ok && af == bf
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		s, ok := b.(string)
		return ok && a == s
	case *List:
		l, ok := b.(*List)
		if !ok || a.tuple != l.tuple || len(a.Items) != len(l.Items) {
			return false
		}
		for i := range a.Items {
			if !c.equal(a.Items[i], l.Items[i]) {
				return false
			}
		}
		return true
	case *Dict:
		d, ok := b.(*Dict)
		if !ok || len(a.keys) != len(d.keys) {
			return false
		}
		for i, k := range a.keys {
			v, ok := d.Get(k)
			if !ok || !c.equal(a.values[i], v) {
				return false
			}
		}
		return true
	case *function:
		return a == b
	}
	return false
}

// order compares numbers, strings and lists.
func (c *context) order(line int, a, b any) int {
	if _, af, _, ok := number(a); ok {
		if _, bf, _, ok := number(b); ok {
			switch {
			case af < bf:
				return -1
			case af > bf:
				return 1
			}
			return 0
		}
	}
	if as, ok := a.(string); ok {
		if bs, ok := b.(string); ok {
			c.step((len(as) + len(bs)) / 64)
			return strings.Compare(as, bs)
		}
	}
	if al, ok := a.(*List); ok {
		if bl, ok := b.(*List); ok {
			for i := range min(len(al.Items), len(bl.Items)) {
				if o := c.order(line, al.Items[i], bl.Items[i]); o != 0 {
					return o
				}
			}
			return len(al.Items) - len(bl.Items)
		}
	}
	fail(line, "cannot compare %s and %s", typeName(a), typeName(b))
	return 0
}

// text is Python's str().
func (c *context) text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	if _, ok := v.(undefined); ok {
		return ""
	}
	var b strings.Builder
	c.repr(&b, v, 0)
	return b.String()
}

// repr writes Python's repr().
func (c *context) repr(b *strings.Builder, v any, depth int) {
	c.step(0)
	if depth > maxNesting {
		fail(0, "a value nested deeper than %d", maxNesting)
	}
	before := b.Len()
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case undefined:
		b.WriteString("Undefined")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(formatFloat(v))
	case string:
		b.WriteString(quote(v))
	case *List:
		open, end := "[", "]"
		if v.tuple {
			if open, end = "(", ")"; len(v.Items) == 1 {
				end = ",)"
			}
		}
		b.WriteString(open)
		for i, item := range v.Items {
			if i > 0 {
				b.WriteString(", ")
			}
			c.repr(b, item, depth+1)
		}
		b.WriteString(end)
		before = b.Len()
	case *Dict:
		b.WriteString("{")
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			c.repr(b, k, depth+1)
			b.WriteString(": ")
			c.repr(b, v.values[i], depth+1)
		}
		b.WriteString("}")
		before = b.Len()
	case *function:
		fmt.Fprintf(b, "<function %s>", v.name)
	}
	c.grow(b.Len() - before)
}

// formatFloat is Python's repr of a float: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
func formatFloat(v float64) string {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+"))
	}
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string.
func quote(s string) string {
	q := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteRune(q)
	for _, r := range s {
		switch {
		case r == q || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(q)
	return b.String()
}

// iterate returns the items of v: of a dictionary its keys, of a string its characters.
func (c *context) iterate(line int, v any) []any {
	switch v := v.(type) {
	case undefined:
		return nil
	case *List:
		return v.Items
	case *Dict:
		if !v.namespace {
			return v.keys
		}
	case string:
		c.grow(16 * len(v))
		items := make([]any, 0, utf8.RuneCountInString(v))
		for _, r := range v {
			items = append(items, string(r))
		}
		return items
	}
	fail(line, "%s cannot be iterated over", typeName(v))
	return nil
}

// list makes a list, whose memory counts.
func (c *context) list(items []any) *List {
	c.grow(16 * len(items))
	return &List{Items: items}
}

// length is Python's len().
func length(line int, v any) int {
	switch v := v.(type) {
	case undefined:
		return 0
	case string:
		return utf8.RuneCountInString(v)
	case *List:
		return len(v.Items)
	case *Dict:
		return len(v.keys)
	}
	fail(line, "%s has no length", typeName(v))
	return 0
}

// All yields keys and values in their order.
func (d *Dict) All() iter.Seq2[any, any] {
	return func(yield func(key, value any) bool) {
		for i, k := range d.keys {
			if !yield(k, d.values[i]) {
				return
			}
		}
	}
}
