package config

import (
	"strings"
	"testing"

	"shira/internal/fault"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{minimal + "r: 2", "r: &a [*a]", "? [a]\n: b", "a: {b: [c, d]}", "<<: *x", "\t", "---\n---", "!!binary x: y", "r: !!float 1"} {
		f.Add([]byte(s), "seed=3")
	}
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		name, value, _ := strings.Cut(set, "=")
		r, err := Parse("run.yaml", data, Override{Layer: Flag, Name: name, Value: value})
		if err != nil {
			if strings.ContainsAny(fault.Quote(err.Error()), "\n\x1b") {
				t.Errorf("unfit for a terminal: %q", err)
			}
			return
		}
		if err := r.Validate(); err != nil {
			t.Errorf("accepted, but not valid: %v", err)
		}
	})
}
