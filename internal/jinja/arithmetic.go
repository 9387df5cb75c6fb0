package jinja

import (
	"math"
	"slices"
	"strings"
)

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
