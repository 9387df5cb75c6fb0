// Package merge combines the changes that several adapters make to one weight, and adds the result to stored numbers.
//
// Each weight becomes W' = W + M(α₁, ΔW₁; α₂, ΔW₂; …), where M is a method of the table in this file, by default Σ αᵢ·ΔWᵢ.
// M works on the changes themselves, whatever their form: PEFT's functions of the same names, where it applies them to whole
// changes (its …_svd), not to the factors of LoRA one by one. It is formed in float64, over the adapters in an order that
// does not depend on how they were given, rounded to float32 and added to W in float32, and that is rounded once to the
// type in which W is stored. For a float64 weight all of it is in float64.
package merge

import (
	"slices"
	"strings"

	"shira/internal/fault"
)

// Method is one way to combine changes.
type Method struct {
	Name    string
	Aliases []string // of PEFT's add_weighted_adapter and of mergekit
	Doc     string   // one line
	Density bool     // takes a density below 1
	Sign    bool     // takes a majority sign method
	Random  bool     // takes a seed

	// prune makes what decides which entries of a change stay. nil: all do.
	prune func(t *Target, term *Term) (pruner, error)

	// combine returns the combination of what the terms have left at one entry, values[i] with weights[i]; terms that have
	// no such entry count as 0. nil: the sum of weights[i]·values[i].
	combine func(p *Params, values []float32, weights []float64) float64
}

// methods is the table. A conformance test ranges over it.
var methods = []*Method{&linear, &magnitude, &ties, &dare, &dareTies}

// Params are the parameters of all methods.
type Params struct {
	Density      float64 // share of the entries of each change that stay, above 0 and at most 1
	MajoritySign string  // Total or Frequency
	Seed         uint64  // of random choices
}

// DefaultParams returns the parameters of a method that is given none.
func DefaultParams() Params { return Params{Density: 1, MajoritySign: Total} }

// Methods returns the table.
func Methods() []*Method { return slices.Clone(methods) }

// Lookup returns the method of a name or an alias, in any spelling that differs by - for _. Another name is a Usage error
// that lists the methods.
func Lookup(name string) (*Method, error) {
	plain := strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	var names []string
	for _, m := range methods {
		if m.Name == plain || slices.Contains(m.Aliases, plain) {
			return m, nil
		}
		names = append(names, m.Name)
	}
	e := fault.New(fault.Usage, "", "no merge method is called %s: want %s", fault.Quote(name), strings.Join(names, ", "))
	switch first, ok := strings.CutSuffix(plain, "_svd"); {
	case ok && slices.Contains(names, first):
		e.Hint = "PEFT's " + plain + " is --method " + first + " --adapter-only --rank N"
	case plain == "svd":
		e.Hint = "PEFT's svd is --adapter-only --rank N"
	case plain == "cat":
		e.Hint = "PEFT's cat is --adapter-only: LoRA adapters are set side by side"
	}
	return nil, e
}

// Check says what is wrong with p for m, as a Usage error that names the flag or key.
func (m *Method) Check(p Params) error {
	switch {
	case !(p.Density > 0 && p.Density <= 1):
		return fault.New(fault.Usage, "", "density: want a share above 0 and at most 1, got %v", p.Density)
	case p.Density < 1 && !m.Density:
		return fault.New(fault.Usage, "", "density: method %s keeps every entry", m.Name).
			WithHint("%s take a density", strings.Join(withDensity(), ", "))
	case p.MajoritySign != Total && p.MajoritySign != Frequency:
		return fault.New(fault.Usage, "", "majority_sign_method: want %s or %s, got %s", Total, Frequency, fault.Quote(p.MajoritySign))
	case p.MajoritySign != Total && !m.Sign:
		return fault.New(fault.Usage, "", "majority_sign_method: method %s elects no signs", m.Name)
	case p.Seed != 0 && !m.Random:
		return fault.New(fault.Usage, "", "seed: method %s chooses nothing at random", m.Name)
	}
	return nil
}

func withDensity() []string {
	var names []string
	for _, m := range methods {
		if m.Density {
			names = append(names, m.Name)
		}
	}
	return names
}
