package fuse

import (
	"path/filepath"
	"strings"

	"shira/internal/adapter"
)

// Source is an adapter to fuse and how strongly.
type Source struct {
	Path   string
	Weight float64 // of every weight of the base that no rule is for; 0 = not at all
	Rules  []Rule  // the first whose filter matches counts
}

// Rule is the strength for some weights of the base.
type Rule struct {
	Filter string // a part of the weight's name, or a pattern of all of it where it holds a *
	Weight float64
}

// Sources returns adapters as they are named on the command line.
func Sources(refs []adapter.Ref) []Source {
	list := make([]Source, len(refs))
	for i, r := range refs {
		list[i] = Source{Path: r.Path, Weight: r.Weight}
	}
	return list
}

// weightOf returns the strength for the base's weight of that name.
func (s *Source) weightOf(name string) float64 {
	for _, r := range s.Rules {
		if r.matches(name) {
			return r.Weight
		}
	}
	return s.Weight
}

func (r *Rule) matches(name string) bool {
	if strings.Contains(r.Filter, "*") {
		ok, _ := filepath.Match(r.Filter, name) // checked when it was read; names hold no separators
		return ok
	}
	return strings.Contains(name, r.Filter)
}
