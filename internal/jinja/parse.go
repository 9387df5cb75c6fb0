package jinja

import (
	"slices"
	"strconv"
)

// parser reads tokens by recursive descent, with the precedences of Jinja 2.
type parser struct {
	tokens     []token
	i          int
	depth      int
	loops      int // around the place
	generation bool
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != endToken {
		p.i++
	}
	return t
}

// is reports whether the next token is that operator or name.
func (p *parser) is(k kind, text string) bool { t := p.peek(); return t.kind == k && t.text == text }

func (p *parser) op(text string) bool {
	if p.is(opToken, text) {
		p.i++
		return true
	}
	return false
}

func (p *parser) word(text string) bool {
	if p.is(nameToken, text) {
		p.i++
		return true
	}
	return false
}

func (p *parser) wantOp(text string) {
	if !p.op(text) {
		p.unexpected("want %q", text)
	}
}

func (p *parser) wantName() string {
	if p.peek().kind != nameToken {
		p.unexpected("want a name")
	}
	return p.next().text
}

func (p *parser) wantEnd(k kind) {
	if p.peek().kind != k {
		p.unexpected("want the end of the tag")
	}
	p.i++
}

func (p *parser) unexpected(format string, args ...any) {
	t := p.peek()
	what := strconv.Quote(t.text)
	switch t.kind {
	case endToken:
		what = "the end of the template"
	case blockEnd:
		what = "%}"
	case outputEnd:
		what = "}}"
	}
	fail(t.line, format+", found %s", append(args, what)...)
}

// deeper bounds the nesting, which bounds the stack of parsing and rendering.
func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxNesting {
		fail(p.peek().line, "nested deeper than %d", maxNesting)
	}
	return func() { p.depth-- }
}

// block reads statements until one of the tags ends, whose name is then the next token, or the end of the template.
func (p *parser) block(ends ...string) []stmt {
	defer p.deeper()()
	var body []stmt
	for {
		switch t := p.next(); t.kind {
		case textToken:
			body = append(body, textStmt{t.text})
		case outputBegin:
			body = append(body, outputStmt{t.line, p.tuple(true)})
			p.wantEnd(outputEnd)
		case blockBegin:
			if tag := p.peek(); tag.kind == nameToken && slices.Contains(ends, tag.text) {
				return body
			}
			body = append(body, p.statement())
		case endToken:
			if len(ends) > 0 {
				fail(t.line, "%s is missing", ends[len(ends)-1])
			}
			return body
		}
	}
}

// end takes the end tag of that name, which is the next token.
func (p *parser) end() {
	p.i++
	p.wantEnd(blockEnd)
}

func (p *parser) statement() stmt {
	line := p.peek().line
	switch tag := p.wantName(); tag {
	case "if":
		return p.ifStmt(line)
	case "for":
		return p.forStmt(line)
	case "set":
		return p.setStmt(line)
	case "macro":
		return p.macroStmt(line)
	case "generation":
		p.generation = true
		p.wantEnd(blockEnd)
		s := generationStmt{line, p.block("endgeneration")}
		p.end()
		return s
	case "break", "continue":
		if p.loops == 0 {
			fail(line, "%s outside a loop", tag)
		}
		p.wantEnd(blockEnd)
		return loopStmt{line, map[string]signal{"break": breakLoop, "continue": continueLoop}[tag]}
	default:
		fail(line, "the tag %q is not supported", tag)
		return nil
	}
}

func (p *parser) ifStmt(line int) stmt {
	s := ifStmt{line: line}
	for {
		s.cond = append(s.cond, p.tuple(true))
		p.wantEnd(blockEnd)
		s.body = append(s.body, p.block("elif", "else", "endif"))
		if !p.word("elif") {
			break
		}
	}
	if p.word("else") {
		p.wantEnd(blockEnd)
		s.final = p.block("endif")
	}
	p.end()
	return s
}

func (p *parser) forStmt(line int) stmt {
	s := forStmt{line: line}
	for {
		parens := p.op("(")
		s.target = append(s.target, p.wantName())
		if parens {
			for p.op(",") {
				s.target = append(s.target, p.wantName())
			}
			p.wantOp(")")
		}
		if !p.op(",") {
			break
		}
	}
	if !p.word("in") {
		p.unexpected("want \"in\"")
	}
	s.iter = p.tuple(false)
	if p.word("if") {
		s.filter = p.expr()
	}
	if p.is(nameToken, "recursive") {
		fail(line, "recursive loops are not supported")
	}
	p.wantEnd(blockEnd)
	p.loops++
	s.body = p.block("else", "endfor")
	p.loops--
	if p.word("else") {
		p.wantEnd(blockEnd)
		s.orElse = p.block("endfor")
	}
	p.end()
	return s
}

