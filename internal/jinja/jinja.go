// Package jinja renders chat templates: the part of Jinja 2 that the templates of models use, with the settings that
// transformers renders them with (trim_blocks, lstrip_blocks, loop controls, the generation tag, its tojson,
// raise_exception and strftime_now).
//
// A template comes from an untrusted model. It can read what it is given and write text, and nothing else: there is no
// include, import or file, values are immutable, and what one rendering may cost is bounded (see the limits below).
package jinja

import (
	"fmt"
	"strings"
	"time"
)

// The limits of a template and of one rendering. Those of real templates are far below: the longest has 20 KB and a
// conversation of a hundred turns takes some 100,000 steps.
const (
	maxSource  = 1 << 20  // bytes of a template
	maxNesting = 200      // of blocks and expressions in the source
	maxCalls   = 100      // of macros within macros
	maxSteps   = 4 << 20  // expressions and statements evaluated
	maxBytes   = 64 << 20 // made in strings, lists and output together
	maxRange   = 100_000  // items of range(), as in Jinja's sandbox
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	body       []stmt
	generation bool
}

// Error is what is wrong with a template, or with what it was given.
type Error struct {
	Line   int // of the template, from 1; 0 where it is about the whole
	Msg    string
	Raised bool // by raise_exception: the template refuses what it was given
}

func (e *Error) Error() string {
	if e.Raised || e.Line == 0 {
		return e.Msg
	}
	return fmt.Sprintf("template line %d: %s", e.Line, e.Msg)
}

// Parse parses a template. Errors are of type *Error.
func Parse(source string) (t *Template, err error) {
	defer catch(&err)
	if len(source) > maxSource {
		return nil, &Error{1, fmt.Sprintf("longer than %d bytes", maxSource), false}
	}
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	p := &parser{tokens: lex(strings.TrimSuffix(source, "\n"))}
	t = &Template{body: p.block()}
	t.generation = p.generation
	return t, nil
}

// HasGeneration says whether the template marks what the model is to say by {% generation %}.
func (t *Template) HasGeneration() bool { return t.generation }

// Result is a rendered text.
type Result struct {
	Text      string
	Generated [][2]int // byte ranges of Text that stood in {% generation %} blocks, ascending
}

// Render renders the template over the given variables, with now as the moment that strftime_now tells. Errors are of type
// *Error.
func (t *Template) Render(vars *Dict, now time.Time) (r Result, err error) {
	defer catch(&err)
	c := &context{out: new(strings.Builder), now: now, filters: filters}
	c.scope = &scope{vars: map[string]any{}}
	for i, k := range vars.keys {
		if name, ok := k.(string); ok {
			c.scope.vars[name] = vars.values[i]
		}
	}
	c.top = c.scope
	c.run(t.body)
	return Result{c.out.String(), c.generated}, nil
}

// catch turns the panic by which an error leaves the depths of parsing or rendering into that error.
func catch(err *error) {
	switch v := recover().(type) {
	case nil:
	case *Error:
		*err = v
	default:
		panic(v)
	}
}

func fail(line int, format string, args ...any) {
	panic(&Error{line, fmt.Sprintf(format, args...), false})
}
