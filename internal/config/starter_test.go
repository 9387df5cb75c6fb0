package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestStarter(t *testing.T) {
	for _, method := range MethodNames() {
		text, ok := Starter(method)
		if !ok {
			t.Fatalf("no starter for %s", method)
		}
		r, err := Parse("run.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if r.Method != method || len(r.Notices) > 0 {
			t.Errorf("%s: %+v", method, r)
		}
		for _, k := range keys {
			has := regexp.MustCompile(`(?m)^(# )?` + k.Name + `:`).MatchString(text)
			if unused := slices.Contains(unusedBy(method), k.Name); has == unused {
				t.Errorf("%s: %s is there: %v", method, k.Name, has)
			}
		}
	}
	if _, ok := Starter("lora-xs"); ok {
		t.Error("a starter for a method that is not available")
	}
}

func TestKeysAreDocumented(t *testing.T) {
	for _, k := range keys {
		if k.Doc == "" || k.Section == "" {
			t.Errorf("%s has no documentation", k.Name)
		}
		for line := range strings.Lines(k.Doc) {
			if len(line) > 120 {
				t.Errorf("%s: a line of %d characters", k.Name, len(line))
			}
		}
	}
}

// TestReference holds docs/configuration.md to the table.
func TestReference(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.HasPrefix(line, "| `") {
			rows[strings.Trim(cells[1], " `")] = line
		}
	}
	if len(rows) != len(keys) {
		t.Errorf("%d rows, want %d", len(rows), len(keys))
	}
	for _, k := range keys {
		want := []string{strings.ReplaceAll(k.Doc, "\n", " ")}
		if k.Default != "" {
			want = append(want, "| `"+k.Default+"` |")
		}
		for _, name := range append(slices.Clone(k.Aliases), k.Choices...) {
			want = append(want, "`"+name+"`")
		}
		for _, w := range want {
			if !strings.Contains(rows[k.Name], w) {
				t.Errorf("%s: the row lacks %q", k.Name, w)
			}
		}
	}
}

// TestExamples reads the repository's examples, and checks that each of their keys is explained.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Parse(filepath.Base(file), data)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(r.Notices) > 0 {
			t.Errorf("%s: %q", file, r.Notices)
		}
		commented := false
		for i, line := range strings.Split(string(data), "\n") {
			switch {
			case strings.HasPrefix(line, "#"):
				commented = true
			case line == "":
				commented = false
			case !commented && !strings.Contains(line, "# "):
				t.Errorf("%s:%d: no comment explains %q", file, i+1, line)
			}
		}
	}
}

// TestDemo reads the configurations of the demo.
func TestDemo(t *testing.T) {
	files, err := filepath.Glob("../../demo/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no configurations", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := Parse(filepath.Base(file), data); err != nil {
			t.Error(err)
		} else if len(r.Notices) > 0 {
			t.Errorf("%s: %q", file, r.Notices)
		}
	}
}
