package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"shira/internal/config"
	"shira/internal/data"
	"shira/internal/fault"
)

// fileFlags are the flags that say how a file of examples is read.
type fileFlags struct {
	kind, format, sampleBy string
	fields                 []string
	chatTemplate           string
}

// flagsOfFiles are their names.
var flagsOfFiles = []string{"type", "field", "format", "sample-by", "chat-template"}

func (f *fileFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.kind, "type", "", "`TYPE` of the rows, see \"shira help formats\"; by default what their fields say")
	flags.StringArrayVar(&f.fields, "field", nil, "`NAME=COLUMN`: what a field is called in the file; may be repeated")
	flags.StringVar(&f.format, "format", "", "`FORMAT` of the file; by default what its name and content say")
	flags.StringVar(&f.sampleBy, "sample-by", "", "cut a plain text into `PIECES`: line, paragraph or document")
	flags.StringVar(&f.chatTemplate, "chat-template", "", "`FILE` of Jinja, or chatml, for conversations; by default the model's")
}

// file returns how the file at path is read.
func (f *fileFlags) file(path string) (data.File, error) {
	file := data.File{Path: path, Format: f.format, SampleBy: f.sampleBy, Columns: map[string]string{}}
	if f.kind != "" {
		kind, ok := data.TypeNamed(f.kind)
		if !ok {
			return file, fault.New(fault.Usage, "", "--type: want one of %s, got %s", strings.Join(data.Types(), ", "), fault.Quote(f.kind))
		}
		file.Type = kind
	}
	for _, field := range f.fields {
		name, column, ok := strings.Cut(field, "=")
		if !ok || column == "" || !slices.Contains(data.Fields, name) {
			return file, fault.New(fault.Usage, "", "--field: want NAME=COLUMN with a NAME of %s, got %s", strings.Join(data.Fields, ", "), fault.Quote(field))
		}
		file.Columns[name] = column
	}
	return file, nil
}

// evalData is what to score next as arguments of eval: the first file of the validation data, or else of the training data.
func evalData(cfg *config.Train) string {
	d := append(cfg.ValidationData(), cfg.TrainData()...)[0]
	args := shellQuote(d.Path)
	for _, f := range []struct{ flag, value string }{
		{"type", d.Type}, {"format", d.Format}, {"sample-by", d.SampleBy}, {"chat-template", cfg.ChatTemplate},
	} {
		if f.value != "" {
			args += " --" + f.flag + " " + shellQuote(f.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Columns)) {
		args += " --field " + shellQuote(name+"="+d.Columns[name])
	}
	return args
}
