package config

import (
	"cmp"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"shira/internal/fault"
)

// method is a value of the key method.
type method struct {
	name         string
	learningRate float64 // default, since it depends on how much a step changes
	masked       bool    // trains entries that a mask chooses
	factors      bool    // trains two factors of low rank
}

// methods: 5e-4 is what the SHiRA paper trains language models with, 2e-4 is its rate for LoRA and DoRA, 5e-5 what Hugging
// Face's Trainer starts from.
var methods = []method{
	{"shira", 5e-4, true, false},
	{"lora", 2e-4, false, true},
	{"rslora", 2e-4, false, true},
	{"dora", 2e-4, false, true},
	{"shira-dora", 5e-4, true, true},
	{"foura", 2e-4, false, true},
	{"full", 5e-5, false, false},
}

// MethodNames returns the values of the key method.
func MethodNames() []string {
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = m.name
	}
	return names
}

// methodOf returns the method of that name; one that does not exist has no keys.
func methodOf(name string) method {
	for _, m := range methods {
		if m.name == name {
			return m
		}
	}
	return method{}
}

// keysOfMethods lists the keys that not all methods have.
var keysOfMethods = []struct {
	has  func(m method) bool
	keys []string
}{
	{func(m method) bool { return m.masked || m.factors }, []string{"init_adapter", "r", "target_modules", "modules_to_save", "layers_to_transform"}},
	{func(m method) bool { return m.masked }, []string{"mask", "density", "density_pattern", "scope", "axis", "offset", "exclude"}},
	{func(m method) bool { return m.masked || m.name == "foura" }, []string{"calibration_samples"}},
	{func(m method) bool { return m.factors }, []string{"lora_alpha", "rank_pattern", "alpha_pattern", "loraplus_lr_ratio"}},
	{func(m method) bool { return m.factors && !m.masked }, []string{"lora_dropout"}},
	{func(m method) bool { return slices.Contains([]string{"lora", "rslora", "dora"}, m.name) }, []string{"use_rslora", "use_dora"}},
	{func(m method) bool { return m.name == "shira-dora" }, []string{"direction"}},
	{func(m method) bool { return m.name == "foura" }, []string{"transform", "gate", "gate_hidden", "gate_temperature"}},
}

// unusedBy lists the keys that have no effect with a method.
func unusedBy(name string) []string {
	m := methodOf(name)
	if m.name == "" {
		return nil
	}
	var names []string
	for _, k := range keysOfMethods {
		if !k.has(m) {
			names = append(names, k.keys...)
		}
	}
	return names
}

// fromAdapter lists the keys whose values init_adapter has.
var fromAdapter = []string{
	"mask", "r", "density", "density_pattern", "target_modules", "modules_to_save", "layers_to_transform", "scope", "axis", "offset", "exclude", "lora_alpha", "rank_pattern",
	"alpha_pattern", "use_rslora", "direction", "transform", "gate_hidden", "gate_temperature",
}

// FromAdapter says whether init_adapter has what the key would choose, so that its value has no effect.
func (t *Train) FromAdapter(key string) bool {
	return t.InitAdapter != "" && (slices.Contains(fromAdapter, key) || key == "calibration_samples" && t.UsesMask())
}

// without is a key that has no effect with a value of another, both of one method.
type without struct{ key, because string }

// unusedWithin lists the keys that have no effect with the values of others.
func (t *Train) unusedWithin() []without {
	var list []without
	m := methodOf(t.Method)
	if m.masked && t.InitAdapter == "" {
		if t.Mask != "struct" {
			list = append(list, without{"axis", "mask " + t.Mask})
		}
		if !calibrates(t.Mask) {
			list = append(list, without{"calibration_samples", "mask " + t.Mask})
		}
	}
	if m.name == "shira-dora" && t.Direction == DirectionSparse {
		for _, key := range []string{"lora_alpha", "rank_pattern", "alpha_pattern", "loraplus_lr_ratio"} {
			list = append(list, without{key, "direction " + t.Direction})
		}
	}
	if m.name == "foura" {
		gate := cmp.Or(t.Gate, GateSoft)
		if gate == GateNone {
			list = append(list, without{"gate_hidden", "gate none"}, without{"gate_temperature", "gate none"})
		}
		if gate != GateFrozen {
			list = append(list, without{"calibration_samples", "gate " + gate})
		}
	}
	return list
}

