package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"shira/internal/fault"
	"shira/internal/spell"
)

// Dataset is a file of examples and how to read it: an entry of datasets, or what train_file stands for.
type Dataset struct {
	Path     string
	Type     string            // of rows, a name of DatasetTypes; "" = as their fields say
	Format   string            // of the file, one of DatasetFormats; "" = as its name and content say
	SampleBy string            // what a plain text is cut into, one of DatasetSamples; "" = at <|endoftext|> where it has that, else lines
	Weight   float64           // share of the mixture; 0 = none given
	Columns  map[string]string // names of fields in the file, by their usual names
}

// DatasetTypes are the kinds of rows, and what axolotl, LLaMA-Factory and TRL call them.
var DatasetTypes = map[string][]string{
	"text":              {"completion", "pretrain", "pt"},
	"prompt_completion": {"prompt-completion"},
	"alpaca":            {"instruction"},
	"chat":              {"chat_template", "messages", "openai"},
	"sharegpt":          {"conversations"},
	"tokens":            {"tokenized", "input_ids"},
}

// The values of format and sample_by.
var (
	DatasetFormats = []string{"json", "csv", "tsv", "parquet", "text"}
	DatasetSamples = []string{"line", "paragraph", "document"}
)

// datasetFields are the fields that field_NAME renames.
var datasetFields = []string{"text", "prompt", "completion", "instruction", "input", "output", "system", "messages", "conversations", "tools",
	"input_ids", "labels"}

// messageFields are those of a message that message_property_mappings renames.
var messageFields = []string{"role", "content"}

// datasetKeys maps other names of an entry's keys to those used here.
var datasetKeys = map[string]string{
	"ds_type": "format", "field": "field_text", "message_field_role": "message_role", "message_field_content": "message_content",
}

// listsDatasets says whether the key's value is a list of them.
func (k *Key) listsDatasets() bool {
	_, ok := k.field(new(Train)).(*[]Dataset)
	return ok
}

// datasets reads the value of a key that lists datasets. A text, as a flag gives it, is YAML.
func (s scalar) datasets() ([]Dataset, string) {
	n := s.node
	if n == nil {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(s.text), &doc); err != nil || len(doc.Content) == 0 {
			return nil, "want a list of files, as [{path: a.jsonl, type: alpaca}]"
		}
		n = doc.Content[0]
	}
	n = follow(n)
	if n.Kind != yaml.SequenceNode {
		return nil, "want a list of files, as [{path: a.jsonl, type: alpaca}]"
	}
	if len(n.Content) == 0 {
		return nil, "is an empty list"
	}
	var list []Dataset
	for i, item := range n.Content {
		d, msg := readDataset(follow(item))
		if msg != "" {
			return nil, fmt.Sprintf("entry %d: %s", i+1, msg)
		}
		list = append(list, d)
	}
	return list, ""
}

// readDataset reads one entry: a path, or a mapping.
func readDataset(n *yaml.Node) (d Dataset, msg string) {
	switch n.Kind {
	case yaml.ScalarNode:
		if d.Path = textOf(n).text; d.Path == "" {
			return d, "want a path"
		}
		return d, ""
	case yaml.MappingNode:
	default:
		return d, "want a path or a mapping"
	}
	d.Columns = map[string]string{}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := follow(n.Content[i]).Value, follow(n.Content[i+1])
		name := key
		if known, ok := datasetKeys[key]; ok {
			name = known
		}
		if seen[name] {
			return d, fmt.Sprintf("has %s twice", fault.Quote(key))
		}
		seen[name] = true
		if msg := d.set(name, value); msg != "" {
			return d, fmt.Sprintf("%s: %s", fault.Quote(key), msg)
		}
	}
	if d.Path == "" {
		return d, "path is missing"
	}
	return d, ""
}

