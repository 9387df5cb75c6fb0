package config

import (
	"math"
	"slices"

	"shira/internal/fault"
)

// The values of scope.
const (
	ScopeTensor = "tensor"
	ScopeGlobal = "global"
)

// DefaultCalibration is how many examples masks are calibrated on where the configuration does not say.
const DefaultCalibration = 32

// maskKeys are the keys that choose which entries train.
var maskKeys = []string{"mask", "r", "density", "target_modules", "scope", "axis", "offset", "exclude", "calibration_samples"}

// unusedByMask lists the keys that have no effect with a mask.
func unusedByMask(mask string) []string {
	var names []string
	if mask != "struct" {
		names = append(names, "axis")
	}
	if mask != "grad" && mask != "snip" {
		names = append(names, "calibration_samples")
	}
	return names
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
