// Package data turns JSONL examples into token batches for decoder training and scoring.
//
// A file holds one JSON object per line, all of one kind:
//
//	{"text": "…"}                              every token counts
//	{"prompt": "…", "completion": "…"}         the completion's tokens and the EOS after it count
//	{"input_ids": [1, 5], "labels": [-100, 5]} as given; without labels every token counts
//
// Load reads and encodes a file, a Loader hands it out in training batches, and Dataset.Batches in scoring batches.
// Batches hold sequences end to end: there is no padding.
package data

import "shira/internal/fault"

// Ignore is the label of a token whose prediction does not count.
const Ignore = -100

// Tokenizer is what encoding rows of text needs. Its methods must be safe for concurrent use.
type Tokenizer interface {
	EncodeSpecial(text string) []int32 // with the special tokens the model expects around a text, such as BOS
	EOS() (id int32, ok bool)          // ok is false when the tokenizer names no end-of-sequence token
	VocabSize() int                    // highest id + 1
}

// Options says what Load reads and how it encodes it.
type Options struct {
	Path         string
	Tokenizer    Tokenizer // nil: the file may hold input_ids rows only
	VocabSize    int       // ids must be below it; 0 takes the tokenizer's, or no bound without one
	MaxLength    int       // a row keeps its first MaxLength tokens; 0 keeps all
	AppendEOS    bool      // end text rows with EOS, as completions always are
	OmitEOS      bool      // append EOS to no row at all, for scoring; overrides AppendEOS
	Limit        int       // read the first Limit rows only; 0 reads all
	MaxLineBytes int       // a longer line is an error; 0 means DefaultMaxLineBytes
}

// DefaultMaxLineBytes bounds a line where Options.MaxLineBytes is 0: 64 MiB.
const DefaultMaxLineBytes = 64 << 20

// Example is one encoded row. It is read-only: Labels may share the memory of IDs.
type Example struct {
	IDs    []int32
	Labels []int32 // Labels[i] is the token to predict at i, given the ones before, or Ignore; Labels[0] never counts
	Row    int     // index of the row in the file, from 0, blank lines skipped
	Line   int     // line of the file, from 1
}

// Counted returns how many tokens of the example count: those with a label and at least one token before them.
func (e Example) Counted() int { return counted(e.Labels) }

// counted returns the number of labels that count; the first has nothing before it to be predicted from.
func counted(labels []int32) int {
	if len(labels) == 0 {
		return 0
	}
	n := 0
	for _, l := range labels[1:] {
		if l != Ignore {
			n++
		}
	}
	return n
}

// Stats counts what Load read and what it kept of it.
type Stats struct {
	Rows        int   // rows read
	Truncated   int   // rows cut at MaxLength
	NoLabels    int   // rows dropped because no token of them counts, after truncation
	Tokens      int64 // in the examples kept
	LabelTokens int64 // of those, the ones that count
	Longest     int   // tokens of the longest example kept
}

// Dataset is a file of examples in memory, about 4 bytes a token and 8 where rows have labels of their own.
type Dataset struct {
	Path     string
	Examples []Example // at least one, each with at least one counted token, in file order
	Stats    Stats
	SHA256   string // of the file's bytes in hex; where Limit cut it short, of the lines read
}

// check refuses options that no file could satisfy.
func (o *Options) check() error {
	for _, v := range []struct {
		name  string
		value int
	}{{"vocabulary size", o.VocabSize}, {"maximum length", o.MaxLength}, {"row limit", o.Limit}, {"line cap", o.MaxLineBytes}} {
		if v.value < 0 {
			return fault.New(fault.Usage, o.Path, "%s is negative: %d", v.name, v.value)
		}
	}
	return nil
}
