package extract

import (
	"fmt"
	"strings"

	"shira/internal/fault"
)

// maxProblems bounds how many problems one error spells out; the others are counted.
const maxProblems = 8

// problems collects what keeps two models from being compared.
type problems struct {
	list []string
	n    int
}

func (p *problems) add(format string, args ...any) {
	if p.n++; p.n <= maxProblems {
		p.list = append(p.list, fmt.Sprintf(format, args...))
	}
}

// err returns nil when there was no problem, and otherwise one Incompatible error about path that says them all.
func (p *problems) err(path string) error {
	if p.n == 0 {
		return nil
	}
	msg := strings.Join(p.list, "; ")
	if more := p.n - len(p.list); more > 0 {
		msg += fmt.Sprintf("; and %d more", more)
	}
	return fault.New(fault.Incompatible, path, "is no tuned form of the base: %s", msg).
		WithHint("both must be checkpoints of one architecture, in the same types")
}
