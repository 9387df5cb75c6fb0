package adapter

import (
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// resolve gives the deltas of an adapter that another program named the names of the base's modules: diffusers puts the
// model of a pipeline before them, and kohya's scripts have underscores for dots. A name that nothing in the base fits
// stays, for the check to report.
func (a *Adapter) resolve(m *checkpoint.Model, p *problems, where string) {
	if a.layout == nil {
		return
	}
	if len(a.Extras) > 0 {
		p.Add("%sholds %d tensors that change no weight, such as %s: trained tokens are not supported",
			where, len(a.Extras), fault.Quote(a.Extras[0]))
	}
	if a.layout.numbered {
		p.Add("%snumbers the modules that it changes instead of naming them, which is not supported", where)
		return
	}
	r := newResolver(m)
	owner := map[string]string{}
	for _, d := range a.Deltas {
		l := d.(*LowRank)
		name := r.find(l.Name)
		if first, twice := owner[name]; twice {
			p.Add("%s%s and %s are both for the base's %s", where, fault.Quote(first), fault.Quote(l.Name), fault.Quote(name))
			continue
		}
		owner[name], l.Name = l.Name, name
	}
	a.Deltas = a.sorted()
	a.describe()
	if !slices.ContainsFunc(a.Deltas, func(d Delta) bool { return !r.modules[d.Module()] }) {
		a.layout = nil // the names are the base's now
	}
}

// resolver finds modules of a base.
type resolver struct {
	modules map[string]bool
	flat    map[string][]string // by name with underscores for dots
}

func newResolver(m *checkpoint.Model) *resolver {
	r := &resolver{map[string]bool{}, map[string][]string{}}
	for _, name := range m.Names() {
		if module, ok := strings.CutSuffix(name, weightSuffix); ok {
			flat := strings.ReplaceAll(module, ".", "_")
			r.modules[module], r.flat[flat] = true, append(r.flat[flat], module)
		}
	}
	return r
}

// find returns the module that a name of another program stands for, or the name when there is none, or more than one.
func (r *resolver) find(name string) string {
	if r.modules[name] {
		return name
	}
	for _, c := range components {
		if rest, ok := strings.CutPrefix(name, c+"."); ok && r.modules[rest] {
			return rest
		}
	}
	for _, prefix := range kohyaPrefixes {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if found := r.unflatten(rest); found != "" {
				return found
			}
		}
	}
	return name
}

// unflatten returns the one module whose name with underscores is flat, or ends in _flat, "" when there is not just one.
func (r *resolver) unflatten(flat string) string {
	found := r.flat[flat]
	if len(found) == 0 {
		for full, modules := range r.flat {
			if strings.HasSuffix(full, "_"+flat) {
				found = slices.Concat(found, modules)
			}
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}
