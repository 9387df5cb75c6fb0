package cli

import (
	"os"
	"strings"
	"testing"
)

// TestBadData: train.jsonl cannot be trained or scored on. Messages name the line.
func TestBadData(t *testing.T) {
	const lines = `train --config run.yaml
train --config run.yaml --dry-run
eval base --data train.jsonl
mask base --mask grad --density 0.1 --data train.jsonl --max-seq-length 64 -o new.st`
	rows := func(text string) func(*world) { return func(w *world) { w.write("train.jsonl", text) } }
	// third makes a line the third, after two that are right.
	third := func(line string) func(*world) {
		return rows("{\"text\": \"a cat\"}\n{\"text\": \"a dog\"}\n" + line + "\n{\"text\": \"a cow\"}\n")
	}
	ids := func(row string) func(*world) { return rows("{\"input_ids\": [5, 6, 7]}\n" + row + "\n") }
	runBad(t, lines, []bad{
		{"absent", func(w *world) { w.remove("train.jsonl") }, 5, "train.jsonl: |no such file", ""},
		{"empty", rows(""), 3, "train.jsonl: the file has no rows", ""},
		{"blank lines", rows("\n \n\t\n"), 3, "train.jsonl: the file has no rows", ""},
		{"a directory", func(w *world) { w.remove("train.jsonl"); w.must(os.Mkdir("train.jsonl", 0o755)) }, 3, "train.jsonl: |directory", ""},
		{"not JSON", third("{text}"), 3, "train.jsonl:3: ", ""},
		{"JSON that ends early", third(`{"text": "a`), 3, "train.jsonl:3: ", ""},
		{"two values on a line", third(`{"text": "a"} {"text": "b"}`), 3, "train.jsonl:3: ", ""},
		{"a row that is no object", third(`["text"]`), 3, "train.jsonl:3: ", ""},
		{"a row of null", third("null"), 3, "train.jsonl:3: ", ""},
		{"a text that is a number", third(`{"text": 5}`), 3, "train.jsonl:3: ", ""},
		{"a key twice", third(`{"text": "a", "text": "b"}`), 3, "train.jsonl:3: ", ""},
		{"no key that is known", third(`{"story": "a"}`), 3, "train.jsonl:3: ", ""},
		{"rows of two kinds", third(`{"prompt": "a", "completion": "b"}`), 3, "train.jsonl:3: ", ""},
		{"not UTF-8", third("{\"text\": \"\xff\xfe\"}"), 3, "train.jsonl:3: ", ""},
		{"UTF-16", rows("\xff\xfe{\x00}\x00\n\x00"), 3, "train.jsonl", ""},
		{"lone surrogate", third(`{"text": "\ud800"}`), 3, "train.jsonl:3: ", ""},
		{"deep row", third(`{"text": "a", "x": ` + strings.Repeat("[", 1<<20)), 3, "train.jsonl:3: ", ""},
		{"several bad rows", rows("{\n{\"text\": \"a\"}\n[\n}\n"), 3, "train.jsonl:1: |bad too: line 3, 4", ""},
		{"a line of 70 MB", func(w *world) {
			w.write("train.jsonl", `{"text": "`)
			w.must(os.Truncate("train.jsonl", 70<<20))
		}, 3, "train.jsonl:1: ", ""},
		{"gzip", rows("\x1f\x8b\x08\x00" + strings.Repeat("\x00", 60)), 3, "train.jsonl", ""},
		{"Git LFS pointer", rows("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), 3, "train.jsonl:1: ", ""},
		{"token beyond the vocabulary", ids(`{"input_ids": [5, 99]}`), 3, `train.jsonl:2: "input_ids"[1] is 99, outside the vocabulary of 99 tokens`, ""},
		{"negative token", ids(`{"input_ids": [5, -1]}`), 3, "train.jsonl:2: ", ""},
		{"token that is a fraction", ids(`{"input_ids": [5, 1.5]}`), 3, "train.jsonl:2: ", ""},
		{"token beyond 64 bits", ids(`{"input_ids": [5, 99999999999999999999]}`), 3, "train.jsonl:2: ", ""},
		{"token that is a text", ids(`{"input_ids": [5, "6"]}`), 3, "train.jsonl:2: ", ""},
		{"labels of another length", ids(`{"input_ids": [5, 6], "labels": [5]}`), 3, `train.jsonl:2: "input_ids" and "labels" differ in length: 2 and 1`, ""},
		{"label beyond the vocabulary", ids(`{"input_ids": [5, 6], "labels": [5, 99]}`), 3, `train.jsonl:2: "labels"[1] is 99`, ""},
		{"all labels masked", rows(`{"input_ids": [5, 6], "labels": [-100, -100]}`), 3, "train.jsonl:1: no token to predict", ""},
		{"one token only", rows(`{"input_ids": [5]}`), 3, "train.jsonl:1: no token to predict", ""},
	})
	runBad(t, "train --config run.yaml\ntrain --config run.yaml --dry-run", []bad{
		{"prompts that fill the row", rows(`{"prompt": "` + strings.Repeat("a", 80) + `", "completion": "b"}`), 3, "no token to predict|rows cut at the maximum length: 1; a larger max_seq_length", ""},
		{"validation file", func(w *world) {
			w.write("run.yaml", goodConfig+"validation_file: valid.jsonl\n")
			w.write("valid.jsonl", "{}\n")
		}, 3, "valid.jsonl:1: ", ""},
	})
}
