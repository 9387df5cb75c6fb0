package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rooms says which packages of the module each may import, in one direction: a package may only import what stands below
// it. Every package must be here. See docs/architecture.md.
var rooms = map[string][]string{
	"cmd/shira":             {"internal/cli"},
	"internal/cli":          {"internal/adapter", "internal/adapter/mask", "internal/buildinfo", "internal/checkpoint", "internal/compare", "internal/config", "internal/data", "internal/eval", "internal/extract", "internal/fault", "internal/fsx", "internal/fuse", "internal/kernel", "internal/merge", "internal/model", "internal/procstat", "internal/report", "internal/spell", "internal/switcher", "internal/train"},
	"internal/train":        {"internal/adapter", "internal/adapter/mask", "internal/buildinfo", "internal/checkpoint", "internal/config", "internal/data", "internal/eval", "internal/fault", "internal/fsx", "internal/kernel", "internal/model", "internal/nn", "internal/procstat", "internal/report", "internal/tbevents"},
	"internal/eval":         {"internal/adapter", "internal/checkpoint", "internal/data", "internal/fault", "internal/kernel", "internal/model", "internal/nn", "internal/procstat", "internal/switcher"},
	"internal/fuse":         {"internal/adapter", "internal/checkpoint", "internal/fault", "internal/fsx", "internal/merge", "internal/spell", "internal/svd"},
	"internal/extract":      {"internal/adapter", "internal/checkpoint", "internal/fault", "internal/kernel", "internal/merge", "internal/svd"},
	"internal/merge":        {"internal/adapter", "internal/checkpoint", "internal/fault", "internal/kernel"},
	"internal/svd":          {"internal/fault", "internal/kernel"},
	"internal/compare":      {"internal/adapter", "internal/checkpoint", "internal/fault"},
	"internal/switcher":     {"internal/adapter", "internal/checkpoint", "internal/fault", "internal/fsx", "internal/kernel", "internal/merge"},
	"internal/fsx/crashfs":  {"internal/fault", "internal/fsx"},
	"internal/model":        {"internal/checkpoint", "internal/fault", "internal/fsx", "internal/model/bind", "internal/model/llama", "internal/nn"},
	"internal/model/llama":  {"internal/checkpoint", "internal/fault", "internal/model/bind", "internal/nn"},
	"internal/model/bind":   {"internal/checkpoint", "internal/fault", "internal/nn"},
	"internal/adapter":      {"internal/adapter/mask", "internal/checkpoint", "internal/fault", "internal/fsx", "internal/kernel"},
	"internal/adapter/mask": {"internal/fault"},
	"internal/nn":           {"internal/fault", "internal/kernel"},
	"internal/data":         {"internal/fault", "internal/fsx", "internal/jinja", "internal/tokenizer"},
	"internal/config":       {"internal/fault", "internal/spell"},
	"internal/checkpoint":   {"internal/fault", "internal/fsx"},
	"internal/tokenizer":    {"internal/fault"},
	"internal/fsx":          {"internal/fault"},
	"internal/tbevents":     {"internal/fsx"},
	"internal/testmodel":    {"internal/checkpoint"},
	"internal/kernel":       nil,
	"internal/kernel/gen":   nil,
	"internal/buildinfo":    nil,
	"internal/fault":        nil,
	"internal/jinja":        nil,
	"internal/procstat":     nil,
	"internal/report":       nil,
	"internal/spell":        nil,
	"scripts/demo":          {"internal/checkpoint", "internal/fault"},
	"scripts/randmodel":     {"internal/adapter", "internal/checkpoint", "internal/fault", "internal/fsx"},
}

// homes says which packages may import a library, or what lies below it, that must not spread.
var homes = map[string][]string{
	"github.com/spf13":                {"internal/cli"},
	"github.com/schollz/progressbar":  {"internal/cli"},
	"gorgonia.org":                    {"internal/nn", "internal/train"},
	"testing":                         nil,
	"github.com/rogpeppe/go-internal": nil,
	"shira/internal/testmodel":        nil,
	"shira/internal/fsx/crashfs":      nil,
}

func TestImportsPointOneWay(t *testing.T) {
	type pkg struct {
		ImportPath string
		Imports    []string
		GoFiles    []string
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles", "shira/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue
		}
		seen++
		name := strings.TrimPrefix(p.ImportPath, "shira/")
		allowed, ok := rooms[name]
		if !ok {
			t.Errorf("%s has no room: say in this table what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if inner, ok := strings.CutPrefix(imported, "shira/"); ok && !slices.Contains(allowed, inner) {
				t.Errorf("%s imports %s, which its room does not allow", name, inner)
			}
			for library, home := range homes {
				inside := imported == library || strings.HasPrefix(imported, library+"/")
				if inside && !slices.Contains(home, name) {
					t.Errorf("%s imports %s, whose home is %v", name, imported, home)
				}
			}
		}
	}
	if seen != len(rooms) {
		t.Errorf("%d packages, %d in the table: remove those that are gone", seen, len(rooms))
	}
}

// TestRoomsHaveNoCycle keeps the table itself honest.
func TestRoomsHaveNoCycle(t *testing.T) {
	state := map[string]int{}
	var visit func(name string, path []string)
	visit = func(name string, path []string) {
		switch state[name] {
		case 1:
			t.Fatalf("cycle: %s", strings.Join(append(path, name), " → "))
		case 2:
			return
		}
		state[name] = 1
		for _, next := range rooms[name] {
			if _, ok := rooms[next]; !ok {
				t.Errorf("%s may import %s, which is not in the table", name, next)
			}
			visit(next, append(path, name))
		}
		state[name] = 2
	}
	for name := range rooms {
		visit(name, nil)
	}
}
