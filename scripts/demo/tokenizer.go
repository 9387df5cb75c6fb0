package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The parts of a Hugging Face tokenizer.json that a byte-level BPE has.
type (
	tokenizerJSON struct {
		Version       string        `json:"version"`
		Truncation    any           `json:"truncation"`
		Padding       any           `json:"padding"`
		AddedTokens   []addedToken  `json:"added_tokens"`
		Normalizer    any           `json:"normalizer"`
		PreTokenizer  byteLevel     `json:"pre_tokenizer"`
		PostProcessor postProcessor `json:"post_processor"`
		Decoder       byteLevel     `json:"decoder"`
		Model         bpeModel      `json:"model"`
	}
	addedToken struct {
		ID         int    `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		Lstrip     bool   `json:"lstrip"`
		Rstrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	}
	byteLevel struct {
		Type           string `json:"type"`
		AddPrefixSpace bool   `json:"add_prefix_space"`
		TrimOffsets    bool   `json:"trim_offsets"`
		UseRegex       bool   `json:"use_regex"`
	}
	postProcessor struct {
		Type          string                  `json:"type"`
		Single        []templatePiece         `json:"single"`
		Pair          []templatePiece         `json:"pair"`
		SpecialTokens map[string]specialToken `json:"special_tokens"`
	}
	templatePiece map[string]templateID
	templateID    struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	}
	specialToken struct {
		ID     string   `json:"id"`
		IDs    []int    `json:"ids"`
		Tokens []string `json:"tokens"`
	}
	bpeModel struct {
		Type                    string      `json:"type"`
		Dropout                 any         `json:"dropout"`
		UnkToken                any         `json:"unk_token"`
		ContinuingSubwordPrefix any         `json:"continuing_subword_prefix"`
		EndOfWordSuffix         any         `json:"end_of_word_suffix"`
		FuseUnk                 bool        `json:"fuse_unk"`
		ByteFallback            bool        `json:"byte_fallback"`
		IgnoreMerges            bool        `json:"ignore_merges"`
		Vocab                   vocabulary  `json:"vocab"`
		Merges                  [][2]string `json:"merges"`
	}
)

// vocabulary is the tokens by id, marshalled as an object of ids in their order.
type vocabulary []string

// MarshalJSON implements json.Marshaler.
func (v vocabulary) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	key := json.NewEncoder(&b)
	key.SetEscapeHTML(false)
	b.WriteByte('{')
	for id, token := range v {
		if id > 0 {
			b.WriteByte(',')
		}
		if err := key.Encode(token); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ":%d", id)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// tokenizerFile returns the tokenizer as the content of a tokenizer.json. Its post-processor puts <s> before a text.
func (b *bpe) tokenizerFile() tokenizerJSON {
	bos, a, second := templatePiece{"SpecialToken": {specials[bosID], 0}}, templatePiece{"Sequence": {"A", 0}}, templatePiece{"Sequence": {"B", 1}}
	level := byteLevel{Type: "ByteLevel", TrimOffsets: true, UseRegex: true}
	file := tokenizerJSON{
		Version:      "1.0",
		PreTokenizer: level,
		Decoder:      level,
		PostProcessor: postProcessor{
			Type:          "TemplateProcessing",
			Single:        []templatePiece{bos, a},
			Pair:          []templatePiece{bos, a, second},
			SpecialTokens: map[string]specialToken{specials[bosID]: {specials[bosID], []int{bosID}, specials[bosID : bosID+1]}},
		},
		Model: bpeModel{Type: "BPE"},
	}
	for id, token := range specials {
		file.AddedTokens = append(file.AddedTokens, addedToken{ID: id, Content: token, Special: true})
	}
	for id := range b.tokens {
		file.Model.Vocab = append(file.Model.Vocab, b.letters(id))
	}
	for _, p := range b.merges {
		file.Model.Merges = append(file.Model.Merges, [2]string{b.letters(p.left), b.letters(p.right)})
	}
	return file
}

// letters returns a token in GPT-2's printable letters.
func (b *bpe) letters(id int) string {
	if id < len(specials) {
		return specials[id]
	}
	var s []rune
	for _, c := range []byte(b.tokens[id]) {
		s = append(s, printable[c])
	}
	return string(s)
}

// tokenizerConfig is tokenizer_config.json.
type tokenizerConfig struct {
	TokenizerClass  string `json:"tokenizer_class"`
	BOS             string `json:"bos_token"`
	EOS             string `json:"eos_token"`
	ModelMaxLength  int    `json:"model_max_length"`
	CleanUpSpaces   bool   `json:"clean_up_tokenization_spaces"`
	AddPrefixSpaces bool   `json:"add_prefix_space"`
}
