package adapter

import "shira/internal/fault"

// problems are those of an adapter, and why the search for them could not go on, e.g. a read error.
type problems struct {
	fault.Problems
	failed error
}

// addErr adds an error about a thing of the given name. One of the environment is no problem of the adapter's and ends up
// as the error of the whole.
func (p *problems) addErr(name string, err error) {
	if fault.KindOf(err) == fault.Environment {
		p.failed = err
		return
	}
	p.Add("%s: %v", name, err)
}

// append adds the problems of q.
func (p *problems) append(q *problems) {
	p.Append(&q.Problems)
	if p.failed == nil {
		p.failed = q.failed
	}
}

// err returns nil when there was no problem, and otherwise one Incompatible error about path that says them all.
func (p *problems) err(path, summary string) error {
	if p.failed != nil {
		return p.failed
	}
	return p.Err(fault.Incompatible, path, summary)
}
