// Package data turns files of examples into token batches for decoder training and scoring.
//
// A file is JSONL, a JSON array, CSV, TSV, Parquet or plain text; its rows are texts, prompts with completions,
// instructions, conversations or tokens. docs/data.md shows each form.
//
// Load reads and encodes files, a Loader hands the examples out in training batches, and Dataset.Batches in scoring
// batches. Batches hold sequences end to end: there is no padding.
package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"shira/internal/fault"
)

// Ignore is the label of a token whose prediction does not count.
const Ignore = -100

// Tokenizer is what encoding rows of text needs. Its methods must be safe for concurrent use.
type Tokenizer interface {
	Encode(text string) []int32        // without special tokens but those written in the text
	EncodeSpecial(text string) []int32 // with the special tokens the model expects around a text, such as BOS
	Decode(ids []int32) string         // special tokens included
	IsSpecial(id int32) bool           // no part of the text: BOS, EOS, the end of a turn
	EOS() (id int32, ok bool)          // ok is false when the tokenizer names no end-of-sequence token
	VocabSize() int                    // highest id + 1
}

// Options says what Load reads and how it encodes it.
type Options struct {
	Files         []File
	Tokenizer     Tokenizer // nil: the files may hold input_ids rows only
	Template      *Template // for conversations; nil: there may be none
	VocabSize     int       // ids must be below it; 0 takes the tokenizer's, or no bound without one
	MaxLength     int       // a row keeps its first MaxLength tokens; 0 keeps all
	AppendEOS     bool      // end text rows with EOS, as completions always are
	OmitEOS       bool      // append EOS to no row at all, for scoring; overrides AppendEOS
	TrainOnInputs bool      // prompts count too
	Limit         int       // read the first Limit rows of each file only; 0 reads all
	MaxLineBytes  int       // a longer row is an error; 0 means DefaultMaxLineBytes
	TempDir       string    // for tokens that shall not stay in memory; "" is the system's
	InMemory      int       // tokens, in bytes, that may; 0 means DefaultInMemory
}

// Defaults of Options.
const (
	DefaultMaxLineBytes = 64 << 20
	DefaultInMemory     = 16 << 20
)

