package jinja

import (
	"strings"
	"time"
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
