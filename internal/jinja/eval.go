package jinja

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// context is the state of one rendering.
type context struct {
	out       *strings.Builder
	captured  int // how many macros and set blocks out is within
	generated [][2]int
	scope     *scope
	top       *scope
	now       time.Time
	filters   map[string]filter // the table, which its functions cannot name
	signal    signal
	steps     int
	bytes     int
	calls     int
}

// signal is what leaves the body of a loop.
type signal int

const (
	noSignal signal = iota
	breakLoop
	continueLoop
)

// scope holds names; those of the scopes around it are seen from it.
type scope struct {
	vars  map[string]any
	outer *scope
}

func (c *context) step(more int) {
	if c.steps += 1 + more; c.steps > maxSteps {
		fail(0, "the template takes more than %d steps", maxSteps)
	}
}

// grow counts n bytes that are made.
func (c *context) grow(n int) {
	if c.bytes += n; c.bytes > maxBytes {
		fail(0, "the template makes more than %d bytes", maxBytes)
	}
}

func (c *context) write(s string) {
	c.grow(len(s))
	c.out.WriteString(s)
}

// run runs statements until a loop is left.
func (c *context) run(body []stmt) {
	for _, s := range body {
		c.step(0)
		s.run(c)
		if c.signal != noSignal {
			return
		}
	}
}

func (s textStmt) run(c *context) { c.write(s.text) }

func (s outputStmt) run(c *context) { c.write(c.text(s.x.eval(c))) }

func (s ifStmt) run(c *context) {
	for i, cond := range s.cond {
		if truth(cond.eval(c)) {
			c.run(s.body[i])
			return
		}
	}
	c.run(s.final)
}

// loopState is what a template sees as loop.
type loopState struct {
	items []any
	i     int
	depth int
}

func (l *loopState) attr(name string) (any, bool) {
	n := len(l.items)
	neighbour := func(i int) any {
		if i < 0 || i >= n {
			return undefined{"loop." + name}
		}
		return l.items[i]
	}
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "revindex":
		return int64(n - l.i), true
	case "revindex0":
		return int64(n - l.i - 1), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(l.depth), true
	case "depth0":
		return int64(l.depth - 1), true
	case "previtem":
		return neighbour(l.i - 1), true
	case "nextitem":
		return neighbour(l.i + 1), true
	case "cycle":
		return &function{"cycle", func(_ *context, line int, a args) any {
			if len(a.list) == 0 {
				fail(line, "loop.cycle needs items")
			}
			return a.list[l.i%len(a.list)]
		}}, true
	}
	return nil, false
}

func (s forStmt) run(c *context) {
	outer := c.scope
	defer func() { c.scope = outer }()
	items := c.iterate(s.line, s.iter.eval(c))
	if s.filter != nil {
		var kept []any
		for _, item := range items {
			c.step(0)
			c.scope = &scope{map[string]any{}, outer}
			c.assign(s.line, s.target, item)
			if truth(s.filter.eval(c)) {
				kept = append(kept, item)
			}
		}
		c.grow(16 * len(kept))
		items = kept
	}
	loop := &loopState{items: items, depth: 1}
	if around, ok := outer.lookup("loop").(*loopState); ok {
		loop.depth = around.depth + 1
	}
	for i, item := range items {
		c.step(0)
		loop.i = i
		c.scope = &scope{map[string]any{"loop": loop}, outer}
		c.assign(s.line, s.target, item)
		c.run(s.body)
		left := c.signal == breakLoop
		c.signal = noSignal
		if left {
			return
		}
	}
	if len(items) == 0 {
		c.scope = outer
		c.run(s.orElse)
	}
}

// assign gives the names the value, or its items where there are several.
func (c *context) assign(line int, names []string, v any) {
	if len(names) == 1 {
		c.scope.vars[names[0]] = v
		return
	}
	items := c.iterate(line, v)
	if len(items) != len(names) {
		fail(line, "%d values for %d names", len(items), len(names))
	}
	for i, name := range names {
		c.scope.vars[name] = items[i]
	}
}

func (s *scope) lookup(name string) any {
	for ; s != nil; s = s.outer {
		if v, ok := s.vars[name]; ok {
			return v
		}
	}
	if f := globals[name]; f != nil {
		return f
	}
	return undefined{name}
}

// capture returns what body writes.
func (c *context) capture(body []stmt) string {
	out := c.out
	c.out = new(strings.Builder)
	c.captured++
	c.run(body)
	text := c.out.String()
	c.captured--
	c.out = out
	return text
}

