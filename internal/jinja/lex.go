package jinja

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is the kind of a token.
type kind int

const (
	textToken   kind = iota // between tags
	outputBegin             // {{
	outputEnd
	blockBegin // {%
	blockEnd
	nameToken
	stringToken
	intToken
	floatToken
	opToken
	endToken
)

type token struct {
	kind kind
	text string // of a string, its value
	line int
}

// lexer cuts a template into tokens.
type lexer struct {
	s      string
	i      int
	line   int
	tokens []token
}

func lex(source string) []token {
	l := &lexer{s: source, line: 1}
	trimNewline, trimAll := false, false // what the tag before asks for
	for l.i < len(l.s) {
		text, tag := l.s[l.i:], ""
		if at := nextTag(text); at >= 0 {
			text, tag = text[:at], text[at:at+2]
		}
		start := l.i
		l.i += len(text)
		shown, lineStart := text, start == 0
		if trimAll {
			shown = strings.TrimLeftFunc(shown, unicode.IsSpace)
			lineStart = lineStart || strings.Contains(text[:len(text)-len(shown)], "\n")
		} else if trimNewline && strings.HasPrefix(shown, "\n") {
			shown, lineStart = shown[1:], true
		}
		sign := byte(0)
		if tag != "" && l.i+2 < len(l.s) {
			sign = l.s[l.i+2]
		}
		switch {
		case sign == '-':
			shown = strings.TrimRightFunc(shown, unicode.IsSpace)
		case tag != "" && tag != "{{" && sign != '+':
			shown = stripIndent(shown, lineStart)
		}
		l.add(textToken, shown)
		l.count(text)
		if tag == "" {
			break
		}
		trimNewline, trimAll = l.tag(tag, sign)
	}
	l.add(endToken, "")
	return l.tokens
}

// nextTag returns where the next tag of any kind begins, or -1.
func nextTag(s string) int {
	for i := 0; ; i++ {
		at := strings.IndexByte(s[i:], '{')
		if at < 0 || i+at+1 >= len(s) {
			return -1
		}
		i += at
		switch s[i+1] {
		case '{', '%', '#':
			return i
		}
	}
}

// stripIndent removes the white space between the start of a line and the block tag that follows (lstrip_blocks).
func stripIndent(s string, lineStart bool) string {
	at := strings.LastIndexByte(s, '\n') + 1
	if (at > 0 || lineStart) && strings.TrimSpace(s[at:]) == "" {
		return s[:at]
	}
	return s
}

func (l *lexer) add(k kind, text string) {
	if k != textToken || text != "" {
		l.tokens = append(l.tokens, token{k, text, l.line})
	}
}

func (l *lexer) count(s string) { l.line += strings.Count(s, "\n") }

// tag reads a tag and what it holds, and says what it asks of the text after it: to lose its first newline, as after
// every block, or all its leading white space.
func (l *lexer) tag(tag string, sign byte) (trimNewline, trimAll bool) {
	l.i += 2
	if sign == '-' || sign == '+' {
		l.i++
	}
	if tag == "{#" {
		end := strings.Index(l.s[l.i:], "#}")
		if end < 0 {
			fail(l.line, "a comment does not end")
		}
		body := l.s[l.i : l.i+end]
		l.count(body)
		l.i += end + 2
		return !strings.HasSuffix(body, "+"), strings.HasSuffix(body, "-")
	}
	begin, end, closing := outputBegin, outputEnd, "}}"
	if tag == "{%" {
		begin, end, closing = blockBegin, blockEnd, "%}"
	}
	l.add(begin, "")
	first := len(l.tokens)
	for brackets := 0; ; {
		l.space()
		rest := l.s[l.i:]
		if rest == "" {
			fail(l.line, "a tag does not end")
		}
		if brackets == 0 {
			if sign := rest[0]; (sign == '-' || sign == '+' && tag == "{%") && strings.HasPrefix(rest[1:], closing) {
				l.i += 3
				l.add(end, "")
				return l.closed(first, tag, sign)
			}
			if strings.HasPrefix(rest, closing) {
				l.i += 2
				l.add(end, "")
				return l.closed(first, tag, 0)
			}
		}
		l.expr()
		if last := l.tokens[len(l.tokens)-1]; last.kind == opToken {
			switch last.text {
			case "(", "[", "{":
				brackets++
			case ")", "]", "}":
				brackets = max(0, brackets-1)
			}
		}
	}
}

// closed ends a tag whose tokens start at first; the text of a raw block follows as it is.
func (l *lexer) closed(first int, tag string, sign byte) (trimNewline, trimAll bool) {
	if tag == "{%" && len(l.tokens) == first+2 && l.tokens[first].kind == nameToken && l.tokens[first].text == "raw" {
		return l.raw(sign)
	}
	return tag == "{%" && sign != '+', sign == '-'
}

