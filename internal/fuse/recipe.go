package fuse

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"shira/internal/fault"
	"shira/internal/merge"
	"shira/internal/spell"
)

// Recipe is a fusion as a YAML file has it. Keys are those of PEFT and mergekit where these have one:
//
//	base: path/to/model
//	method: ties                  # or merge_method, combination_type
//	density: 0.5
//	majority_sign_method: total
//	seed: 1
//	adapters:
//	  - path: a                   # or adapter, model
//	    weight: 0.7
//	  - path: b
//	    weight:                   # the first filter that the name of a weight contains, or matches where it holds a *
//	      - {filter: self_attn, value: 0.5}
//	      - {value: 1}
type Recipe struct {
	Base     string
	Method   string
	Params   merge.Params
	Adapters []Source

	given []string // keys of the parameters that the file has
}

// Has says whether the file gives a parameter: "method", "density", "majority_sign_method" or "seed".
func (r *Recipe) Has(key string) bool { return slices.Contains(r.given, key) }

// recipeAliases are other names of keys.
var recipeAliases = map[string]string{
	"base_model": "base", "base_model_name_or_path": "base", "merge_method": "method", "combination_type": "method",
	"adapter": "path", "model": "path",
}

// ReadRecipe reads the YAML of a recipe; name is that of its file in messages. All that is wrong is one Usage error, with
// lines.
func ReadRecipe(name string, data []byte) (*Recipe, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fault.New(fault.Usage, name, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil, fault.New(fault.Usage, name, "is empty: want base and adapters")
	}
	r := &Recipe{Method: "linear", Params: merge.DefaultParams()}
	p := recipeReader{file: name}
	p.mapping(doc.Content[0], map[string]func(*yaml.Node){
		"base":    func(n *yaml.Node) { r.Base = p.text(n) },
		"method":  func(n *yaml.Node) { r.Method = p.text(n); r.given = append(r.given, "method") },
		"density": func(n *yaml.Node) { r.Params.Density = p.number(n); r.given = append(r.given, "density") },
		"majority_sign_method": func(n *yaml.Node) {
			r.Params.MajoritySign = p.text(n)
			r.given = append(r.given, "majority_sign_method")
		},
		"seed":     func(n *yaml.Node) { r.Params.Seed = p.whole(n); r.given = append(r.given, "seed") },
		"adapters": func(n *yaml.Node) { r.Adapters = p.sources(n) },
	})
	if len(r.Adapters) == 0 && len(p.problems) == 0 {
		p.wrong(doc.Content[0], "adapters: want at least one")
	}
	if len(p.problems) > 0 {
		return nil, fault.New(fault.Usage, "", "%s", strings.Join(p.problems, "; "))
	}
	return r, nil
}

// recipeReader walks over a recipe and collects what is wrong with it.
type recipeReader struct {
	file     string
	problems []string
}

func (p *recipeReader) wrong(n *yaml.Node, format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf("%s:%d: %s", p.file, n.Line, fmt.Sprintf(format, args...)))
}

// mapping calls the readers of the keys of n.
func (p *recipeReader) mapping(n *yaml.Node, keys map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.wrong(n, "want keys and values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if alias := recipeAliases[key]; alias != "" && keys[alias] != nil {
			key = alias
		}
		read := keys[key]
		switch {
		case read == nil:
			var names []string
			for name := range keys {
				names = append(names, name)
			}
			slices.Sort(names)
			hint := ""
			if meant, ok := spell.Nearest(key, names); ok {
				hint = ": did you mean " + meant + "?"
			}
			p.wrong(n.Content[i], "unknown key %s%s", fault.Quote(n.Content[i].Value), hint)
		case seen[key]:
			p.wrong(n.Content[i], "%s is given twice", key)
		default:
			seen[key] = true
			read(n.Content[i+1])
		}
	}
}

func (p *recipeReader) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		p.wrong(n, "want a text")
	}
	return n.Value
}

func (p *recipeReader) number(n *yaml.Node) float64 {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || v-v != 0 || v != 0 && float32(v) == 0 || float32(v)-float32(v) != 0 {
		p.wrong(n, "want a number that float32 can hold, got %s", fault.Quote(n.Value))
	}
	return v
}

func (p *recipeReader) whole(n *yaml.Node) uint64 {
	v, err := strconv.ParseUint(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || err != nil {
		p.wrong(n, "want a whole number, got %s", fault.Quote(n.Value))
	}
	return v
}

func (p *recipeReader) sources(n *yaml.Node) []Source {
	if n.Kind != yaml.SequenceNode {
		p.wrong(n, "adapters: want a list")
		return nil
	}
	var list []Source
	for _, item := range n.Content {
		s := Source{Weight: 1}
		p.mapping(item, map[string]func(*yaml.Node){
			"path":   func(n *yaml.Node) { s.Path = p.text(n) },
			"weight": func(n *yaml.Node) { p.weight(n, &s) },
		})
		if s.Path == "" && item.Kind == yaml.MappingNode {
			p.wrong(item, "an adapter needs a path")
		}
		list = append(list, s)
	}
	return list
}

// weight reads a number, or a list of rules of which the one without a filter is for what no other matches.
func (p *recipeReader) weight(n *yaml.Node, s *Source) {
	if n.Kind != yaml.SequenceNode {
		s.Weight = p.number(n)
		return
	}
	s.Weight = 0
	for i, item := range n.Content {
		var r Rule
		p.mapping(item, map[string]func(*yaml.Node){
			"filter": func(n *yaml.Node) { r.Filter = p.text(n) },
			"value":  func(n *yaml.Node) { r.Weight = p.number(n) },
		})
		if _, err := path.Match(r.Filter, ""); err != nil {
			p.wrong(item, "filter %s is no pattern", fault.Quote(r.Filter))
		}
		if r.Filter != "" {
			s.Rules = append(s.Rules, r)
			continue
		}
		if s.Weight = r.Weight; i < len(n.Content)-1 {
			p.wrong(item, "a value without a filter is for all weights that are left: want it last")
		}
	}
}

// Write writes the recipe so that ReadRecipe reads it.
func (r *Recipe) Write(w io.Writer) error {
	type rule struct {
		Filter string  `yaml:"filter,omitempty"`
		Value  float64 `yaml:"value"`
	}
	type source struct {
		Path   string `yaml:"path"`
		Weight any    `yaml:"weight"`
	}
	var list []source
	for _, s := range r.Adapters {
		item := source{s.Path, s.Weight}
		if len(s.Rules) > 0 {
			var rules []rule
			for _, x := range s.Rules {
				rules = append(rules, rule{x.Filter, x.Weight})
			}
			item.Weight = append(rules, rule{Value: s.Weight})
		}
		list = append(list, item)
	}
	out := struct {
		Base         string   `yaml:"base"`
		Method       string   `yaml:"method"`
		Density      float64  `yaml:"density,omitempty"`
		MajoritySign string   `yaml:"majority_sign_method,omitempty"`
		Seed         uint64   `yaml:"seed,omitempty"`
		Adapters     []source `yaml:"adapters"`
	}{Base: r.Base, Method: r.Method, Seed: r.Params.Seed, Adapters: list}
	if r.Params.Density != 1 {
		out.Density = r.Params.Density
	}
	if r.Params.MajoritySign != merge.Total {
		out.MajoritySign = r.Params.MajoritySign
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(out); err != nil {
		return err
	}
	return enc.Close()
}
