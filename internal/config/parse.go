package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"shira/internal/fault"
)

// Layer is where a value comes from. A higher one wins.
type Layer int

// The layers.
const (
	Default Layer = iota
	File
	Environment
	Flag // --set
)

// Origin is the place a value comes from.
type Origin struct {
	Layer Layer
	Path  string // of the file
	Line  int    // in the file, from 1
	Name  string // as it is spelled there: the key or an alias of it, or the environment variable
	Flag  string // of the command line that stands for the key; "" for --set
}

// String names the place: "run.yaml:3", "SHIRA_SEED", "--set" or "default".
func (o Origin) String() string {
	switch o.Layer {
	case File:
		return o.Path + ":" + strconv.Itoa(o.Line)
	case Environment:
		return o.Name
	case Flag:
		return cmp.Or(o.Flag, "--set")
	}
	return "default"
}

// Override gives a key a value in place of the file's.
type Override struct {
	Layer Layer  // Environment or Flag
	Name  string // the key or an alias of it; for Environment the variable
	Value string // as it would stand in the file; a list also without brackets
	Flag  string // the flag that gave it; "" for --set
}

// Resolved is a complete, checked configuration.
type Resolved struct {
	Train
	Notices []string // what the user should know, one line each

	origins map[string]Origin // by key
}

// Parse reads the YAML of the file at path, puts overrides in its place and defaults where nothing is given, and checks
// the whole. Of several overrides of one key and layer the last wins.
//
// What is wrong is one Usage error with every problem and its place: unknown and repeated keys, values of the wrong type
// or out of bounds, and keys that contradict each other.
func Parse(path string, data []byte, overrides ...Override) (*Resolved, error) {
	return ParseFor(ForTraining, path, data, overrides...)
}

// Purpose is what a configuration is read for, which decides what it must have.
type Purpose int

// The purposes.
const (
	ForTraining Purpose = iota
	ForMask             // of a run, without training
	ForData             // of a run, only read
)

// ParseFor is Parse for a purpose. Without a path there is no file.
func ParseFor(purpose Purpose, path string, data []byte, overrides ...Override) (*Resolved, error) {
	r := &resolver{path: path, purpose: purpose, given: map[string]given{}}
	if path != "" {
		if err := r.file(data); err != nil {
			return nil, err
		}
	}
	for _, o := range overrides {
		r.override(o)
	}
	return r.resolve()
}

// given is a value as the user wrote it.
type given struct {
	scalar
	origin Origin
}

type resolver struct {
	path    string
	purpose Purpose
	problems
	notices []string
	given   map[string]given // by key
}

// override notes a value that beats those of lower layers.
func (r *resolver) override(o Override) {
	origin := Origin{Layer: o.Layer, Name: o.Name, Flag: o.Flag}
	name := o.Name
	if o.Layer == Environment {
		name = strings.ToLower(strings.TrimPrefix(name, EnvPrefix+"_"))
	}
	name, value := r.translate(name, textScalar(o.Value), origin)
	if name == "" {
		return
	}
	k := r.known(name, origin)
	if k == nil {
		return
	}
	if before, ok := r.given[k.Name]; !ok || before.origin.Layer <= o.Layer {
		r.given[k.Name] = given{value, origin}
	}
}

// known returns the key of that name, or reports that there is none. An alias gets a notice.
func (r *resolver) known(name string, at Origin) *Key {
	k := lookup(name)
	if k == nil {
		r.unknown(name, at)
		return nil
	}
	if name != k.Name {
		r.notices = append(r.notices, fmt.Sprintf("%s: %s is read as %s", at, name, k.Name))
	}
	return k
}

// resolve decodes what was given over the defaults, and checks it.
func (r *resolver) resolve() (*Resolved, error) {
	t, err := defaults()
	if err != nil {
		return nil, err
	}
	out := &Resolved{Train: t, origins: map[string]Origin{}}
	for i := range keys {
		k := &keys[i]
		g, ok := r.given[k.Name]
		if !ok || g.null {
			continue
		}
		out.origins[k.Name] = g.origin
		if msg := k.decode(&out.Train, g.scalar); msg != "" {
			r.add(g.origin, k.Name, "%s", msg)
		} else if msg := k.wrong(&out.Train); msg != "" {
			r.add(g.origin, k.Name, "%s", msg)
		}
	}
	r.settleExclusive(out)
	r.unused(out)
	out.relations(r.purpose, &r.problems, r.wrong, func(key string) Origin { return out.origins[key] })
	if err := r.err(r.path); err != nil {
		return nil, err
	}
	out.finish()
	out.Notices = r.notices
	return out, nil
}