// raw reads the text up to the endraw tag.
func (l *lexer) raw(sign byte) (trimNewline, trimAll bool) {
	l.tokens = l.tokens[:len(l.tokens)-3]
	for at := l.i; ; at += 2 {
		open := strings.Index(l.s[at:], "{%")
		if open < 0 {
			fail(l.line, "a raw block does not end")
		}
		at += open
		tag := l.s[at+2:]
		inner, _, ok := strings.Cut(tag, "%}")
		if name := strings.TrimSpace(strings.Trim(inner, "-+")); !ok || name != "endraw" {
			continue
		}
		text := l.s[l.i:at]
		shown := text
		if sign == '-' {
			shown = strings.TrimLeftFunc(shown, unicode.IsSpace)
		} else if sign != '+' {
			shown = strings.TrimPrefix(shown, "\n")
		}
		if strings.HasPrefix(inner, "-") {
			shown = strings.TrimRightFunc(shown, unicode.IsSpace)
		}
		l.add(textToken, shown)
		l.count(text)
		l.i = at + 2 + len(inner) + 2
		return !strings.HasSuffix(inner, "+"), strings.HasSuffix(inner, "-")
	}
}

func (l *lexer) space() {
	for l.i < len(l.s) {
		r, size := utf8.DecodeRuneInString(l.s[l.i:])
		if !unicode.IsSpace(r) {
			return
		}
		if r == '\n' {
			l.line++
		}
		l.i += size
	}
}

// operators, those of two characters first.
var operators = []string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ".", ",", ":", "|", ";"}

// expr reads one token of an expression.
func (l *lexer) expr() {
	rest := l.s[l.i:]
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '\'' || r == '"':
		l.string(byte(r))
	case '0' <= r && r <= '9':
		l.number()
	case r == '_' || unicode.IsLetter(r):
		end := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if end < 0 {
			end = len(rest)
		}
		l.add(nameToken, rest[:end])
		l.i += end
	default:
		for _, op := range operators {
			if strings.HasPrefix(rest, op) {
				l.add(opToken, op)
				l.i += len(op)
				return
			}
		}
		fail(l.line, "unexpected %q", r)
	}
}

func (l *lexer) number() {
	rest := l.s[l.i:]
	digits := func(i int) int {
		for i < len(rest) && ('0' <= rest[i] && rest[i] <= '9' || rest[i] == '_') {
			i++
		}
		return i
	}
	end, k := digits(0), intToken
	if end+1 < len(rest) && rest[end] == '.' && '0' <= rest[end+1] && rest[end+1] <= '9' {
		end, k = digits(end+1), floatToken
	}
	if end < len(rest) && (rest[end] == 'e' || rest[end] == 'E') {
		exp := end + 1
		if exp < len(rest) && (rest[exp] == '+' || rest[exp] == '-') {
			exp++
		}
		if to := digits(exp); to > exp {
			end, k = to, floatToken
		}
	}
	l.add(k, strings.ReplaceAll(rest[:end], "_", ""))
	l.i += end
}

// string reads a string with Python's escapes.
func (l *lexer) string(quote byte) {
	line := l.line
	l.i++
	var b strings.Builder
	for {
		if l.i >= len(l.s) {
			fail(line, "a string does not end")
		}
		c := l.s[l.i]
		l.i++
		switch {
		case c == quote:
			l.tokens = append(l.tokens, token{stringToken, b.String(), line})
			return
		case c == '\\' && l.i < len(l.s):
			l.escape(&b)
		default:
			if c == '\n' {
				l.line++
			}
			b.WriteByte(c)
		}
	}
}

var plainEscapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'b': "\b", 'f': "\f", 'a': "\a", 'v': "\v", '0': "\x00",
	'\\': "\\", '\'': "'", '"': "\"", '\n': ""}

var hexEscapes = map[byte]int{'x': 2, 'u': 4, 'U': 8}

func (l *lexer) escape(b *strings.Builder) {
	c := l.s[l.i]
	l.i++
	if n := hexEscapes[c]; n > 0 {
		if l.i+n <= len(l.s) {
			if v, err := strconv.ParseUint(l.s[l.i:l.i+n], 16, 32); err == nil {
				b.WriteRune(rune(v))
				l.i += n
				return
			}
		}
		fail(l.line, `\%c needs %d hexadecimal digits`, c, n)
	}
	if c == '\n' {
		l.line++
	}
	if s, ok := plainEscapes[c]; ok {
		b.WriteString(s)
		return
	}
	b.WriteByte('\\')
	b.WriteByte(c)
}
