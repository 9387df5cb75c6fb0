package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"shira/internal/fault"
	"shira/internal/spell"
)

// file reads the YAML. An error means that nothing of it can be used; problems of single keys are collected.
func (r *resolver) file(data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return fault.New(fault.Usage, r.path, "is empty").WithHint("`shira config init` prints a configuration to start from")
	} else if err != nil {
		return syntaxError(r.path, data, err)
	}
	if err := dec.Decode(&more); err == nil {
		return fault.New(fault.Usage, at(r.path, more.Line), "a second document: want one")
	} else if !errors.Is(err, io.EOF) {
		return syntaxError(r.path, data, err)
	}
	root := doc.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		return fault.New(fault.Usage, r.path, "is empty").WithHint("`shira config init` prints a configuration to start from")
	case root.Kind != yaml.MappingNode:
		return fault.New(fault.Usage, at(r.path, root.Line), "want lines of the form key: value")
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		r.pair(root.Content[i], root.Content[i+1])
	}
	return nil
}

// pair takes up one key of the file and its value.
func (r *resolver) pair(key, value *yaml.Node) {
	origin := Origin{Layer: File, Path: r.path, Line: key.Line, Name: key.Value}
	switch {
	case key.Kind != yaml.ScalarNode:
		r.add(origin, "", "want a name before the colon")
		return
	case key.Tag == "!!merge":
		r.add(origin, "", "merge keys (<<) are not supported")
		return
	}
	s, msg := nodeScalar(value)
	if k := lookup(key.Value); k != nil && k.listsDatasets() {
		s, msg = scalar{node: value, null: value.Tag == "!!null"}, ""
	}
	name, s := r.translate(key.Value, s, origin)
	if name == "" {
		return
	}
	k := r.known(name, origin)
	if k == nil {
		return
	}
	if before, ok := r.given[k.Name]; ok {
		name := ""
		if before.origin.Name != key.Value {
			name = " as " + before.origin.Name
		}
		r.add(origin, key.Value, "is given twice, first in line %d%s", before.origin.Line, name)
		return
	}
	if msg != "" {
		r.add(origin, k.Name, "%s", msg)
		s.null = true // told once
	}
	r.given[k.Name] = given{s, origin}
}

// unknown reports a name that is no key.
func (r *resolver) unknown(name string, origin Origin) {
	if slices.Contains(planned, name) {
		r.add(origin, "", "%s is not available in this version", name)
		return
	}
	r.add(origin, "", "unknown key %s", fault.Quote(name))
	if len(r.list) > maxProblems { // no message would have it, and the search takes time
		return
	}
	if f, ok := foreigners[name]; ok {
		r.advise(name, f)
		return
	}
	if meant, ok := spell.Nearest(name, allNames()); ok {
		r.suggest(name, meant)
	}
}

// maxSyntaxError bounds what is repeated of a message, which may hold a name from the file.
const maxSyntaxError = 200

var (
	yamlError = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)
	// parserError tells the messages of the reader's parser, which counts lines from 0, from those of its scanner.
	parserError = regexp.MustCompile(`^did not find expected (<|node content|key|'-'|',' or)`)
	tabIndent   = regexp.MustCompile(`^ *\t`)
)

// syntaxError turns an error of the YAML reader into one with the file and line.
func syntaxError(path string, data []byte, err error) error {
	text := err.Error()
	m := yamlError.FindStringSubmatch(text)
	if m == nil {
		return fault.New(fault.Usage, path, "is not YAML: %s", fault.Quote(text))
	}
	text = text[len(m[0]):min(len(text), maxSyntaxError)]
	line, _ := strconv.Atoi(m[1]) // 0 without one
	if parserError.MatchString(text) {
		line++
	}
	if strings.Contains(text, "tab character") || strings.Contains(text, "cannot start any token") {
		// The message has the line of the value before, or that of the tab.
		for i, l := range bytes.Split(data, []byte("\n")) {
			if i+1 >= line && tabIndent.Match(l) {
				return fault.New(fault.Usage, at(path, i+1), "is not YAML: a tab indents the line: want spaces")
			}
		}
	}
	return fault.New(fault.Usage, at(path, line), "is not YAML: %s", text)
}

func at(path string, line int) string {
	if line == 0 {
		return path
	}
	return path + ":" + strconv.Itoa(line)
}