func (p *parser) setStmt(line int) stmt {
	s := setStmt{line: line}
	for {
		t := setTarget{name: p.wantName()}
		if p.op(".") {
			t.attr = p.wantName()
		}
		s.targets = append(s.targets, t)
		if !p.op(",") {
			break
		}
	}
	if p.op("=") {
		s.x = p.tuple(true)
		p.wantEnd(blockEnd)
		return s
	}
	for p.op("|") {
		s.filters = append(s.filters, p.filter())
	}
	p.wantEnd(blockEnd)
	s.body = p.block("endset")
	p.end()
	return s
}

func (p *parser) macroStmt(line int) stmt {
	s := macroStmt{line: line, name: p.wantName()}
	p.wantOp("(")
	for !p.op(")") {
		if len(s.params) > 0 {
			p.wantOp(",")
		}
		s.params = append(s.params, p.wantName())
		if p.op("=") {
			s.defaults = append(s.defaults, p.expr())
		} else if len(s.defaults) > 0 {
			p.unexpected("want a default")
		}
	}
	p.wantEnd(blockEnd)
	loops := p.loops
	p.loops = 0
	s.body = p.block("endmacro")
	p.loops = loops
	p.end()
	return s
}

// tuple reads expressions separated by commas: one is itself, several are a tuple.
func (p *parser) tuple(conditional bool) expr {
	read := p.expr
	if !conditional {
		read = p.or
	}
	line := p.peek().line
	first := read()
	if !p.is(opToken, ",") {
		return first
	}
	items := []expr{first}
	for p.op(",") {
		switch t := p.peek(); {
		case t.kind == blockEnd, t.kind == outputEnd, t.kind == opToken && t.text == ")":
			return listExpr{line, items, true}
		}
		items = append(items, read())
	}
	return listExpr{line, items, true}
}

func (p *parser) expr() expr {
	defer p.deeper()()
	line := p.peek().line
	x := p.or()
	for p.word("if") {
		c := condExpr{line: line, then: x, cond: p.or()}
		if p.word("else") {
			c.orElse = p.expr()
		}
		x = c
	}
	return x
}

// The chains below are left-associative: each turn makes the tree deeper, which counts.

func (p *parser) or() expr {
	x := p.and()
	for line := p.peek().line; p.word("or"); line = p.peek().line {
		defer p.deeper()()
		x = logicExpr{line, true, x, p.and()}
	}
	return x
}

func (p *parser) and() expr {
	x := p.not()
	for line := p.peek().line; p.word("and"); line = p.peek().line {
		defer p.deeper()()
		x = logicExpr{line, false, x, p.not()}
	}
	return x
}

func (p *parser) not() expr {
	if line := p.peek().line; p.word("not") {
		defer p.deeper()()
		return unaryExpr{line, "not", p.not()}
	}
	return p.compare()
}

var comparisons = []string{"==", "!=", "<", "<=", ">", ">="}

func (p *parser) compare() expr {
	line := p.peek().line
	c := compareExpr{line: line, x: p.sum()}
	for {
		t := p.peek()
		switch {
		case t.kind == opToken && slices.Contains(comparisons, t.text):
			p.i++
			c.ops = append(c.ops, t.text)
		case p.word("in"):
			c.ops = append(c.ops, "in")
		case t.kind == nameToken && t.text == "not" && p.tokens[p.i+1].kind == nameToken && p.tokens[p.i+1].text == "in":
			p.i += 2
			c.ops = append(c.ops, "not in")
		case len(c.ops) == 0:
			return c.x
		default:
			return c
		}
		c.rest = append(c.rest, p.sum())
	}
}

// binary reads a left-associative chain of operators.
func (p *parser) binary(operand func() expr, ops ...string) expr {
	x := operand()
	for t := p.peek(); t.kind == opToken && slices.Contains(ops, t.text); t = p.peek() {
		defer p.deeper()()
		p.i++
		x = binaryExpr{t.line, t.text, x, operand()}
	}
	return x
}

func (p *parser) sum() expr { return p.binary(p.concat, "+", "-") }

func (p *parser) concat() expr {
	line := p.peek().line
	parts := []expr{p.product()}
	for p.op("~") {
		parts = append(parts, p.product())
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return concatExpr{line, parts}
}

func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }

func (p *parser) power() expr { return p.binary(func() expr { return p.unary(true) }, "**") }

func (p *parser) unary(filtered bool) expr {
	t := p.peek()
	var x expr
	if t.kind == opToken && (t.text == "-" || t.text == "+") {
		defer p.deeper()()
		p.i++
		x = unaryExpr{t.line, t.text, p.unary(false)}
	} else {
		x = p.postfix(p.primary())
	}
	if filtered {
		x = p.filters(x)
	}
	return x
}