// Example is one encoded row. It is read-only: Labels may share the memory of IDs, and both are the Dataset's.
type Example struct {
	IDs    []int32
	Labels []int32 // Labels[i] is the token to predict at i, given the ones before, or Ignore; Labels[0] never counts
	Row    int     // index of the row in its file, from 0, blank lines skipped
	Line   int     // line of the file, from 1; of a Parquet file the row, from 1
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

func (s *Stats) add(o Stats) {
	s.Rows += o.Rows
	s.Truncated += o.Truncated
	s.NoLabels += o.NoLabels
	s.Tokens += o.Tokens
	s.LabelTokens += o.LabelTokens
	s.Longest = max(s.Longest, o.Longest)
}

// Source is a file of a dataset.
type Source struct {
	File
	Stats
	Kind     string // of its rows, as File.Type names them
	First    int    // index of its first example
	Examples int    // at least one, but where Pick left none
}

// Dataset is the examples of some files, each with at least one counted token, in the order of the files. Beyond
// Options.InMemory the tokens lie in a temporary file that is mapped. In memory are 24 bytes an example.
type Dataset struct {
	Sources []Source
	Stats   Stats  // of all files
	SHA256  string // of the files' bytes in hex, "" where Limit cut one short

	index  []entry
	tokens []int32 // of all examples: ids, and after them the labels where they are not the ids
	store  *store
}

// entry is where an example lies.
type entry struct {
	at        int64 // in Dataset.tokens
	tokens    int32
	row, line int32
	file      uint16 // in Dataset.Sources
	own       bool   // has labels of its own
	cut       bool   // at the maximum length
}

// Len returns the number of examples, at least one.
func (d *Dataset) Len() int { return len(d.index) }

// Tokens returns the number of tokens of example i.
func (d *Dataset) Tokens(i int) int { return int(d.index[i].tokens) }

// Example returns example i, from 0.
func (d *Dataset) Example(i int) Example {
	e := d.index[i]
	end := e.at + int64(e.tokens)
	ex := Example{IDs: d.tokens[e.at:end:end], Row: int(e.row), Line: int(e.line)}
	ex.Labels = ex.IDs
	if e.own {
		ex.Labels = d.tokens[end : end+int64(e.tokens) : end+int64(e.tokens)]
	}
	return ex
}

// Digest returns a hash of the tokens and labels of all examples, which a tokenizer or chat template decides as much as files
// do.
func (d *Dataset) Digest() string {
	h := sha256.New()
	b := make([]byte, 0, 1<<14)
	flush := func() {
		h.Write(b)
		b = b[:0]
	}
	for i := range d.Len() {
		ex := d.Example(i)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(ex.IDs)))
		for _, list := range [][]int32{ex.IDs, ex.Labels} {
			for _, v := range list {
				if len(b)+4 > cap(b) {
					flush()
				}
				b = binary.LittleEndian.AppendUint32(b, uint32(v))
			}
		}
		flush()
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Place says where example i comes from: "path:line".
func (d *Dataset) Place(i int) string {
	e := d.index[i]
	return fmt.Sprintf("%s:%d", d.Sources[e.file].Path, e.line)
}

// Pick returns the examples of the given ascending indices as a dataset, whose statistics are of these alone. It shares the memory of d, which must stay open.
func (d *Dataset) Pick(indices []int) *Dataset {
	p := &Dataset{Sources: slices.Clone(d.Sources), SHA256: d.SHA256, tokens: d.tokens}
	for f := range p.Sources {
		p.Sources[f].Examples, p.Sources[f].Stats = 0, Stats{}
	}
	for _, i := range indices {
		e, s := d.index[i], &p.Sources[d.index[i].file]
		if s.Examples++; s.Examples == 1 {
			s.First = len(p.index)
		}
		s.Rows++
		if e.cut {
			s.Truncated++
		}
		s.Tokens += int64(e.tokens)
		s.LabelTokens += int64(d.Example(i).Counted())
		s.Longest = max(s.Longest, int(e.tokens))
		p.index = append(p.index, e)
	}
	for _, s := range p.Sources {
		p.Stats.add(s.Stats)
	}
	return p
}

// HoldOut splits the dataset by the seed into examples to train on and others to validate on: size is the share of the
// latter below 1, and their number otherwise. Both keep the order, and share d's memory.
func (d *Dataset) HoldOut(size float64, seed uint64) (train, valid *Dataset, err error) {
	n := int(min(size, float64(d.Len())))
	if size < 1 {
		n = max(1, int(math.Round(size*float64(d.Len()))))
	}
	if n >= d.Len() {
		return nil, nil, fault.New(fault.Usage, d.Name(), "%d examples to hold out of %d: none would be left to train on", n, d.Len())
	}
	order := make([]int32, d.Len())
	permute(order, seed, holdOutStream)
	held := make([]bool, d.Len())
	for _, i := range order[:n] {
		held[i] = true
	}
	var rest, out []int
	for i, h := range held {
		if h {
			out = append(out, i)
		} else {
			rest = append(rest, i)
		}
	}
	train, valid = d.Pick(rest), d.Pick(out)
	for f := range train.Sources { // what was read and not kept goes with the former
		t, v, s := &train.Sources[f], valid.Sources[f], d.Sources[f]
		t.Rows, t.Truncated, t.NoLabels = s.Rows-v.Rows, s.Truncated-v.Truncated, s.NoLabels
	}
	train.Stats.Rows, train.Stats.Truncated = d.Stats.Rows-valid.Stats.Rows, d.Stats.Truncated-valid.Stats.Truncated
	train.Stats.NoLabels = d.Stats.NoLabels
	return train, valid, nil
}

// holdOutStream is the random stream of HoldOut.
const holdOutStream = packStream - 1

// Name is the first file's path, and how many more there are.
func (d *Dataset) Name() string {
	if n := len(d.Sources); n > 1 {
		return fmt.Sprintf("%s and %d more", d.Sources[0].Path, n-1)
	}
	return d.Sources[0].Path
}

// Resident returns the bytes of memory that the dataset holds, without what is mapped.
func (d *Dataset) Resident() int64 {
	n := int64(cap(d.index)) * entryBytes
	if d.store == nil || d.store.mapping == nil {
		n += 4 * int64(len(d.tokens))
	}
	return n
}

const entryBytes = 24

// maxFiles is what entry.file counts.
const maxFiles = 1 << 16

// Close frees the temporary file, if there is one. Examples must not be used afterwards.
func (d *Dataset) Close() error {
	d.tokens = nil
	if d.store == nil {
		return nil
	}
	return d.store.close()
}

// check refuses options that no file could satisfy.
func (o *Options) check() error {
	path := ""
	if len(o.Files) > 0 {
		path = o.Files[0].Path
	}
	for _, v := range []struct {
		name  string
		value int
	}{{"vocabulary size", o.VocabSize}, {"maximum length", o.MaxLength}, {"row limit", o.Limit}, {"line cap", o.MaxLineBytes}} {
		if v.value < 0 {
			return fault.New(fault.Usage, path, "%s is negative: %d", v.name, v.value)
		}
	}
	if n := len(o.Files); n == 0 || n > maxFiles {
		return fault.New(fault.Usage, "", "want 1 to %d files of examples, got %d", maxFiles, n)
	}
	for _, f := range o.Files {
		if err := f.check(); err != nil {
			return err
		}
	}
	return nil
}
