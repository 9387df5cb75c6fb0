// Package tokenizer turns text into token ids and back as the Hugging Face tokenizer.json beside a checkpoint says:
// byte-level BPE (GPT-2, Llama 3, Qwen) and BPE over characters with byte fallback (Llama 2, Mistral, Gemma). Its ids
// equal those of the tokenizers library; a tokenizer it cannot reproduce is refused when it is loaded.
package tokenizer

import (
	"slices"
	"strings"
	"sync"
)

// Tokenizer is a loaded tokenizer. It is safe for concurrent use.
type Tokenizer struct {
	added    *addedTokens
	normal   []normalizer
	pre      preTokenizer
	model    *bpe
	template template
	decoders []decoder
	bos, eos int32 // -1 where not known

	cache      *wordCache
	workspaces sync.Pool // of *workspace
}

// Encode returns the ids of text. It adds no special tokens, but recognises those written in the text. Bytes that are
// not UTF-8 are encoded as bytes where the tokenizer has tokens for them.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.appendIDs(make([]int32, 0, len(text)/4+8), text)
}

// EncodeSpecial returns the ids of text with the special tokens that the tokenizer puts around a text: BOS for Llama,
// <s> and </s> for RoBERTa, none for GPT-2.
func (t *Tokenizer) EncodeSpecial(text string) []int32 {
	ids := make([]int32, 0, len(text)/4+8)
	ids = append(ids, t.template.before...)
	ids = t.appendIDs(ids, text)
	return append(ids, t.template.after...)
}

// Decode returns the text of ids, special tokens included. Ids that no token has are left out, and bytes that are not
// UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		if a := t.added.byID[id]; a != nil {
			tokens = append(tokens, a.decoded)
		} else if token, ok := t.model.vocab.token(id); ok {
			tokens = append(tokens, token)
		}
	}
	if len(t.decoders) == 0 {
		return strings.Join(tokens, " ")
	}
	for _, decode := range t.decoders {
		tokens = decode(tokens)
	}
	return strings.Join(tokens, "")
}

// DecodeText is Decode without the special tokens.
func (t *Tokenizer) DecodeText(ids []int32) string {
	return t.Decode(slices.DeleteFunc(slices.Clone(ids), t.IsSpecial))
}

// VocabSize is the highest id plus one, added tokens included. Ids below it may have no token.
func (t *Tokenizer) VocabSize() int { return max(t.model.vocab.size(), t.added.size) }

// TokenID returns the id of a token as the tokenizer spells it ("Ġthe", "▁the", "</s>").
func (t *Tokenizer) TokenID(token string) (int32, bool) {
	if a := t.added.byContent[token]; a != nil {
		return a.id, true
	}
	return t.model.vocab.id(token)
}

// Token returns the token of an id, the inverse of TokenID.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if a := t.added.byID[id]; a != nil {
		return a.content, true
	}
	return t.model.vocab.token(id)
}

// IsSpecial reports whether id is a special token, one that is no part of the text (BOS, EOS, padding).
func (t *Tokenizer) IsSpecial(id int32) bool {
	a := t.added.byID[id]
	return a != nil && a.special
}

// BOS returns the token that begins a text and whether the tokenizer has one; see EOS.
func (t *Tokenizer) BOS() (int32, bool) { return max(t.bos, 0), t.bos >= 0 }

// EOS returns the token that ends a text and whether the tokenizer has one. EncodeSpecial may or may not add it (for
// decoders it does not), so that a caller who wants it at the end compares the last id.
//
// The tokens are those of tokenizer_config.json, or else of special_tokens_map.json, beside tokenizer.json; without
// these files, those the post-processor adds, or else the special tokens that bear a conventional name (<s>,
// <|begin_of_text|>; </s>, <|end_of_text|>, <|endoftext|>).
func (t *Tokenizer) EOS() (int32, bool) { return max(t.eos, 0), t.eos >= 0 }

// appendIDs is Encode into ids.
func (t *Tokenizer) appendIDs(ids []int32, text string) []int32 {
	e := encoder{t: t, ids: ids}
	e.work, _ = t.workspaces.Get().(*workspace)
	if e.work == nil {
		e.work = new(workspace)
	}
	e.encode(text)
	if cap(e.work.prev) <= maxKept {
		t.workspaces.Put(e.work)
	}
	return e.ids
}

// maxKept bounds the workspaces kept for reuse, in characters.
const maxKept = 1 << 16

// encoder is the state of one Encode.
type encoder struct {
	t    *Tokenizer
	ids  []int32
	work *workspace
}

// encode finds the added tokens written verbatim, normalizes what lies between them, finds the added tokens sought
// there, and cuts the rest into words.
func (e *encoder) encode(text string) {
	t := e.t
	t.added.verbatim.split(text, func(piece string, start int) {
		piece = normalize(t.normal, piece)
		t.added.normalized.split(piece, func(piece string, from int) {
			e.cut(0, piece, start+from == 0)
		}, e.token)
	}, e.token)
}

func (e *encoder) token(a *addedToken) { e.ids = append(e.ids, a.id) }

// cut applies the steps of the pre-tokenizer from the given one on; first says that s starts the text.
func (e *encoder) cut(step int, s string, first bool) {
	if s == "" {
		return
	}
	if step == len(e.t.pre.steps) {
		e.word(s)
		return
	}
	st := &e.t.pre.steps[step]
	if st.rewrite != nil {
		s = st.rewrite(s, first)
	}
	if st.cut == nil {
		e.cut(step+1, s, first)
		return
	}
	for i := 0; i < len(s); {
		end := st.cut(s, i)
		e.cut(step+1, s[i:end], first && i == 0)
		i = end
	}
}

func (e *encoder) word(word string) {
	t := e.t
	if len(word) > maxCacheWord {
		e.ids = t.model.appendWord(e.ids, word, e.work)
		return
	}
	slot := t.cache.slot(word)
	if hit := slot.Load(); hit != nil && hit.word == word {
		e.ids = append(e.ids, hit.ids...)
		return
	}
	start := len(e.ids)
	e.ids = t.model.appendWord(e.ids, word, e.work)
	t.cache.put(slot, word, e.ids[start:])
}
