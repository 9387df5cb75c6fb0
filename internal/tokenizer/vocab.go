package tokenizer

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"

	"shira/internal/fault"
)

// maxTokenID bounds token ids, far above any vocabulary in use, so that a VocabSize can be trusted.
const maxTokenID = 1<<24 - 1

type vocabEntry struct {
	token string
	id    int32
}

// vocabulary maps tokens to ids and back. Ids may have gaps, so memory follows the number of tokens, not the ids.
type vocabulary struct {
	tokens []string // in order of id
	ids    []int32  // ascending, parallel to tokens
	seed   maphash.Seed
	slots  []vocabSlot // open addressing, a power of two, at most half full
}

type vocabSlot struct {
	tag   uint32 // high half of the hash, spares most comparisons
	index int32  // into tokens, plus one; 0 is empty
}

// newVocabulary takes ownership of entries and reports duplicate tokens and ids.
func newVocabulary(entries []vocabEntry, rep *report) *vocabulary {
	byID := func(a, b vocabEntry) int { return int(a.id) - int(b.id) }
	if !slices.IsSortedFunc(entries, byID) {
		slices.SortStableFunc(entries, byID)
	}
	v := &vocabulary{
		tokens: packStrings(entries),
		ids:    make([]int32, len(entries)),
		seed:   maphash.MakeSeed(),
		slots:  make([]vocabSlot, 1<<bits.Len(uint(2*len(entries)))),
	}
	for i := range entries {
		v.ids[i] = entries[i].id
		if i > 0 && v.ids[i] == v.ids[i-1] {
			rep.malformedf("tokens %s and %s have the same id %d",
				fault.Quote(v.tokens[i-1]), fault.Quote(v.tokens[i]), v.ids[i])
		}
		slot, tag := v.find(v.tokens[i])
		if slot.index != 0 {
			rep.malformedf("token %s is given twice", fault.Quote(v.tokens[i]))
		}
		*slot = vocabSlot{tag, int32(i + 1)}
	}
	return v
}

// packStrings copies the tokens into one string, so that the file they were read from can be freed.
func packStrings(entries []vocabEntry) []string {
	var b strings.Builder
	size := 0
	for _, e := range entries {
		size += len(e.token)
	}
	b.Grow(size)
	for _, e := range entries {
		b.WriteString(e.token)
	}
	arena, tokens := b.String(), make([]string, len(entries))
	for i, e := range entries {
		tokens[i], arena = arena[:len(e.token)], arena[len(e.token):]
	}
	return tokens
}

// find returns the slot of token or the empty one where it belongs, and its tag.
func (v *vocabulary) find(token string) (*vocabSlot, uint32) {
	h := maphash.String(v.seed, token)
	tag, mask := uint32(h>>32), uint64(len(v.slots)-1)
	for k := h & mask; ; k = (k + 1) & mask {
		slot := &v.slots[k]
		if slot.index == 0 || slot.tag == tag && v.tokens[slot.index-1] == token {
			return slot, tag
		}
	}
}

// id returns the id of a token.
func (v *vocabulary) id(token string) (int32, bool) {
	slot, _ := v.find(token)
	if slot.index == 0 {
		return -1, false
	}
	return v.ids[slot.index-1], true
}

// joinedID returns the id of the token that left and right make together.
func (v *vocabulary) joinedID(left, right string) (int32, bool) {
	var buf [128]byte // on the stack: this runs once per merge while loading
	token := append(append(buf[:0], left...), right...)
	h := maphash.Bytes(v.seed, token)
	tag, mask := uint32(h>>32), uint64(len(v.slots)-1)
	for k := h & mask; ; k = (k + 1) & mask {
		slot := &v.slots[k]
		if slot.index == 0 {
			return -1, false
		}
		if slot.tag == tag && v.tokens[slot.index-1] == string(token) {
			return v.ids[slot.index-1], true
		}
	}
}

// token returns the token of an id.
func (v *vocabulary) token(id int32) (string, bool) {
	if i := int(id); i >= 0 && i < len(v.ids) && v.ids[i] == id { // no gap below id
		return v.tokens[i], true
	}
	i, ok := slices.BinarySearch(v.ids, id)
	if !ok {
		return "", false
	}
	return v.tokens[i], true
}

// size is the highest id plus one.
func (v *vocabulary) size() int {
	if len(v.ids) == 0 {
		return 0
	}
	return int(v.ids[len(v.ids)-1]) + 1
}
