package fuse

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"shira/internal/fault"
	"shira/internal/merge"
)

func TestRecipe(t *testing.T) {
	want := &Recipe{
		Base: "b", Method: "dare_ties", Params: merge.Params{Density: 0.25, MajoritySign: merge.Frequency, Seed: 3},
		Adapters: []Source{
			{Path: "x", Weight: 1},
			{Path: "y", Weight: 0, Rules: []Rule{{"self_attn", 0.5}, {"model.layers.1*", -2}}},
		},
		given: []string{"method", "density", "majority_sign_method", "seed"},
	}
	const text = `
base_model: b
merge_method: dare_ties
density: 0.25
majority_sign_method: frequency
seed: 3
adapters:
  - model: x
  - path: y
    weight: [{filter: self_attn, value: 0.5}, {filter: "model.layers.1*", value: -2}]
`
	r, err := ReadRecipe("f.yaml", []byte(text))
	must(t, err)
	if !reflect.DeepEqual(r, want) {
		t.Errorf("read %+v, want %+v", r, want)
	}
	var b bytes.Buffer
	must(t, r.Write(&b))
	again, err := ReadRecipe("f.yaml", b.Bytes())
	must(t, err)
	if !reflect.DeepEqual(again, want) {
		t.Errorf("written and read again: %+v, want %+v\n%s", again, want, b.String())
	}
	for name, weight := range map[string]float64{"model.layers.0.self_attn.q": 0.5, "model.layers.12.mlp": -2, "lm_head": 0, "model.layers.2.mlp": 0} {
		if got := r.Adapters[1].weightOf(name); got != weight {
			t.Errorf("%s has the weight %v, want %v", name, got, weight)
		}
	}
}

func TestRecipeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "is empty",
		"a: [":                                 "line 1",
		"[]":                                   "f:1: want keys and values",
		"base: b":                              "f:1: adapters: want at least one",
		"adapters: x":                          "f:1: adapters: want a list",
		"adapters: [{weight: 1}]":              "f:1: an adapter needs a path",
		"adapters: [{path: a}]\ndensty: 1":     "f:2: unknown key \"densty\": did you mean density?",
		"adapters: [{path: a}]\nseed: -1":      "f:2: want a whole number",
		"adapters: [{path: a, weight: .nan}]":  "f:1: want a number",
		"adapters: [{path: a, weight: 1e-60}]": "f:1: want a number that float32 can hold",
		"adapters: [{path: a, path: b}]":       "f:1",
		"method: a\nmerge_method: b":           "f:2: method is given twice",
		"adapters: [{path: a, weight: [{value: 1}, {filter: q, value: 2}]}]": "f:1: a value without a filter is for all weights that are left",
		"adapters: [{path: a, weight: [{filter: '[*', value: 2}]}]":          "f:1: filter \"[*\" is no pattern",
	} {
		_, err := ReadRecipe("f", []byte(text))
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzReadRecipe(f *testing.F) {
	f.Add([]byte("base: b\nadapters:\n  - {path: a, weight: [{filter: q, value: 1}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadRecipe("f", data)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("%v", err)
			}
			return
		}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
	})
}