func (s setStmt) run(c *context) {
	var v any
	if s.x != nil {
		v = s.x.eval(c)
	} else {
		outer := c.scope
		c.scope = &scope{map[string]any{}, outer}
		v = c.capture(s.body)
		c.scope = outer
		for _, f := range s.filters {
			v = f.apply(c, v)
		}
	}
	values := []any{v}
	if len(s.targets) > 1 {
		if values = c.iterate(s.line, v); len(values) != len(s.targets) {
			fail(s.line, "%d values for %d names", len(values), len(s.targets))
		}
	}
	for i, t := range s.targets {
		if t.attr == "" {
			c.scope.vars[t.name] = values[i]
			continue
		}
		ns, ok := c.scope.lookup(t.name).(*Dict)
		if !ok || !ns.namespace {
			fail(s.line, "%s is no namespace: its attributes cannot be set", t.name)
		}
		ns.Set(t.attr, values[i])
	}
}

func (s macroStmt) run(c *context) {
	c.scope.vars[s.name] = &function{s.name, s.call}
}

func (s macroStmt) call(c *context, line int, a args) any {
	if c.calls++; c.calls > maxCalls {
		fail(line, "macros call each other more than %d deep", maxCalls)
	}
	outer := c.scope
	c.scope = &scope{map[string]any{}, c.top}
	got := a.take(line, s.name, s.params...)
	required := len(s.params) - len(s.defaults)
	for i, name := range s.params {
		switch {
		case got[i] != nil:
			c.scope.vars[name] = *got[i]
		case i >= required:
			c.scope.vars[name] = s.defaults[i-required].eval(c)
		default:
			c.scope.vars[name] = undefined{name}
		}
	}
	text := c.capture(s.body)
	c.scope = outer
	c.calls--
	return text
}

func (s generationStmt) run(c *context) {
	if c.captured > 0 {
		fail(s.line, "generation within a macro or set block: what it marks has no place in the text")
	}
	start, outer := c.out.Len(), c.scope
	c.scope = &scope{map[string]any{}, outer}
	c.run(s.body)
	c.scope = outer
	if end := c.out.Len(); end > start {
		c.generated = append(c.generated, [2]int{start, end})
	}
}

func (s loopStmt) run(c *context) { c.signal = s.signal }

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

func (x binaryExpr) eval(c *context) any {
	c.step(0)
	a, b := known(x.line, x.a.eval(c)), known(x.line, x.b.eval(c))
	ai, af, aInt, aOK := number(a)
	bi, bf, bInt, bOK := number(b)
	switch {
	case aOK && bOK && aInt && bInt:
		return x.ints(ai, bi)
	case aOK && bOK:
		return x.floats(af, bf)
	case x.op == "*" && bOK && bInt:
		return c.repeat(x.line, a, bi)
	case x.op == "*" && aOK && aInt:
		return c.repeat(x.line, b, ai)
	case x.op == "+":
		switch a := a.(type) {
		case string:
			if b, ok := b.(string); ok {
				c.grow(len(a) + len(b))
				return a + b
			}
		case *List:
			if b, ok := b.(*List); ok && a.tuple == b.tuple {
				l := c.list(slices.Concat(a.Items, b.Items))
				l.tuple = a.tuple
				return l
			}
		}
	}
	fail(x.line, "%s %s %s", typeName(a), x.op, typeName(b))
	return nil
}

// repeat is a string or list times n.
func (c *context) repeat(line int, v any, n int64) any {
	n = max(n, 0)
	switch v := v.(type) {
	case string:
		if len(v) > 0 {
			c.grow(int(min(n, maxBytes+1)) * len(v))
			return strings.Repeat(v, int(n))
		}
		return v
	case *List:
		if len(v.Items) > 0 {
			c.grow(int(min(n, maxBytes+1)) * 16 * len(v.Items))
			return &List{slices.Repeat(v.Items, int(n)), v.tuple}
		}
		return v
	}
	fail(line, "%s * an int", typeName(v))
	return nil
}

func (x binaryExpr) ints(a, b int64) any {
	switch x.op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "**":
		return power(a, b)
	}
	if b == 0 {
		fail(x.line, "division by zero")
	}
	if x.op == "/" {
		return float64(a) / float64(b)
	}
	q, r := a/b, a%b
	if r != 0 && (r < 0) != (b < 0) { // towards minus infinity, as Python divides
		q, r = q-1, r+b
	}
	if x.op == "//" {
		return q
	}
	return r
}

func power(a, b int64) any {
	f := math.Pow(float64(a), float64(b))
	if b < 0 || math.Abs(f) >= 1<<53 {
		return f
	}
	return int64(f)
}

func (x binaryExpr) floats(a, b float64) any {
	switch x.op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "**":
		return math.Pow(a, b)
	}
	if b == 0 {
		fail(x.line, "division by zero")
	}
	switch x.op {
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	}
	return a - b*math.Floor(a/b)
}
