package data

import (
	"fmt"
	"math"

	"shira/internal/fault"
)

// encoder turns rows into tokens and labels. It is safe for concurrent use.
type encoder struct {
	*Options
	vocab int // ids are below it
}

func newEncoder(o *Options) *encoder {
	e := &encoder{Options: o, vocab: o.VocabSize}
	if e.vocab == 0 {
		e.vocab = math.MaxInt32
		if o.Tokenizer != nil {
			e.vocab = o.Tokenizer.VocabSize()
		}
	}
	return e
}

// encode returns the tokens of a row of the given kind and their labels, of equal length and not truncated. Nil labels
// mean that they equal ids.
func (e *encoder) encode(r *row, kind field) (ids, labels []int32, err error) {
	if kind == tokenKind {
		return e.tokens(r)
	}
	if e.Tokenizer == nil {
		return nil, nil, fault.New(fault.Incompatible, "", "a row of text, and the model has no tokenizer").
			WithHint(`rows of "input_ids" need none`)
	}
	if kind == textKind {
		ids = e.Tokenizer.EncodeSpecial(r.text)
		if e.AppendEOS && !e.OmitEOS {
			ids, err = e.appendEOS(ids)
		}
	} else {
		ids, labels, err = e.completion(r.prompt, r.completion)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		if uint(id) >= uint(e.vocab) {
			return nil, nil, fault.New(fault.Incompatible, "", "the tokenizer gives token %d, the model has %d", id, e.vocab).
				WithHint("the tokenizer and the model do not belong together")
		}
	}
	return ids, labels, nil
}

// tokens checks a row of input_ids and returns it.
func (e *encoder) tokens(r *row) (ids, labels []int32, err error) {
	for i, id := range r.inputIDs {
		if uint(id) >= uint(e.vocab) {
			return nil, nil, fmt.Errorf("%v[%d] is %d, outside the vocabulary of %d tokens", fieldInputIDs, i, id, e.vocab)
		}
	}
	if r.has&fieldLabels == 0 {
		return r.inputIDs, nil, nil
	}
	if len(r.labels) != len(r.inputIDs) {
		return nil, nil, fmt.Errorf("%v and %v differ in length: %d and %d",
			fieldInputIDs, fieldLabels, len(r.inputIDs), len(r.labels))
	}
	for i, label := range r.labels {
		if label != Ignore && uint(label) >= uint(e.vocab) {
			return nil, nil, fmt.Errorf("%v[%d] is %d, neither %d nor in the vocabulary of %d tokens",
				fieldLabels, i, label, Ignore, e.vocab)
		}
	}
	return r.inputIDs, r.labels, nil
}

// completion encodes prompt and completion as the one text they make, so that the tokens are those of the same text
// elsewhere, whatever the tokenizer does at the start of a text (Llama's put a space there). Labels start at the first
// token that the prompt alone does not have. A token across the seam, as " yes" after a prompt that ends in a space,
// therefore counts; lm-evaluation-harness places the boundary alike.
func (e *encoder) completion(prompt, completion string) (ids, labels []int32, err error) {
	ids = e.Tokenizer.EncodeSpecial(prompt + completion)
	seam := commonPrefix(ids, e.Tokenizer.EncodeSpecial(prompt))
	if !e.OmitEOS {
		if ids, err = e.appendEOS(ids); err != nil {
			return nil, nil, err
		}
		// The final EOS counts even where the completion is empty and the tokenizer itself ends the prompt with one.
		seam = min(seam, len(ids)-1)
	}
	labels = make([]int32, len(ids))
	for i := range seam {
		labels[i] = Ignore
	}
	copy(labels[seam:], ids[seam:])
	return ids, labels, nil
}

// commonPrefix returns the number of leading tokens that a and b share.
func commonPrefix(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// appendEOS ends ids with EOS, unless the tokenizer has done so.
func (e *encoder) appendEOS(ids []int32) ([]int32, error) {
	eos, ok := e.Tokenizer.EOS()
	if !ok {
		return nil, fault.New(fault.Incompatible, "", "the row is to end with EOS, and the tokenizer has none").
			WithHint("name eos_token in tokenizer_config.json")
	}
	if n := len(ids); n > 0 && ids[n-1] == eos {
		return ids, nil
	}
	return append(ids, eos), nil
}