var constants = map[string]any{"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case nameToken:
		if v, ok := constants[t.text]; ok {
			return constant{v}
		}
		return variable{t.line, t.text}
	case stringToken:
		s := t.text
		for p.peek().kind == stringToken { // adjacent strings are one
			s += p.next().text
		}
		return constant{s}
	case intToken:
		v, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			fail(t.line, "the number %.40s is out of range", t.text)
		}
		return constant{v}
	case floatToken:
		v, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			fail(t.line, "the number %.40s is out of range", t.text)
		}
		return constant{v}
	case opToken:
		switch t.text {
		case "(":
			if p.op(")") {
				return listExpr{t.line, nil, true}
			}
			x := p.tuple(true)
			p.wantOp(")")
			return x
		case "[":
			return listExpr{t.line, p.items("]"), false}
		case "{":
			return p.dict(t.line)
		}
	}
	p.i-- // the end token is never passed
	if t.kind == endToken {
		p.i++
	}
	p.unexpected("want an expression")
	return nil
}

// items reads expressions up to the closing bracket.
func (p *parser) items(closing string) []expr {
	var items []expr
	for !p.op(closing) {
		if len(items) > 0 {
			p.wantOp(",")
			if p.op(closing) {
				break
			}
		}
		items = append(items, p.expr())
	}
	return items
}

func (p *parser) dict(line int) expr {
	d := dictExpr{line: line}
	for !p.op("}") {
		if len(d.keys) > 0 {
			p.wantOp(",")
			if p.op("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expr())
		p.wantOp(":")
		d.values = append(d.values, p.expr())
	}
	return d
}

// postfix reads attributes, subscripts and calls after x.
func (p *parser) postfix(x expr) expr {
	for {
		t := p.peek()
		switch {
		case p.op("."):
			if n := p.peek(); n.kind == intToken {
				x = indexExpr{t.line, x, p.primary()}
			} else {
				x = attrExpr{t.line, x, p.wantName()}
			}
		case p.op("["):
			x = p.subscript(t.line, x)
		case p.op("("):
			x = callExpr{t.line, x, p.args()}
		default:
			return x
		}
		defer p.deeper()()
	}
}

func (p *parser) subscript(line int, x expr) expr {
	var parts [3]expr
	n := 0
	for {
		if !p.is(opToken, ":") && !p.is(opToken, "]") {
			parts[n] = p.expr()
		}
		if n == 2 || !p.op(":") {
			break
		}
		n++
	}
	p.wantOp("]")
	switch {
	case n > 0:
		return sliceExpr{line, x, parts[0], parts[1], parts[2]}
	case parts[0] == nil:
		fail(line, "an empty subscript")
	}
	return indexExpr{line, x, parts[0]}
}

// args reads the arguments of a call, after its opening parenthesis.
func (p *parser) args() arguments {
	var a arguments
	for n := 0; !p.op(")"); n++ {
		if n > 0 {
			p.wantOp(",")
			if p.op(")") {
				break
			}
		}
		t := p.peek()
		if t.kind == nameToken && p.tokens[p.i+1].kind == opToken && p.tokens[p.i+1].text == "=" {
			p.i += 2
			a.names = append(a.names, t.text)
			a.named = append(a.named, p.expr())
			continue
		}
		if len(a.names) > 0 {
			p.unexpected("want a named argument")
		}
		a.list = append(a.list, p.expr())
	}
	return a
}

// filters reads filters and tests after x.
func (p *parser) filters(x expr) expr {
	for {
		switch line := p.peek().line; {
		case p.op("|"):
			x = filterExpr{x, p.filter()}
		case p.word("is"):
			x = p.test(line, x)
		case p.op("("):
			x = callExpr{line, x, p.args()}
		default:
			return x
		}
		defer p.deeper()()
	}
}

func (p *parser) filter() filterCall {
	c := filterCall{line: p.peek().line, name: p.wantName()}
	if c.f = filters[c.name]; c.f == nil {
		fail(c.line, "no filter %q", c.name)
	}
	if p.op("(") {
		c.args = p.args()
	}
	return c
}

// test reads a test after "is". Its one argument may stand without parentheses.
func (p *parser) test(line int, x expr) expr {
	t := testExpr{line: line, x: x, not: p.word("not")}
	t.name = p.wantName()
	if t.f = tests[t.name]; t.f == nil {
		fail(line, "no test %q", t.name)
	}
	next := p.peek()
	switch {
	case p.op("("):
		t.args = p.items(")")
	case next.kind == nameToken && !slices.Contains([]string{"else", "or", "and", "is", "if", "in", "not", "recursive"}, next.text),
		next.kind == stringToken, next.kind == intToken, next.kind == floatToken,
		next.kind == opToken && (next.text == "[" || next.text == "{"):
		t.args = []expr{p.postfix(p.primary())}
	}
	return t
}
