package config

import (
	"maps"
	"math"
	"slices"
	"strings"

	"shira/internal/fault"
)

// The values of scope.
const (
	ScopeTensor = "tensor"
	ScopeGlobal = "global"
)

// DefaultCalibration is how many examples masks are calibrated on where the configuration does not say.
const DefaultCalibration = 32

// calibrates says whether a mask needs examples.
func calibrates(mask string) bool { return mask == "grad" || mask == "snip" }

// choosesMask checks that a run would choose a mask at all.
func (t *Train) choosesMask(add func(key, format string, args ...any), wrong func(key string) bool) {
	switch {
	case !wrong("method") && t.Method != "shira" && t.Method != "shira-dora":
		add("method", "%s trains without a mask", t.Method)
	case t.InitAdapter != "":
		add("init_adapter", "has the entries to train: there is no mask to choose")
	}
}

// DensityOf returns the density of a module.
func (t *Train) DensityOf(module string) float64 {
	density, longest := t.Density, 0
	for name, d := range t.DensityPattern {
		if len(name) > longest && MatchesModule(module, name) {
			density, longest = d, len(name)
		}
	}
	return density
}

// MatchesModule says whether name is that of the module, or its last components.
func MatchesModule(module, name string) bool {
	return module == name || strings.HasSuffix(module, "."+name)
}

// maskRelations checks the keys of the mask.
func (t *Train) maskRelations(add func(key, format string, args ...any), wrong func(key string) bool) {
	if t.InitAdapter != "" || wrong("mask") {
		return
	}
	scored := slices.Contains([]string{"wm", "grad", "snip"}, t.Mask)
	if t.Scope == ScopeGlobal && !scored && t.Mask != "" && !wrong("scope") {
		add("scope", "global ranks entries by a score, and mask %s has none: want wm, grad or snip", t.Mask)
	}
	switch {
	case t.Offset == 0 || wrong("offset"):
	case t.Density > 0 && t.Offset+t.Density > 1:
		add("offset", "and density are more than the whole: %g + %g", t.Offset, t.Density)
	case t.R > 0 && (t.Offset != math.Trunc(t.Offset) || t.Offset > maxCount):
		add("offset", "counts in ranks like r: want a whole number up to %d, got %g", maxCount, t.Offset)
	}
	if len(t.DensityPattern) > 0 && t.Density == 0 && !wrong("density") {
		add("density_pattern", "goes with density, which is for all other weights")
	}
	for _, name := range slices.Sorted(maps.Keys(t.DensityPattern)) {
		switch msg := share(t.DensityPattern[name]); {
		case name == "":
			add("density_pattern", "has an empty name")
		case msg != "":
			add("density_pattern", "%s: %s, got %g", fault.Quote(name), msg, t.DensityPattern[name])
		}
	}
	for i, path := range t.Exclude {
		switch {
		case path == "":
			add("exclude", "has an empty path")
		case slices.Contains(t.Exclude[:i], path):
			add("exclude", "has %s twice", fault.Quote(path))
		case t.OutputDir != "" && samePlace(t.OutputDir, path):
			add("output_dir", "is that of an adapter in exclude, which the run would overwrite")
		}
	}
}
