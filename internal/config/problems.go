package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"shira/internal/fault"
)

// maxProblems is how many problems one error names; the rest is counted.
const maxProblems = 20

// problem is one thing that is wrong.
type problem struct {
	origin Origin
	key    string // or an alias of it; "" when it is about none
	text   string
}

// problems collects what is wrong with a configuration, for a single error.
type problems struct {
	list  []problem
	meant []string // what unknown names may have been meant to be
}

// add reports a problem of a key, or with key "" of the place itself.
func (p *problems) add(origin Origin, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if key != "" {
		text = key + ": " + text
	}
	p.list = append(p.list, problem{origin, key, text})
}

func (p *problems) suggest(name string) {
	if !slices.Contains(p.meant, name) && len(p.meant) < maxProblems {
		p.meant = append(p.meant, name)
	}
}

// has says whether there is a problem of the key.
func (p *problems) has(key string) bool {
	return slices.ContainsFunc(p.list, func(q problem) bool {
		if q.key == "" {
			return false
		}
		k := lookup(q.key)
		return k != nil && k.Name == key
	})
}

// err returns nil without problems. The first one's place is the error's path; those of no place concern the file.
func (p *problems) err(path string) error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.origin.Layer, b.origin.Layer), cmp.Compare(a.origin.Line, b.origin.Line))
	})
	var texts []string
	for i, q := range p.list {
		if i == maxProblems {
			texts = append(texts, fmt.Sprintf("and %d more", len(p.list)-i))
			break
		}
		if i > 0 && q.origin.Layer != Default {
			q.text = q.origin.String() + ": " + q.text
		}
		texts = append(texts, q.text)
	}
	if first := p.list[0].origin; first.Layer != Default {
		path = first.String()
	}
	e := fault.New(fault.Usage, path, "%s", strings.Join(texts, "; "))
	if len(p.meant) > 0 {
		names := make([]string, len(p.meant))
		for i, name := range p.meant {
			names[i] = fault.Quote(name)
		}
		e.Hint = "did you mean " + strings.Join(names, ", ") + "?"
	}
	return e
}
