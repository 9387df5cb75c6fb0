package adapter

import (
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fsx"
)

// The usual names of a model's input embedding and output head, without what stands before them.
var (
	embeddingNames = []string{"embed_tokens", "wte", "word_embeddings", "embed_in"}
	headNames      = []string{"lm_head", "embed_out"}
)

// maxModelConfig bounds the config.json of a model.
const maxModelConfig = 16 << 20

// tied says whether a model's output head is its input embedding.
type tied bool

// tiedWeights finds out: by tie_word_embeddings in config.json, or else by an embedding without a head. A config.json that
// cannot be read says nothing here; loading the model reports it.
func tiedWeights(m *checkpoint.Model) tied {
	if path := m.ConfigPath(); path != "" {
		if data, err := fsx.ReadFile(path, maxModelConfig); err == nil {
			o, err := parseObject(data)
			answer := false
			o.get("tie_word_embeddings", &answer, &err)
			if err == nil && o.has("tie_word_embeddings") {
				return tied(answer)
			}
		}
	}
	embedding, head := false, false
	for _, name := range m.Names() {
		module := strings.TrimSuffix(name, weightSuffix)
		embedding = embedding || slices.Contains(embeddingNames, ShortName(module))
		head = head || slices.Contains(headNames, ShortName(module))
	}
	return tied(embedding && !head)
}

// Tied returns what says whether a module is one of two names of a weight that is both input embedding and output head of m.
// Such a weight cannot be adapted.
func Tied(m *checkpoint.Model) func(module string) bool { return tiedWeights(m).has }

// has reports whether module is one of two names for one weight.
func (t tied) has(module string) bool {
	last := ShortName(module)
	return bool(t) && (slices.Contains(embeddingNames, last) || slices.Contains(headNames, last))
}

// ShortName returns the last element of a module's name, e.g. "q_proj".
func ShortName(module string) string { return module[strings.LastIndexByte(module, '.')+1:] }
