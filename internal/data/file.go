package data

import (
	"slices"
	"strings"

	"shira/internal/fault"
)

// File is a file of examples and how to read it.
type File struct {
	Path     string
	Type     string            // of its rows, a name of Types; "" = as their fields say
	Format   string            // of the file, one of Formats; "" = as its name and content say
	Columns  map[string]string // names of fields in the file, by their usual names (see Fields)
	Weight   float64           // share in a mixture of files; 0 = none given
	SampleBy string            // what a plain text is cut into, one of Samples; "" = see there
}

// Files returns the files at the given paths, read as their names and content say.
func Files(paths ...string) []File {
	files := make([]File, len(paths))
	for i, p := range paths {
		files[i].Path = p
	}
	return files
}

// Formats of files.
const (
	formatJSON    = "json" // an array, or an object a line
	formatCSV     = "csv"
	formatTSV     = "tsv"
	formatParquet = "parquet"
	formatText    = "text"
)

// Formats lists the formats of files.
var Formats = []string{formatJSON, formatCSV, formatTSV, formatParquet, formatText}

// What a plain text is cut into.
const (
	byLine      = "line"
	byParagraph = "paragraph"
	byDocument  = "document"
)

// Samples lists what a plain text may be cut into: lines, paragraphs (blank lines are between them), or nothing. Without
// a choice it is cut at documentMark where that occurs, and into lines otherwise.
var Samples = []string{byLine, byParagraph, byDocument}

// documentMark stands between the documents of a plain text.
const documentMark = "<|endoftext|>"

// rowType is a kind of rows.
type rowType struct {
	name     string
	aliases  []string // of axolotl, LLaMA-Factory and TRL
	required field
	optional field
}

// rowTypes is the table of kinds.
var rowTypes = []rowType{
	{"text", []string{"completion", "pretrain", "pt"}, fieldText, 0},
	{"prompt_completion", []string{"prompt-completion"}, fieldPrompt | fieldCompletion, 0},
	{"alpaca", []string{"instruction"}, fieldInstruction | fieldOutput, fieldInput | fieldSystem | fieldHistory},
	{"chat", []string{"chat_template", "messages", "openai", "chatml"}, fieldMessages, fieldSystem | fieldTools},
	{"sharegpt", []string{"conversations"}, fieldConversations, fieldSystem | fieldTools},
	{"tokens", []string{"tokenized", "input_ids"}, fieldInputIDs, fieldLabels},
}

// The kinds, as indices of rowTypes.
const (
	textKind = iota
	promptKind
	alpacaKind
	chatKind
	shareGPTKind
	tokenKind
)

// TypeNamed returns the name of the kind of rows of that name or alias.
func TypeNamed(name string) (string, bool) {
	if i := typeIndex(name); i >= 0 {
		return rowTypes[i].name, true
	}
	return "", false
}

func typeIndex(name string) int {
	return slices.IndexFunc(rowTypes, func(t rowType) bool { return t.name == name || slices.Contains(t.aliases, name) })
}

// Types lists the names of the kinds of rows.
func Types() []string {
	names := make([]string, len(rowTypes))
	for i, t := range rowTypes {
		names[i] = t.name
	}
	return names
}

// check refuses what is no way to read a file.
func (f *File) check() error {
	bad := func(what, have string, choices []string) error {
		return fault.New(fault.Usage, f.Path, "%s: want one of %s, got %s", what, strings.Join(choices, ", "), fault.Quote(have))
	}
	switch {
	case f.Type != "" && typeIndex(f.Type) < 0:
		return bad("type", f.Type, Types())
	case f.Format != "" && !slices.Contains(Formats, f.Format):
		return bad("format", f.Format, Formats)
	case f.SampleBy != "" && !slices.Contains(Samples, f.SampleBy):
		return bad("sample_by", f.SampleBy, Samples)
	case f.Weight < 0 || f.Weight-f.Weight != 0:
		return fault.New(fault.Usage, f.Path, "weight: want more than 0, got %g", f.Weight)
	}
	for name := range f.Columns {
		if !slices.Contains(Fields, name) {
			return bad("columns", name, Fields)
		}
	}
	return nil
}
