package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe is the byte-pair encoding model (Sennrich et al. 2016): a word starts as its characters, and the pair of
// neighbours whose merge ranks first, the leftmost of equals, is merged until no pair merges.
type bpe struct {
	vocab        *vocabulary
	merges       *mergeTable
	byteLevel    bool
	byteID       [256]int32 // byte-level: the token of a byte; used where allBytes
	allBytes     bool
	fallback     [256]int32 // the <0x00> token of a byte, -1 for none
	byteFallback bool
	unknown      int32 // unk_token, -1 for none
	fuseUnknown  bool
	ignoreMerges bool // a word that is a token is that token
}

// prepare derives the tables that depend on whether words are over the byte-level alphabet.
func (m *bpe) prepare(byteLevel bool) {
	m.byteLevel, m.allBytes = byteLevel, byteLevel
	for b := range 256 {
		m.fallback[b], _ = m.vocab.id(fmt.Sprintf("<0x%02X>", b))
		id, ok := m.vocab.id(byteChar[b])
		m.byteID[b] = id
		m.allBytes = m.allBytes && ok
	}
}

// metaspaceSplits reports whether no merge joins another character to a metaspace that follows it. Then a text that
// the model should see as one word can be cut before metaspaces, and its words cached, without a change of the result.
// (An unknown character cannot be fused across the cut, since the metaspace is known.)
func (m *bpe) metaspaceSplits() bool {
	if _, ok := m.vocab.id(metaspace); !ok || m.ignoreMerges || m.byteLevel {
		return false
	}
	for _, slot := range m.merges.slots {
		if slot.result == 0 {
			continue
		}
		token, _ := m.vocab.token(int32(slot.result - 1))
		if strings.Contains(strings.TrimLeft(token, metaspace), metaspace) {
			return false
		}
	}
	return true
}

// appendWord appends the ids of a non-empty word.
func (m *bpe) appendWord(ids []int32, word string, w *workspace) []int32 {
	if m.ignoreMerges {
		if id, ok := m.vocab.id(m.spell(word)); ok {
			return append(ids, id)
		}
	}
	start := len(ids)
	if m.allBytes {
		for k := range len(word) {
			ids = append(ids, m.byteID[word[k]])
		}
	} else {
		ids = m.appendCharacters(ids, m.spell(word))
	}
	return ids[:start+m.merge(ids[start:], w)]
}

// spell returns a word as the vocabulary spells it.
func (m *bpe) spell(word string) string {
	if !m.byteLevel {
		return word
	}
	var b strings.Builder
	b.Grow(2 * len(word))
	for k := range len(word) {
		b.WriteString(byteChar[word[k]])
	}
	return b.String()
}

// appendCharacters appends the ids a word starts from.
func (m *bpe) appendCharacters(ids []int32, word string) []int32 {
	unknown := false // one is pending: fused with the next or written before a known character
	for len(word) > 0 {
		_, n := utf8.DecodeRuneInString(word)
		char := word[:n]
		word = word[n:]
		if id, ok := m.vocab.id(char); ok {
			if unknown {
				ids, unknown = append(ids, m.unknown), false
			}
			ids = append(ids, id)
			continue
		}
		if m.byteFallback && m.hasBytes(char) {
			for k := range n {
				ids = append(ids, m.fallback[char[k]])
			}
			continue
		}
		if m.unknown < 0 {
			continue // dropped, as the reference library does
		}
		if unknown && !m.fuseUnknown {
			ids = append(ids, m.unknown)
		}
		unknown = true
	}
	if unknown {
		ids = append(ids, m.unknown)
	}
	return ids
}

// hasBytes reports whether every byte of char has a token.
func (m *bpe) hasBytes(char string) bool {
	for k := range len(char) {
		if m.fallback[char[k]] < 0 {
			return false
		}
	}
	return true
}
