package adapter

import (
	"fmt"
	"strings"

	"shira/internal/fault"
)

// maxProblems bounds how many problems one error spells out; the others are counted.
const maxProblems = 8

// problems collects everything that is wrong, so that one error can say it all.
type problems struct {
	list []string
	n    int
	hint string // of the first problem that has one

	failed error // why the search itself could not go on, e.g. a read error
}

func (p *problems) add(format string, args ...any) {
	if p.n++; p.n <= maxProblems {
		p.list = append(p.list, fmt.Sprintf(format, args...))
	}
}

// addErr adds an error about a thing of the given name. One of the environment is no problem of the adapter's and ends up
// as the error of the whole.
func (p *problems) addErr(name string, err error) {
	if fault.KindOf(err) == fault.Environment {
		p.failed = err
		return
	}
	p.add("%s: %v", name, err)
}

// suggest sets the hint unless there is one.
func (p *problems) suggest(format string, args ...any) {
	if p.hint == "" {
		p.hint = fmt.Sprintf(format, args...)
	}
}

// err returns nil when there was no problem, and otherwise one Incompatible error about path that says them all.
func (p *problems) err(path, summary string) error {
	if p.failed != nil || p.n == 0 {
		return p.failed
	}
	msg := strings.Join(p.list, "; ")
	if more := p.n - len(p.list); more > 0 {
		msg += fmt.Sprintf("; and %d more", more)
	}
	e := fault.New(fault.Incompatible, path, "%s: %s", summary, msg)
	e.Hint = p.hint
	return e
}
