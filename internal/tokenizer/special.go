package tokenizer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"shira/internal/fault"
)

// specialFiles name the special tokens of the tokenizer beside them, the first that exists.
var specialFiles = []string{"tokenizer_config.json", "special_tokens_map.json"}

// Conventional names, in order of preference.
var (
	bosNames = []string{"<s>", "<|begin_of_text|>", "<bos>"}
	eosNames = []string{"</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>"}
)

// guessSpecialTokens sets BOS and EOS from tokenizer.json alone.
func (t *Tokenizer) guessSpecialTokens() {
	t.bos, t.eos = -1, -1
	if n := len(t.template.before); n > 0 {
		t.bos = t.template.before[0]
	} else {
		t.bos = t.firstSpecial(bosNames)
	}
	if n := len(t.template.after); n > 0 {
		t.eos = t.template.after[n-1]
	} else {
		t.eos = t.firstSpecial(eosNames)
	}
}

func (t *Tokenizer) firstSpecial(names []string) int32 {
	for _, name := range names {
		if a := t.added.byContent[name]; a != nil && a.special {
			return a.id
		}
	}
	return -1
}

// readSpecialTokens sets BOS and EOS from the configuration files in dir, where there are any.
func (t *Tokenizer) readSpecialTokens(dir string) error {
	for _, name := range specialFiles {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		text, err := readFile(path)
		if err != nil {
			return err
		}
		return t.parseSpecialTokens(path, text)
	}
	return nil
}

// parseSpecialTokens reads bos_token and eos_token. A file that does not mention one leaves it as guessed; null says
// that there is none.
func (t *Tokenizer) parseSpecialTokens(path, text string) error {
	r := &jsonReader{s: text}
	v, err := r.value()
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return fault.Wrap(fault.Malformed, path, err, "not valid JSON")
	}
	rep := new(report)
	config, ok := v.(map[string]any)
	if !ok {
		rep.malformedf("not a JSON object")
	}
	for name, id := range map[string]*int32{"bos_token": &t.bos, "eos_token": &t.eos} {
		if v, ok := config[name]; ok {
			*id = t.specialToken(node{v, name, rep})
		}
	}
	return rep.err(path)
}

// specialToken reads "</s>", {"content": "</s>", …} or null.
func (t *Tokenizer) specialToken(n node) int32 {
	if n.null() {
		return -1
	}
	if _, ok := n.v.(map[string]any); ok {
		n = n.field("content")
	}
	token := n.str()
	id, ok := t.TokenID(token)
	if !ok && len(n.report.malformed) == 0 {
		n.report.unsupportedf("%s %s is not in %s", n.at, fault.Quote(token), fileName)
		return -1
	}
	return id
}