// settleExclusive unsets the loser of each exclusive pair: that of the lower layer. Within one layer it is a problem.
func (r *resolver) settleExclusive(out *Resolved) {
	for _, pair := range exclusive {
		a, b := lookup(pair[0]), lookup(pair[1])
		if a.unset(&out.Train) || b.unset(&out.Train) || out.both(pair) {
			continue
		}
		oa, ob := out.origins[a.Name], out.origins[b.Name]
		switch {
		case oa.Layer == ob.Layer:
			r.add(oa, a.Name, "give it or %s, not both", b.Name)
		case oa.Layer < ob.Layer:
			clearKey(a, out)
		default:
			clearKey(b, out)
		}
	}
}

// clearKey makes a key as if it were not given and had no default.
func clearKey(k *Key, out *Resolved) {
	switch v := k.field(&out.Train).(type) {
	case *int:
		*v = 0
	case **int:
		*v = nil
	case *float64:
		*v = 0
	case *string:
		*v = ""
	case *[]string:
		*v = nil
	case *[]int:
		*v = nil
	case *map[string]string:
		*v = nil
	case *map[string]float64:
		*v = nil
	}
	delete(out.origins, k.Name)
}

// wrong says whether a key has a problem already, so that its value says nothing, or is what an unknown name meant.
func (r *resolver) wrong(key string) bool {
	meant := func(name string) bool { return lookup(name).Name == key }
	return r.has(key) || slices.ContainsFunc(r.meant, meant)
}

// unused reports keys that were given but have no effect, and notes what has less than it seems.
func (r *resolver) unused(out *Resolved) {
	for _, name := range unusedBy(out.Method) {
		if o, ok := out.origins[name]; ok {
			r.add(o, name, "has no effect with method %s", out.Method)
		}
	}
	if !r.has("mask") && !r.has("direction") && !r.has("gate") {
		for _, w := range out.unusedWithin() {
			if o, ok := out.origins[w.key]; ok {
				r.add(o, w.key, "has no effect with %s", w.because)
			}
		}
	}
	if o, ok := out.origins["use_dora"]; ok && !out.UseDoRA && out.Method == "dora" {
		r.add(o, "use_dora", "is false, but method is dora")
	}
	if o, ok := out.origins["use_rslora"]; ok && !out.UseRSLoRA && out.Method == "rslora" {
		r.add(o, "use_rslora", "is false, but method is rslora")
	}
	if at, ok := out.origins["warmup_steps"]; ok && out.MaxSteps > 0 && out.WarmupSteps >= out.MaxSteps {
		r.notices = append(r.notices, fmt.Sprintf("%s: warmup_steps are %d of max_steps %d: learning_rate is never reached",
			at, out.WarmupSteps, out.MaxSteps))
	}
	if out.InitAdapter == "" {
		return
	}
	var names []string
	for _, name := range append(slices.Clone(fromAdapter), "calibration_samples") {
		if _, ok := out.origins[name]; ok && out.FromAdapter(name) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		r.notices = append(r.notices, fmt.Sprintf("%s: trains what init_adapter has; no effect beside it: %s",
			out.origins["init_adapter"], strings.Join(names, ", ")))
	}
}

// finish fills in what depends on other keys.
func (r *Resolved) finish() {
	r.MaxSteps = max(0, r.MaxSteps)
	if r.Method == "lora" && r.UseRSLoRA {
		r.Method = "rslora"
	}
	if r.Method == "rslora" && r.UseDoRA || r.Method == "lora" && r.UseDoRA {
		r.Method, r.UseRSLoRA = "dora", r.UseRSLoRA || r.Method == "rslora"
	}
	for _, name := range unusedBy(r.Method) {
		clearKey(lookup(name), r)
	}
	if _, ok := r.origins["learning_rate"]; !ok {
		r.LearningRate = methodOf(r.Method).learningRate
	}
}

// Defaults returns the configuration of an empty file, which lacks what has no default.
func Defaults() Train {
	t, _ := defaults() // TestDefaults shows that there is no error
	t.LearningRate = methods[0].learningRate
	return t
}

func defaults() (Train, error) {
	var t Train
	for i := range keys {
		k := &keys[i]
		if k.Default == "" {
			continue
		}
		if msg := k.decode(&t, textScalar(k.Default)); msg != "" {
			return t, fault.New(fault.Internal, "", "default of %s: %s", k.Name, msg)
		}
	}
	return t, nil
}

// Setting is one key's resolved value.
type Setting struct {
	Key    Key
	Value  any // string, int, uint64, float64, bool or []string; nil = not given, and no default
	Origin Origin
}

// Settings returns the value of every key, in the order of the table.
func (r *Resolved) Settings() []Setting {
	all := make([]Setting, len(keys))
	for i := range keys {
		k := &keys[i]
		all[i] = Setting{Key: *k, Value: k.value(&r.Train), Origin: r.origins[k.Name]}
	}
	return all
}
