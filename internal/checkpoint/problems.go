package checkpoint

import (
	"fmt"
	"strings"

	"shira/internal/fault"
)

// maxProblems is how many problems one error names; the rest is counted.
const maxProblems = 5

// problems collects what is wrong with one file, for a single error.
type problems struct {
	list []string
	n    int
}

func (p *problems) addf(format string, args ...any) {
	if p.n++; p.n <= maxProblems {
		p.list = append(p.list, fmt.Sprintf(format, args...))
	}
}

// err returns nil without problems.
func (p *problems) err(kind fault.Kind, path string) error {
	if p.n == 0 {
		return nil
	}
	msg := strings.Join(p.list, "; ")
	if more := p.n - len(p.list); more > 0 {
		msg += fmt.Sprintf("; and %d more", more)
	}
	return fault.New(kind, path, "%s", msg)
}