// set gives a key of an entry its value.
func (d *Dataset) set(name string, n *yaml.Node) string {
	if name == "message_property_mappings" {
		return d.setMessages(n)
	}
	if n.Kind != yaml.ScalarNode {
		return "want a value"
	}
	v := textOf(n)
	if v.null {
		return "" // as if it were not there
	}
	switch name {
	case "path":
		d.Path = v.text
	case "type":
		d.Type = datasetType(v.text)
		if d.Type == "" {
			return wantOf(slices.Sorted(maps.Keys(DatasetTypes)), v.text)
		}
	case "format":
		d.Format = v.text
		return wantOf(DatasetFormats, v.text)
	case "sample_by":
		d.SampleBy = v.text
		return wantOf(DatasetSamples, v.text)
	case "weight":
		if v.quoted || parse(&d.Weight, v.text) != nil || d.Weight <= 0 {
			return "want a number above 0, got " + fault.Quote(v.text)
		}
	case "message_role", "message_content":
		d.Columns[strings.TrimPrefix(name, "message_")] = v.text
	default:
		field, ok := strings.CutPrefix(name, "field_")
		if !ok || !slices.Contains(datasetFields, field) {
			return unknownDatasetKey(name)
		}
		d.Columns[field] = v.text
	}
	return ""
}

// setMessages reads what the fields of messages are called.
func (d *Dataset) setMessages(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return "want a mapping, as {role: from, content: value}"
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := follow(n.Content[i]).Value, follow(n.Content[i+1])
		if !slices.Contains(messageFields, key) {
			return wantOf(messageFields, key)
		}
		if value.Kind != yaml.ScalarNode || value.Value == "" {
			return "want a mapping, as {role: from, content: value}"
		}
		d.Columns[key] = value.Value
	}
	return ""
}

func unknownDatasetKey(name string) string {
	names := []string{"path", "type", "format", "sample_by", "weight", "message_property_mappings"}
	for _, f := range datasetFields {
		names = append(names, "field_"+f)
	}
	if meant, ok := spell.Nearest(name, names); ok {
		return fmt.Sprintf("unknown key; did you mean %s?", meant)
	}
	return "unknown key: want one of " + strings.Join(names, ", ")
}

// datasetType returns the name of the type of that name or alias, "" if there is none.
func datasetType(name string) string {
	for t, aliases := range DatasetTypes {
		if t == name || slices.Contains(aliases, name) {
			return t
		}
	}
	return ""
}

// wantOf says what a value must be one of, "" when it is.
func wantOf(choices []string, v string) string {
	if slices.Contains(choices, v) {
		return ""
	}
	return fmt.Sprintf("want one of %s, got %s", strings.Join(choices, ", "), fault.Quote(v))
}

// String is the entry as YAML.
func (d Dataset) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			if strings.ContainsAny(value, ",{}[]:#\"' ") {
				value = fault.Quote(value)
			}
			parts = append(parts, name+": "+value)
		}
	}
	add("path", d.Path)
	add("type", d.Type)
	add("format", d.Format)
	add("sample_by", d.SampleBy)
	if d.Weight > 0 {
		add("weight", formatFloat(d.Weight))
	}
	for _, f := range datasetFields {
		add("field_"+f, d.Columns[f])
	}
	for _, f := range messageFields {
		add("message_field_"+f, d.Columns[f])
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// texts are datasets as a list of texts.
func texts(list []Dataset) []string {
	out := make([]string, len(list))
	for i, d := range list {
		out[i] = d.String()
	}
	return out
}

// TrainData returns the files to train on.
func (t *Train) TrainData() []Dataset {
	if t.TrainFile != "" {
		return []Dataset{{Path: t.TrainFile}}
	}
	return t.Datasets
}

// ValidationData returns the files to validate on; there are none where val_set_size holds some of the training data out.
func (t *Train) ValidationData() []Dataset {
	if t.ValidationFile != "" {
		return []Dataset{{Path: t.ValidationFile}}
	}
	return t.ValidationDatasets
}

// Validates says whether the run evaluates held-out data.
func (t *Train) Validates() bool { return len(t.ValidationData()) > 0 || t.ValSetSize > 0 }

// dataRelations checks what the keys of data mean together.
func (t *Train) dataRelations(add func(key, format string, args ...any), wrong func(key string) bool) {
	if t.TrainFile != "" && len(t.Datasets) > 0 {
		add("datasets", "give it or train_file, not both")
	}
	given := ""
	for _, held := range []struct {
		key string
		on  bool
	}{{"validation_file", t.ValidationFile != ""}, {"validation_datasets", len(t.ValidationDatasets) > 0}, {"val_set_size", t.ValSetSize > 0}} {
		switch {
		case !held.on:
		case given != "":
			add(held.key, "give it or %s, not both", given)
		default:
			given = held.key
		}
	}
	if v := t.ValSetSize; v >= 1 && v != float64(int64(v)) && !wrong("val_set_size") {
		add("val_set_size", "want a share below 1 or a whole number of examples, got %g", v)
	}
}
