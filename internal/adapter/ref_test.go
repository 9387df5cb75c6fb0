package adapter

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shira/internal/fault"
)

func TestParseRef(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"exists@0.5", "v@2"} {
		must(t, os.WriteFile(name, nil, 0o600))
	}
	must(t, os.MkdirAll(filepath.Join("run@home"), 0o755))
	good := []struct {
		text string
		want Ref
		back string
	}{
		{"a.st", Ref{"a.st", 1}, "a.st"},
		{"a.st@0.5", Ref{"a.st", 0.5}, "a.st@0.5"},
		{"a.st@-2", Ref{"a.st", -2}, "a.st@-2"},
		{"a.st@0", Ref{"a.st", 0}, "a.st@0"},
		{"a.st@1", Ref{"a.st", 1}, "a.st"},
		{"a.st@1e-3", Ref{"a.st", 0.001}, "a.st@0.001"},
		{"dir/a@b/c@0.25", Ref{"dir/a@b/c", 0.25}, "dir/a@b/c@0.25"},
		{"exists@0.5", Ref{"exists@0.5", 1}, "exists@0.5"},
		{"v@2@0.5", Ref{"v@2", 0.5}, "v@2@0.5"},
		{"run@home", Ref{"run@home", 1}, "run@home"},
	}
	for _, c := range good {
		got, err := ParseRef(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseRef(%q) = %v, %v, want %v", c.text, got, err, c.want)
		}
		if s := got.String(); s != c.back {
			t.Errorf("ParseRef(%q).String() = %q, want %q", c.text, s, c.back)
		}
	}
	for text, want := range map[string]string{
		"":             "path is empty",
		"@0.5":         "has no adapter before the @",
		"a.st@":        `weight "" after the @ is not a number`,
		"a.st@half":    `weight "half" after the @ is not a number`,
		"a.st@NaN":     `weight "NaN" is not a finite float32`,
		"a.st@-inf":    `weight "-inf" is not a finite float32`,
		"a.st@1e39":    `weight "1e39" is not a finite float32`,
		"a.st@1e999":   `weight "1e999" after the @ is not a number`,
		"a.st@1e-60":   `weight "1e-60" is too small`,
		"a.st@0.5\x1b": `weight "0.5\x1b" after the @`,
	} {
		_, err := ParseRef(text)
		wantError(t, err, fault.Usage, want, "")
	}
}

func TestParseMixture(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, os.WriteFile("a,b", nil, 0o600))
	for text, want := range map[string][]Ref{
		"a.st":           {{"a.st", 1}},
		"a.st@0.5,b":     {{"a.st", 0.5}, {"b", 1}},
		"a,b":            {{"a,b", 1}},
		"a,b@2":          {{"a,b", 2}},
		"a,b,c":          {{"a", 1}, {"b", 1}, {"c", 1}},
		"a@1,a@-1,b@0.1": {{"a", 1}, {"a", -1}, {"b", 0.1}},
	} {
		if got, err := ParseMixture(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseMixture(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"": "path is empty", "a,": "path is empty", "a@x,b": "is not a number"} {
		_, err := ParseMixture(text)
		wantError(t, err, fault.Usage, want, "")
	}
}

// FuzzParseRef wants what is read to be written as something that reads the same.
func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"a.st", "a@0.5", "a@@-1e-3", "@1", "a@", "a@inf", "a@1e-60", "a@0x1p3", "a@1_0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Fatal(err)
			}
			return
		}
		if again, err := ParseRef(r.String()); r.Weight != 1 && (err != nil || again != r) {
			t.Fatalf("%q is %+v, and written as %q it is %+v: %v", s, r, r, again, err)
		}
	})
}
