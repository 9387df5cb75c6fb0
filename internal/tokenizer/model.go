package tokenizer

import (
	"fmt"
	"strings"

	"shira/internal/fault"
)

// modelReader reads the model of a tokenizer.json. Its two large members, the vocabulary and the merges, are read
// without building a value tree.
type modelReader struct {
	report   *report
	options  map[string]any
	vocab    *vocabulary
	merges   []merge
	mergesAt int // where the merges start, if they came before the vocabulary
}

// read reads the model object.
func (m *modelReader) read(r *jsonReader) error {
	m.options = map[string]any{}
	return r.uniqueObject(func(key string) (err error) {
		switch {
		case key == "vocab" && r.peek() == '{':
			return m.readVocab(r)
		case key == "merges" && r.peek() == '[' && m.vocab != nil:
			return m.readMerges(r)
		case key == "merges" && r.peek() == '[':
			m.mergesAt = r.i
			return r.skip()
		case key == "vocab": // that of a Unigram model is an array
			return r.skip()
		}
		m.options[key], err = r.value()
		return err
	})
}

func (m *modelReader) readVocab(r *jsonReader) error {
	var entries []vocabEntry
	err := r.object(func(token string) error {
		id, err := r.tokenID()
		entries = append(entries, vocabEntry{token, id})
		return err
	})
	m.vocab = newVocabulary(entries, m.report)
	return err
}

// readMerges reads the merges, pairs of tokens or two tokens with a space between. The token that a merge makes is the
// two joined.
func (m *modelReader) readMerges(r *jsonReader) error {
	m.merges = []merge{}
	unknown := 0
	err := r.array(func() error {
		left, right, err := readMerge(r)
		if err != nil || strings.HasPrefix(left, "#version") && right == "" {
			return err
		}
		if left == "" || right == "" {
			return r.errorf("a merge that is not two tokens")
		}
		var mg merge
		var known [3]bool
		mg.left, known[0] = m.vocab.id(left)
		mg.right, known[1] = m.vocab.id(right)
		mg.result, known[2] = m.vocab.joinedID(left, right)
		if known != [3]bool{true, true, true} {
			if unknown++; unknown <= 3 {
				m.report.malformedf("the merge of %s and %s names or makes a token that is not in the vocabulary",
					fault.Quote(left), fault.Quote(right))
			}
			return nil
		}
		m.merges = append(m.merges, mg)
		return nil
	})
	if unknown > 3 {
		m.report.malformedf("so do %d more merges", unknown-3)
	}
	return err
}

// readMerge reads ["a", "b"] or "a b". What is not two tokens has an empty right one.
func readMerge(r *jsonReader) (left, right string, err error) {
	if r.peek() != '[' {
		s, err := r.str()
		left, right, _ = strings.Cut(s, " ")
		if strings.Contains(right, " ") {
			right = ""
		}
		return left, right, err
	}
	r.i++
	if left, err = r.str(); err != nil {
		return "", "", err
	}
	if err = r.expect(','); err != nil {
		return "", "", err
	}
	if right, err = r.str(); err != nil {
		return "", "", err
	}
	return left, right, r.expect(']')
}

// build returns the model. text is the file that was read.
func (m *modelReader) build(text string) (*bpe, error) {
	if m.vocab != nil && m.mergesAt > 0 {
		if err := m.readMerges(&jsonReader{s: text, i: m.mergesAt}); err != nil {
			return nil, err
		}
	}
	option := func(name string) node { return node{m.options[name], "model." + name, m.report} }
	complete := m.vocab != nil && m.merges != nil
	switch kind := option("type"); {
	case m.options == nil:
		m.report.malformedf("model is missing")
	case kind.null() && !complete:
		m.report.unsupportedf("model without a vocabulary and merges (not BPE)")
	case !kind.null() && kind.str() != "BPE":
		m.report.unsupportedf("model %s", fault.Quote(kind.str()))
	case !complete:
		m.report.malformedf("model without a vocabulary and merges")
	}
	if !complete {
		m.vocab = newVocabulary(nil, m.report)
	}
	for _, name := range []string{"continuing_subword_prefix", "end_of_word_suffix"} {
		if o := option(name); !o.null() && o.str() != "" {
			m.report.unsupportedf("%s %s", o.at, fault.Quote(o.str()))
		}
	}
	if p := m.options["dropout"]; p != nil && p != jsonNumber("0") && p != jsonNumber("0.0") {
		m.report.unsupportedf("model.dropout %s", fault.Quote(fmt.Sprint(p)))
	}
	b := &bpe{
		vocab:        m.vocab,
		merges:       newMergeTable(m.merges),
		byteFallback: option("byte_fallback").boolean(false),
		fuseUnknown:  option("fuse_unk").boolean(false),
		ignoreMerges: option("ignore_merges").boolean(false),
		unknown:      -1,
	}
	if u := option("unk_token"); !u.null() {
		var ok bool
		if b.unknown, ok = b.vocab.id(u.str()); !ok && complete {
			m.report.malformedf("model.unk_token %s is not in the vocabulary", fault.Quote(u.str()))
		}
	}
	return b, nil
}
