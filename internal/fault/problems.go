package fault

import (
	"fmt"
	"strings"
)

// maxProblems bounds how many problems one error spells out; the others are counted.
const maxProblems = 8

// Problems collects everything that is wrong with a thing, so that one error can say it all.
type Problems struct {
	list []string
	n    int
	hint string // of the first problem that has one
}

// Add adds a problem.
func (p *Problems) Add(format string, args ...any) {
	if p.n++; p.n <= maxProblems {
		p.list = append(p.list, fmt.Sprintf(format, args...))
	}
}

// Append adds the problems of q.
func (p *Problems) Append(q *Problems) {
	p.list = append(p.list, q.list[:min(len(q.list), max(0, maxProblems-p.n))]...)
	p.n += q.n
	if p.hint == "" {
		p.hint = q.hint
	}
}

// Full says that there are more than are spelled out, so that it is of no use to look closer at another.
func (p *Problems) Full() bool { return p.n > maxProblems }

// Suggest sets the hint unless there is one.
func (p *Problems) Suggest(format string, args ...any) {
	if p.hint == "" {
		p.hint = fmt.Sprintf(format, args...)
	}
}

// Hinted says whether there is a hint.
func (p *Problems) Hinted() bool { return p.hint != "" }

// Err returns nil when there was no problem, and otherwise one error of a kind about path, "<summary>: " (where that is not "") and
// all of them.
func (p *Problems) Err(kind Kind, path, summary string) error {
	if p.n == 0 {
		return nil
	}
	msg := strings.Join(p.list, "; ")
	if summary != "" {
		msg = summary + ": " + msg
	}
	if more := p.n - len(p.list); more > 0 {
		msg += fmt.Sprintf("; and %d more", more)
	}
	e := New(kind, path, "%s", msg)
	e.Hint = p.hint
	return e
}
