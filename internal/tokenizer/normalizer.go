package tokenizer

import (
	"strings"

	"shira/internal/fault"
)

// A normalizer rewrites text before it is split. It never sees empty text.
type normalizer func(string) string

// Bounds on what a tokenizer file can ask for, far above what is in use, so that a hostile one cannot turn a short
// text into a huge one.
const (
	maxParts   = 16 // normalizers, pre-tokenizers or decoders in a row
	maxGrowth  = 64 // factor by which the Replace parts in a row can lengthen a text
	maxLiteral = 64 // bytes of a prepended text
)

// newNormalizer returns the normalizers of a tokenizer.json in their order, none for null.
func newNormalizer(n node) []normalizer {
	if n.null() {
		return nil
	}
	growth := 1
	var list []normalizer
	for _, part := range flatten(n, "normalizers") {
		if normal := normalizerPart(part, &growth); normal != nil {
			list = append(list, normal)
		}
	}
	return list
}

func normalizerPart(n node, growth *int) normalizer {
	kind := n.field("type").str()
	if form, ok := unicodeForms[kind]; ok {
		return form.normalize
	}
	switch kind {
	case "Prepend":
		prefix := n.field("prepend").str()
		if len(prefix) > maxLiteral {
			n.report.unsupportedf("%s with a text of %d bytes", n.at, len(prefix))
		}
		return func(s string) string { return prefix + s }
	case "Replace":
		return newReplace(n, growth)
	}
	n.unsupportedType()
	return nil
}

// newReplace reads a Replace normalizer or decoder. growth is the product over the Replace parts in a row.
func newReplace(n node, growth *int) func(string) string {
	old, regex := n.field("pattern").pattern()
	content := n.field("content").str()
	if regex != "" {
		n.report.unsupportedf("%s of the regular expression %s", n.at, fault.Quote(regex))
		return nil
	}
	if *growth *= 1 + len(content)/max(len(old), 1); *growth > maxGrowth {
		n.report.unsupportedf("%s, which lengthens texts more than %d-fold", n.at, maxGrowth)
		*growth = 1
	}
	return func(s string) string { return strings.ReplaceAll(s, old, content) }
}

// flatten returns the parts of a component: those of its Sequences, which keep them under the name list, or itself.
func flatten(n node, list string) []node {
	var parts []node
	var walk func(n node)
	walk = func(n node) {
		if n.field("type").str() != "Sequence" {
			parts = append(parts, n)
			return
		}
		for _, item := range n.field(list).items() {
			walk(item)
		}
	}
	walk(n)
	if len(parts) > maxParts {
		n.report.unsupportedf("%s of %d parts", n.at, len(parts))
		return nil
	}
	return parts
}

func normalize(list []normalizer, s string) string {
	for _, normal := range list {
		if s != "" {
			s = normal(s)
		}
	}
	return s
}
