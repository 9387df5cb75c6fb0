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

	given  []string // the unknown name of each of meant; "" where advice has it
	advice []string // what to do about keys of the peers, each with its name
}

// add reports a problem of a key, or with key "" of the place itself.
func (p *problems) add(origin Origin, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if key != "" {
		text = key + ": " + text
	}
	p.list = append(p.list, problem{origin, key, text})
}

// suggest notes what an unknown name may have been meant to be.
func (p *problems) suggest(name, meant string) {
	if !slices.Contains(p.meant, meant) && len(p.meant) < maxProblems {
		p.meant, p.given = append(p.meant, meant), append(p.given, name)
	}
}

// advise notes what to do about a key of the peers.
func (p *problems) advise(name string, f foreign) {
	if f.as != "" {
		p.suggest("", f.as)
	}
	if line := name + ": " + f.advice; !slices.Contains(p.advice, line) {
		p.advice = append(p.advice, line)
	}
}

// hint says what to do about unknown names, and about which where there are several.
func (p *problems) hint() string {
	var names []string
	for i, meant := range p.meant {
		name := fault.Quote(meant)
		if len(p.meant)+len(p.advice) > 1 {
			name += " for " + fault.Quote(p.given[i])
		}
		if p.given[i] != "" {
			names = append(names, name)
		}
	}
	text := strings.Join(p.advice, "; ")
	if len(names) > 0 {
		text = strings.TrimSuffix("did you mean "+strings.Join(names, ", ")+"? "+text, " ")
	}
	return text
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
	e.Hint = p.hint()
	return e
}
