package jinja

import (
	"slices"
	"strings"
	"unicode/utf8"
)

func (x constant) eval(*context) any { return x.v }

func (x variable) eval(c *context) any {
	c.step(0)
	return c.scope.lookup(x.name)
}

func (c *context) evalAll(list []expr) []any {
	values := make([]any, len(list))
	for i, x := range list {
		values[i] = x.eval(c)
	}
	return values
}

func (x listExpr) eval(c *context) any {
	c.step(0)
	l := c.list(c.evalAll(x.items))
	l.tuple = x.tuple
	return l
}

func (x dictExpr) eval(c *context) any {
	c.step(0)
	c.grow(64 * len(x.keys))
	d := NewDict()
	for i, k := range x.keys {
		d.put(x.line, k.eval(c), x.values[i].eval(c))
	}
	return d
}

// put is Set for a key that may be of any type.
func (d *Dict) put(line int, key, value any) {
	if !hashable(key) {
		fail(line, "%s cannot be a key", typeName(key))
	}
	d.Set(key, value)
}

// known refuses undefined values, which only few expressions take.
func known(line int, v any) any {
	if u, ok := v.(undefined); ok {
		fail(line, "%q is undefined", u.what)
	}
	return v
}

func (x attrExpr) eval(c *context) any {
	c.step(0)
	v := known(x.line, x.x.eval(c))
	if l, ok := v.(*loopState); ok {
		if a, ok := l.attr(x.name); ok {
			return a
		}
		return undefined{"loop." + x.name}
	}
	if d, ok := v.(*Dict); ok && d.namespace {
		if a, ok := d.Get(x.name); ok {
			return a
		}
		return undefined{x.name}
	}
	if m := method(v, x.name); m != nil {
		return m
	}
	if d, ok := v.(*Dict); ok {
		if item, ok := d.Get(x.name); ok {
			return item
		}
	}
	return undefined{x.name}
}

func (x indexExpr) eval(c *context) any {
	c.step(0)
	v := known(x.line, x.x.eval(c))
	index := x.index.eval(c)
	if d, ok := v.(*Dict); ok {
		if item, ok := d.Get(index); ok {
			return item
		}
	}
	if name, ok := index.(string); ok {
		if m := method(v, name); m != nil {
			return m
		}
		return undefined{name}
	}
	i, _, isInt, ok := number(index)
	if !ok || !isInt {
		return undefined{"item"}
	}
	switch v := v.(type) {
	case *List:
		if i < 0 {
			i += int64(len(v.Items))
		}
		if i >= 0 && i < int64(len(v.Items)) {
			return v.Items[i]
		}
	case string:
		c.step(len(v) / 64)
		if i < 0 {
			i += int64(utf8.RuneCountInString(v))
		}
		for _, r := range v {
			if i == 0 {
				return string(r)
			}
			i--
		}
	}
	return undefined{"item"}
}

func (x sliceExpr) eval(c *context) any {
	c.step(0)
	v := known(x.line, x.x.eval(c))
	bound := func(e expr) *int64 {
		if e == nil {
			return nil
		}
		value := e.eval(c)
		if value == nil {
			return nil
		}
		i, _, isInt, ok := number(value)
		if !ok || !isInt {
			fail(x.line, "a slice by %s", typeName(value))
		}
		return &i
	}
	start, stop, step := bound(x.start), bound(x.stop), bound(x.step)
	switch v := v.(type) {
	case *List:
		l := c.list(slice(x.line, v.Items, start, stop, step))
		l.tuple = v.tuple
		return l
	case string:
		c.grow(4 * len(v))
		return string(slice(x.line, []rune(v), start, stop, step))
	}
	fail(x.line, "%s cannot be sliced", typeName(v))
	return nil
}

// slice is Python's s[start:stop:step].
func slice[T any](line int, s []T, start, stop, step *int64) []T {
	n, by := int64(len(s)), int64(1)
	if step != nil {
		if by = *step; by == 0 {
			fail(line, "a slice of step 0")
		}
	}
	low, high := int64(0), n
	if by < 0 {
		low, high = -1, n-1
	}
	clamp := func(i *int64, otherwise int64) int64 {
		if i == nil {
			return otherwise
		}
		v := *i
		if v < 0 {
			v += n
		}
		return min(max(v, low), high)
	}
	from, to := clamp(start, low), clamp(stop, high)
	if by < 0 {
		from, to = clamp(start, high), clamp(stop, low)
	}
	by = min(max(by, -n-1), n+1) // no step goes further, and sums stay small
	var out []T
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		out = append(out, s[i])
	}
	return out
}

func (a arguments) eval(c *context) args {
	return args{c.evalAll(a.list), a.names, c.evalAll(a.named)}
}

func (x callExpr) eval(c *context) any {
	c.step(0)
	v := known(x.line, x.fn.eval(c))
	f, ok := v.(*function)
	if !ok {
		fail(x.line, "%s cannot be called", typeName(v))
	}
	return f.call(c, x.line, x.args.eval(c))
}

func (f filterCall) apply(c *context, v any) any {
	c.step(0)
	return f.f(c, f.line, v, f.args.eval(c))
}

func (x filterExpr) eval(c *context) any { return x.call.apply(c, x.x.eval(c)) }

func (x testExpr) eval(c *context) any {
	c.step(0)
	return x.f(c, x.line, x.x.eval(c), c.evalAll(x.args)) != x.not
}

func (x unaryExpr) eval(c *context) any {
	c.step(0)
	v := x.x.eval(c)
	if x.op == "not" {
		return !truth(v)
	}
	i, f, isInt, ok := number(known(x.line, v))
	switch {
	case !ok:
		fail(x.line, "%s of %s", x.op, typeName(v))
	case x.op == "-":
		i, f = -i, -f
	}
	if isInt {
		return i
	}
	return f
}

func (x logicExpr) eval(c *context) any {
	c.step(0)
	a := x.a.eval(c)
	if truth(a) == x.or {
		return a
	}
	return x.b.eval(c)
}

func (x condExpr) eval(c *context) any {
	c.step(0)
	switch {
	case truth(x.cond.eval(c)):
		return x.then.eval(c)
	case x.orElse == nil:
		return undefined{"the else of an if"}
	}
	return x.orElse.eval(c)
}

func (x concatExpr) eval(c *context) any {
	c.step(0)
	var b strings.Builder
	for _, part := range x.parts {
		s := c.text(part.eval(c))
		c.grow(len(s))
		b.WriteString(s)
	}
	return b.String()
}

func (x compareExpr) eval(c *context) any {
	c.step(0)
	a := x.x.eval(c)
	for i, op := range x.ops {
		b := x.rest[i].eval(c)
		if !c.compare(x.line, op, a, b) {
			return false
		}
		a = b
	}
	return true
}

func (c *context) compare(line int, op string, a, b any) bool {
	switch op {
	case "==":
		return c.equal(a, b)
	case "!=":
		return !c.equal(a, b)
	case "in":
		return c.contains(line, b, a)
	case "not in":
		return !c.contains(line, b, a)
	}
	o := c.order(line, known(line, a), known(line, b))
	switch op {
	case "<":
		return o < 0
	case "<=":
		return o <= 0
	case ">":
		return o > 0
	}
	return o >= 0
}

func (c *context) contains(line int, in, v any) bool {
	switch in := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			fail(line, "%s in a string", typeName(v))
		}
		c.step(len(in) / 64)
		return strings.Contains(in, s)
	case *Dict:
		_, ok := in.Get(v)
		return ok
	}
	return slices.ContainsFunc(c.iterate(line, in), func(item any) bool { return c.equal(item, v) })
}
