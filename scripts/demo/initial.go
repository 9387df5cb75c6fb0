package main

import (
	"fmt"
	"io"
	"path/filepath"

	"shira/internal/checkpoint"
)

// runInit trains the tokenizer on the base's text and writes it with the configuration and random weights, as a Hugging Face
// directory that `shira train` can start from.
func runInit(o options, w io.Writer) error {
	train, _, err := baseTexts(o.seed)
	if err != nil {
		return err
	}
	tok, err := trainBPE(train, vocabSize)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		v    any
	}{
		{"tokenizer.json", tok.tokenizerFile()},
		{"tokenizer_config.json", tokenizerConfig{TokenizerClass: "PreTrainedTokenizerFast", BOS: specials[bosID], EOS: specials[eosID], ModelMaxLength: maxPositions}},
		{"config.json", demoConfig()},
	} {
		if err := writeJSON(filepath.Join(o.out, file.name), file.v); err != nil {
			return err
		}
	}
	entries := initialWeights(o.seed)
	if err := checkpoint.Write(filepath.Join(o.out, "model.safetensors"), entries, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	parameters := 0
	for _, t := range modelTensors() {
		parameters += t.elements()
	}
	_, err = fmt.Fprintf(w, "%s: %d parameters (%d bytes in bf16), vocabulary of %d; %s\n",
		o.out, parameters, 2*parameters, len(tok.tokens), tok.statistics(train))
	return err
}

// statistics says how well the vocabulary fits the texts.
func (b *bpe) statistics(texts []string) string {
	lengths := map[string]int{} // of each distinct word, in tokens
	var words, tokens, bytes int
	for _, text := range texts {
		bytes += len(text)
		for _, w := range split(text) {
			n, ok := lengths[w]
			if !ok {
				n = len(b.encode(w))
				lengths[w] = n
			}
			words++
			tokens += n
		}
	}
	return fmt.Sprintf("%d distinct words, %d tokens, %.2f tokens per word, %.2f bytes per token",
		len(lengths), tokens, float64(tokens)/float64(words), float64(bytes)/float64(tokens))
}
