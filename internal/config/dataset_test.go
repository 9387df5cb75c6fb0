package config

import (
	"fmt"
	"strings"
	"testing"
)

const noData = "model_name_or_path: base\noutput_dir: out\nr: 2\n"

func TestDatasets(t *testing.T) {
	for text, want := range map[string]string{
		"datasets: [a.jsonl, b.json]": "[{path: a.jsonl} {path: b.json}]",
		"datasets:\n- path: a.jsonl\n  type: chat_template\n  weight: 1.5\n  field_messages: m\n  message_property_mappings: {role: from, content: value}": "[{path: a.jsonl, type: chat, weight: 1.5, field_messages: m, message_field_role: from, message_field_content: value}]",
		"datasets:\n- {path: a, type: completion, field: body, ds_type: json, sample_by: null}":                                                            "[{path: a, type: text, format: json, field_text: body}]",
		"datasets:\n- {path: 'a, b.txt', sample_by: paragraph, message_field_role: r}":                                                                     `[{path: "a, b.txt", sample_by: paragraph, message_field_role: r}]`,
	} {
		r, err := Parse("run.yaml", []byte(noData+text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := fmt.Sprint(r.TrainData()); got != want {
			t.Errorf("%s\ngives %s\nwant  %s", text, got, want)
		}
	}
	r, err := Parse("run.yaml", []byte(noData+"train_file: a\ntest_datasets: [b]"), Override{Layer: Flag, Name: "validation_datasets", Value: "[{path: c, type: text}]"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.TrainData(), r.ValidationData(), r.Validates()); got != "[{path: a}] [{path: c, type: text}] true" {
		t.Error(got)
	}
}

func TestDatasetErrors(t *testing.T) {
	for text, want := range map[string]string{
		"datasets: a.jsonl":                                            "run.yaml:4: datasets: want a list of files",
		"datasets: []":                                                 "run.yaml:4: datasets: is an empty list",
		"datasets: [[a]]":                                              "entry 1: want a path or a mapping",
		"datasets: [{type: text}]":                                     "entry 1: path is missing",
		"datasets: [a, {path: b, type: poem}]":                         `entry 2: "type": want one of alpaca, chat, prompt_completion, sharegpt, text, tokens, got "poem"`,
		"datasets: [{path: b, tpye: text}]":                            `entry 1: "tpye": unknown key; did you mean type?`,
		"datasets: [{path: b, weight: 0}]":                             `entry 1: "weight": want a number above 0, got "0"`,
		"datasets: [{path: b, path: c}]":                               "entry 1: has \"path\" twice",
		"datasets: [{path: b, field: x, field_text: y}]":               "entry 1: has \"field_text\" twice",
		"datasets: [{path: b, format: xls}]":                           `entry 1: "format": want one of json, csv, tsv, parquet, text, got "xls"`,
		"datasets: [{path: [b]}]":                                      `entry 1: "path": want a value`,
		"datasets: [{path: b, message_property_mappings: {rolle: x}}]": `entry 1: "message_property_mappings": want one of role, content, got "rolle"`,
		"datasets: [a]\ntrain_file: b":                                 "datasets: give it or train_file, not both",
		"train_file: a\nvalidation_file: b\nval_set_size: 3":           "val_set_size: give it or validation_file, not both",
		"train_file: a\nval_set_size: 1.5":                             "val_set_size: want a share below 1 or a whole number of examples, got 1.5",
		"datasets: &a [*a]":                                            "want a path or a mapping",
	} {
		_, err := Parse("run.yaml", []byte(noData+text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v\nwant  %s", text, err, want)
		}
	}
}

// TestInputsByOtherNames reads what the peers call train_on_inputs.
func TestInputsByOtherNames(t *testing.T) {
	for text, want := range map[string]bool{
		"mask_prompt: false": true, "mask_prompt: true": false, "completion_only_loss: false": true, "assistant_only_loss: true": false,
		"train_on_prompt: true": true, "chat_template: tokenizer_default": false,
	} {
		r, err := Parse("run.yaml", []byte(noData+"train_file: a\n"+text))
		if err != nil || r.TrainOnInputs != want || r.ChatTemplate != "" {
			t.Errorf("%s: %v", text, err)
		}
	}
}
