package main

import (
	"cmp"
	"slices"
	"strings"

	"shira/internal/fault"
)

// The special tokens, at the head of the vocabulary: beginning and end of a text.
const (
	bosID = 0
	eosID = 1
)

var specials = []string{"<s>", "</s>"}

// pair is two neighbouring token ids.
type pair struct{ left, right int }

// bpe is a byte-level byte-pair encoding. Tokens are raw bytes here; tokenizer.json writes them in GPT-2's printable letters.
type bpe struct {
	tokens []string // by id: specials, the 256 bytes, one token for each merge
	merges []pair   // in the order of training
}

// word is one distinct word of the training text and how often it occurs.
type word struct {
	ids   []int
	count int
}

// trainBPE learns merges from ASCII texts until the vocabulary has size entries (Sennrich et al. 2016): always the most
// frequent pair, of equal ones the lower ids, as the Hugging Face trainer does.
func trainBPE(texts []string, size int) (*bpe, error) {
	b := newBPE()
	if size < len(b.tokens) {
		return nil, fault.New(fault.Internal, "", "vocabulary of %d: the special tokens and the bytes alone are %d", size, len(b.tokens))
	}
	counts := map[string]int{}
	for _, text := range texts {
		if i := strings.IndexFunc(text, func(c rune) bool { return c > '~' }); i >= 0 {
			return nil, fault.New(fault.Internal, "", "text %q is not ASCII", text)
		}
		for _, w := range split(text) {
			counts[w]++
		}
	}
	words := make([]word, 0, len(counts))
	for text, n := range counts {
		words = append(words, word{b.bytes(text), n})
	}
	for len(b.tokens) < size {
		best, ok := mostFrequent(words)
		if !ok {
			return nil, fault.New(fault.Internal, "", "the text has only enough pairs for a vocabulary of %d, not %d", len(b.tokens), size)
		}
		id := len(b.tokens)
		b.tokens = append(b.tokens, b.tokens[best.left]+b.tokens[best.right])
		b.merges = append(b.merges, best)
		for i := range words {
			words[i].ids = mergePair(words[i].ids, best, id)
		}
	}
	return b, nil
}

// newBPE returns the encoding without merges. The bytes stand in the order of their printable letters, as the Hugging Face
// trainer sorts its alphabet.
func newBPE() *bpe {
	b := &bpe{tokens: slices.Clone(specials)}
	order := make([]byte, 256)
	for i := range order {
		order[i] = byte(i)
	}
	slices.SortFunc(order, func(x, y byte) int { return cmp.Compare(printable[x], printable[y]) })
	for _, c := range order {
		b.tokens = append(b.tokens, string([]byte{c}))
	}
	return b
}

// mostFrequent returns the pair to merge next; ok is false when no pair is left.
func mostFrequent(words []word) (best pair, ok bool) {
	counts := map[pair]int{}
	for _, w := range words {
		for i := 1; i < len(w.ids); i++ {
			counts[pair{w.ids[i-1], w.ids[i]}] += w.count
		}
	}
	most := 0
	for p, n := range counts {
		if n > most || n == most && (p.left < best.left || p.left == best.left && p.right < best.right) {
			best, most = p, n
		}
	}
	return best, most > 0
}

// mergePair replaces every occurrence of p in ids by id, in place.
func mergePair(ids []int, p pair, id int) []int {
	out := ids[:0]
	for i := 0; i < len(ids); i++ {
		if i+1 < len(ids) && ids[i] == p.left && ids[i+1] == p.right {
			out = append(out, id)
			i++
		} else {
			out = append(out, ids[i])
		}
	}
	return out
}

// bytes returns the ids of text's bytes.
func (b *bpe) bytes(text string) []int {
	ids := make([]int, len(text))
	for i := range len(text) {
		ids[i] = byteIDs[text[i]]
	}
	return ids
}

// encode returns the token ids of ASCII text, without special tokens: in each word the merges in the order of training.
func (b *bpe) encode(text string) []int {
	var all []int
	for _, w := range split(text) {
		ids := b.bytes(w)
		for i, p := range b.merges {
			if len(ids) == 1 {
				break
			}
			ids = mergePair(ids, p, len(specials)+256+i)
		}
		all = append(all, ids...)
	}
	return all
}

// decode returns the text of ids.
func (b *bpe) decode(ids []int) string {
	var text strings.Builder
	for _, id := range ids {
		text.WriteString(b.tokens[id])
	}
	return text.String()
}

// printable maps each byte to the letter that GPT-2's vocabulary writes for it; byteIDs each byte to its token id.
var printable, byteIDs = func() (letters [256]rune, ids [256]int) {
	next := rune(256)
	for c := range letters {
		if '!' <= c && c <= '~' || 0xA1 <= c && c <= 0xAC || 0xAE <= c {
			letters[c] = rune(c)
		} else {
			letters[c] = next
			next++
		}
	}
	for c := range ids {
		ids[c] = len(specials)
		for _, l := range letters {
			if l < letters[c] {
				ids[c]++
			}
		}
	}
	return letters, ids
}()