// The values of direction, transform and gate.
const (
	DirectionLowRank = "low_rank"
	DirectionSparse  = "sparse"

	TransformDCT  = "dct"
	TransformDFT  = "dft"
	TransformNone = "none"

	GateNone   = "none"
	GateSoft   = "soft"
	GateHard   = "hard"
	GateFrozen = "frozen"
)

// DefaultTemperature is the gate's where the configuration does not say.
const DefaultTemperature = 0.1

// AllLinear is the target that stands for every linear layer of the blocks.
const AllLinear = "all-linear"

// defaultRank is PEFT's.
const defaultRank = 8

// Rank is the rank of methods with factors, where rank_pattern says nothing else.
func (t *Train) Rank() int {
	if t.R == 0 {
		return defaultRank
	}
	return t.R
}

// Alpha is lora_alpha, where alpha_pattern says nothing else: twice the rank where it is not given.
func (t *Train) Alpha() float64 {
	if t.LoraAlpha == 0 {
		return float64(2 * t.Rank())
	}
	return t.LoraAlpha
}

// UsesMask says whether a mask chooses what is trained.
func (t *Train) UsesMask() bool { return methodOf(t.Method).masked }

// UsesFactors says whether two factors of low rank are trained.
func (t *Train) UsesFactors() bool {
	return methodOf(t.Method).factors && !(t.Method == "shira-dora" && t.Direction == DirectionSparse)
}

// both says whether both keys of an exclusive pair count, one for the rank and one for the mask.
func (t *Train) both(pair [2]string) bool {
	return pair == [2]string{"r", "density"} && t.UsesMask() && t.UsesFactors()
}

// IsPattern says whether a target is a regular expression for whole names, and not a name or the end of one.
func IsPattern(target string) bool { return strings.ContainsAny(target, `\^$*+?()[]{}|`) }

// methodRelations checks the keys of the method.
func (t *Train) methodRelations(add func(key, format string, args ...any), wrong func(key string) bool) {
	if wrong("method") {
		return
	}
	m := methodOf(t.Method)
	if t.InitAdapter == "" && (m.masked || m.factors) && !wrong("init_adapter") {
		if !t.UsesFactors() && t.R == 0 && t.Density == 0 && !wrong("r") && !wrong("density") {
			add("r", "give r or density: how many entries of each weight to train")
		}
		if len(t.TargetModules) == 0 && !wrong("target_modules") {
			add("target_modules", "is empty")
		}
	}
	for i, target := range t.TargetModules {
		switch {
		case target == "":
			add("target_modules", "has an empty name")
		case slices.Contains(t.TargetModules[:i], target):
			add("target_modules", "has %s twice", fault.Quote(target))
		case target == AllLinear && len(t.TargetModules) > 1:
			add("target_modules", "%s stands alone", AllLinear)
		case IsPattern(target):
			if _, err := regexp.Compile(target); err != nil {
				add("target_modules", "%s is no regular expression (of Go's kind): %v", fault.Quote(target), err)
			}
		}
	}
	for _, p := range []struct {
		key     string
		pattern map[string]float64
		whole   bool
	}{{"rank_pattern", t.RankPattern, true}, {"alpha_pattern", t.AlphaPattern, false}} {
		for _, name := range slices.Sorted(maps.Keys(p.pattern)) {
			v := p.pattern[name]
			if p.whole && (v < 1 || v > maxCount || v != math.Trunc(v)) {
				add(p.key, "%s: want a whole number from 1 to %d, got %g", fault.Quote(name), maxCount, v)
			}
			if _, err := regexp.Compile(name); err != nil {
				add(p.key, "%s is no regular expression (of Go's kind): %v", fault.Quote(name), err)
			}
		}
	}
}
