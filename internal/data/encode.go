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
func (e *encoder) encode(r *row, kind int) (ids, labels []int32, err error) {
	if kind == tokenKind {
		return e.tokens(r)
	}
	if e.Tokenizer == nil {
		return nil, nil, fault.New(fault.Incompatible, "", "a row of text, and the model has no tokenizer").
			WithHint(`rows of "input_ids" need none`)
	}
	switch kind {
	case textKind:
		ids, err = e.text(r)
	case promptKind:
		ids, labels, err = e.pair(r)
	case alpacaKind:
		ids, labels, err = e.alpaca(r)
	default:
		ids, labels, err = e.chat(r, kind)
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
	if e.TrainOnInputs {
		labels = nil
	}
	return ids, labels, nil
}

func (e *encoder) text(r *row) ([]int32, error) {
	text, err := r.text(fieldText)
	if err != nil {
		return nil, err
	}
	ids := e.Tokenizer.EncodeSpecial(text)
	if e.AppendEOS && !e.OmitEOS {
		return e.appendEOS(ids)
	}
	return ids, nil
}

// tokens checks a row of input_ids and returns it.
func (e *encoder) tokens(r *row) (ids, labels []int32, err error) {
	if r.ids, err = r.ints(fieldInputIDs, r.ids[:0]); err != nil {
		return nil, nil, err
	}
	for i, id := range r.ids {
		if uint(id) >= uint(e.vocab) {
			return nil, nil, fmt.Errorf("%s[%d] is %d, outside the vocabulary of %d tokens", r.name(fieldInputIDs), i, id, e.vocab)
		}
	}
	if r.has&fieldLabels == 0 {
		return r.ids, nil, nil
	}
	if r.labels, err = r.ints(fieldLabels, r.labels[:0]); err != nil {
		return nil, nil, err
	}
	if len(r.labels) != len(r.ids) {
		return nil, nil, fmt.Errorf("%s and %s differ in length: %d and %d",
			r.name(fieldInputIDs), r.name(fieldLabels), len(r.ids), len(r.labels))
	}
	for i, label := range r.labels {
		if label != Ignore && uint(label) >= uint(e.vocab) {
			return nil, nil, fmt.Errorf("%s[%d] is %d, neither %d nor in the vocabulary of %d tokens",
				r.name(fieldLabels), i, label, Ignore, e.vocab)
		}
	}
	return r.ids, r.labels, nil
}

// pair encodes a prompt and its completion: texts, or as TRL has them also messages.
func (e *encoder) pair(r *row) (ids, labels []int32, err error) {
	if r.value(fieldPrompt).peek() == '[' {
		return e.chat(r, promptKind)
	}
	prompt, err := r.text(fieldPrompt)
	if err != nil {
		return nil, nil, err
	}
	completion, err := r.text(fieldCompletion)
	if err != nil {
		return nil, nil, err
	}
	return e.completion(prompt, completion)
}

// The prompts of Stanford Alpaca (train.py, PROMPT_DICT), with the newline after "### Response:" that alpaca-lora,
// LLM-Adapters and axolotl have.
const (
	alpacaIntro      = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
	alpacaIntroInput = "Below is an instruction that describes a task, paired with an input that provides further context. " +
		"Write a response that appropriately completes the request."
)

// alpacaPrompt is the text that the output of an instruction follows. A system text takes the place of the introduction.
func alpacaPrompt(system, instruction, input string) string {
	intro := alpacaIntro
	if input != "" {
		intro, input = alpacaIntroInput, "### Input:\n"+input+"\n\n"
	}
	if system != "" {
		intro = system
	}
	return intro + "\n\n### Instruction:\n" + instruction + "\n\n" + input + "### Response:\n"
}

func (e *encoder) alpaca(r *row) (ids, labels []int32, err error) {
	var text [4]string
	for i, f := range []field{fieldSystem, fieldInstruction, fieldInput, fieldOutput} {
		if text[i], err = r.text(f); err != nil {
			return nil, nil, err
		}
	}
	if r.has&fieldHistory != 0 {
		if v, err := r.value(fieldHistory).jinja(2); err != nil || v != nil && v != "" && !emptyList(v) {
			return nil, nil, fault.New(fault.Malformed, "", "%s: earlier turns of an instruction are not supported", r.name(fieldHistory)).
				WithHint("write such rows as conversations, with the turns in \"messages\"")
		}
	}
	return e.completion(alpacaPrompt(text[0], text[1], text[2]), text[3])
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

// commonPrefix returns the number of leading elements that a and b share.
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
