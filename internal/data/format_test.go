package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// writeAs puts content into a file of that name.
func writeAs(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFormats reads examples from files of every format.
func TestFormats(t *testing.T) {
	const alpacaNoInput = "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n" +
		"### Instruction:\nadd\n\n### Response:\nok</s>"
	for _, tt := range []struct {
		name, content string
		file          File
		want          []string // "line: text"
	}{
		{"a.jsonl", `{"text":"a"}` + "\n\n" + `{"text":"b"}`, File{}, []string{"1: <s>a", "3: <s>b"}},
		{"a.json", "\ufeff[\n {\"text\": \"a\"},\n {\"text\":\n \"]\\\"}\"} , {\"text\":\"c\"}\n]\n", File{}, []string{"2: <s>a", `3: <s>]"}`, "4: <s>c"}},
		{"a.json", "[]", File{}, nil},
		{"lines.json", `{"text":"a"}` + "\n" + `{"text":"b"}`, File{}, []string{"1: <s>a", "2: <s>b"}},
		{"odd", `{"text":"a"}`, File{}, []string{"1: <s>a"}},
		{"a.jsonl.gz", gzipped(t, `{"text":"a"}`+"\n"), File{}, []string{"1: <s>a"}},
		{"a.csv.gz", gzipped(t, "text\na\n"), File{}, []string{"2: <s>a"}},
		{"a.csv", "id,text\n1,\"a,\n\"\"b\"\"\"\n2,c\n", File{}, []string{"2: <s>a,\n\"b\"", "4: <s>c"}},
		{"a.csv", "prompt,completion,extra\nq:,x,\n", File{}, []string{"2: <s>q:x</s>"}},
		{"a.tsv", "label\ttext\n1\tsay \"hi\r\n0\t\"b\"\r\n", File{}, []string{"2: <s>say \"hi", "3: <s>\"b\""}},
		{"a.csv", "a\tb\n1\tx\n", File{Format: "tsv", Type: "text", Columns: map[string]string{"text": "b"}}, []string{"2: <s>x"}},
		{"a.txt", "one\n\n two \r\nthree", File{}, []string{"1: <s>one", "3: <s> two ", "4: <s>three"}},
		{"a.txt", "one\ntwo\n<|endoftext|>\n\nthree\nfour<|endoftext|>five\n<|endoftext|>\n", File{}, []string{"1: <s>one\ntwo", "5: <s>three\nfour", "6: <s>five"}},
		{"a.txt", "one\ntwo\n\n \nthree\n\n", File{SampleBy: "paragraph"}, []string{"1: <s>one\ntwo", "5: <s>three"}},
		{"a.txt", "\none\n\ntwo\n", File{SampleBy: "document"}, []string{"2: <s>one\n\ntwo"}},
		{"a.txt", "one\n<|endoftext|>\ntwo", File{SampleBy: "line"}, []string{"1: <s>one", "2: <s><|endoftext|>", "3: <s>two"}},
		{"a.json", `[{"instruction":"add","input":"","output":"ok","answer":"x"}]`, File{}, []string{"1: " + alpacaNoInput}},
		{"a.jsonl", `{"instruction":"add","input":null,"output":"ok"}`, File{Type: "alpaca"}, []string{"1: " + alpacaNoInput}},
		{"a.jsonl", `{"question":"q","answer":" a"}`, File{Type: "prompt_completion", Columns: map[string]string{"prompt": "question", "completion": "answer"}}, []string{"1: <s>q a</s>"}},
		{"a.jsonl", `{"question":"q","answer":" a"}`, File{Columns: map[string]string{"prompt": "question", "completion": "answer"}}, []string{"1: <s>q a</s>"}},
		{"a.jsonl", `{"text":"t","prompt":"q","completion":" a"}`, File{Type: "text"}, []string{"1: <s>t"}},
		{"a.jsonl", `{"text":"t","prompt":"q"}`, File{Columns: map[string]string{"text": "prompt"}}, []string{"1: <s>q"}},
		{"a.jsonl", `{"chat":[{"who":"user","says":"a"},{"who":"assistant","says":"b"}]}`,
			File{Type: "chat", Columns: map[string]string{"messages": "chat", "role": "who", "content": "says"}},
			[]string{"1: <|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"}},
		{"a.csv", "messages\n\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"a\"\"},{\"\"role\"\":\"\"assistant\"\",\"\"content\"\":\"\"b\"\"}]\"\n", File{},
			[]string{"2: <|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"}},
		{"a.parquet", sampleParquet(t), File{}, []string{
			"1: <|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n",
			"2: <|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nSee you\n<|im_end|>\n",
		}},
		{"odd", sampleParquet(t), File{Type: "text", Columns: map[string]string{"text": "bytes"}}, []string{"1: <s>/w=="}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.file.Path = writeAs(t, tt.name, tt.content)
			tok := turnTokenizer{}
			ds, err := Load(context.Background(), Options{Files: []File{tt.file}, Tokenizer: tok, Template: chatML(t)})
			if tt.want == nil {
				if err == nil || !strings.Contains(err.Error(), "the file has no rows") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ex := range examples(ds) {
				got = append(got, fmt.Sprintf("%d: %s", ex.Line, tok.Decode(ex.IDs)))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestFormatErrors reads damaged files of every format.
func TestFormatErrors(t *testing.T) {
	const good = `{"text":"good"}`
	parquet := sampleParquet(t)
	for _, tt := range []struct{ name, content, want string }{
		{"a.json", "[" + good, ":1: the array does not end: the file is cut off"},
		{"a.json", "[\n" + good + ",\n{\"text\":", ":3: row 2 does not end: the file is cut off"},
		{"a.json", "[" + good + ",]", ":1: invalid JSON: a comma before the end of the array"},
		{"a.json", "[" + good + good + "]", ":1: invalid JSON: expected ',' or ']' after row 1, found '{'"},
		{"a.json", "[" + good + "]\nx", ":2: invalid JSON: 'x' after the end of the array"},
		{"a.json", "[" + good + ",\n 3, \"a\", [1]]", ":2: the row is a number, not an object; bad too: line 2, 2"},
		{"a.json", "[" + good + ",\n{\"text\":\"\xff\"}]", ":2: not UTF-8: byte 10 is 0xff"},
		{"a.json", "[{\"text\":\"a\x00\"}]", ":1: invalid JSON at byte 11: control character '\\x00' in a string"},
		{"a.json", "[" + good + ",{\"text\":\"" + strings.Repeat("a", 1<<20) + "\"}]", ":1: the row is longer than 65536 bytes"},
		{"a.json", strings.Repeat("[", 1<<20), ":1: the row is longer than 65536 bytes"},
		{"a.csv", "", ": the file has no rows"},
		{"a.csv", "text\n", ": the file has no rows"},
		{"a.csv", "text,text\na,b\n", ":1: two columns are called \"text\""},
		{"a.csv", "text,b\na,b\nc\n", ":3: 1 values, and the first line names 2 columns"},
		{"a.csv", "text\n\"a\n", ":2: invalid CSV: column 4: extraneous or missing \" in quoted-field"},
		{"a.csv", "text\na\"b\n", ":2: invalid CSV: column 2: bare \" in non-quoted-field"},
		{"a.csv", "text\n\xff\n", ":2: not UTF-8: byte 10 is 0xff"},
		{"a.csv", "text\n\"" + strings.Repeat("a\n", 1<<19), ":2: the row is longer than 65536 bytes"},
		{"a.csv", "label,sentence\n1,a\n", `:2: nothing to train on: the row has "label", "sentence"`},
		{"a.tsv", "text\tb\na\n", ":2: 1 values, and the first line names 2 columns"},
		{"a.tsv", "text\n" + strings.Repeat("a", 1<<20), ":2: the row is longer than 65536 bytes"},
		{"a.txt", "a\n\xff", ":2: not UTF-8: byte 10 is 0xff"},
		{"a.txt", strings.Repeat("a", 1<<20), ":1: the row is longer than 65536 bytes"},
		{"a.txt", "\n \n", ": the file has no rows"},
		{"a.parquet", "text\n", ": is cut off: a Parquet file of 5 bytes"},
		{"a.parquet", parquet[:len(parquet)-10], ": is not a Parquet file that can be read: invalid magic footer of parquet file"},
		{"a.jsonl.gz", gzipped(t, good)[:20], ": cannot be decompressed: unexpected EOF"},
		{"a.jsonl.gz", "\x1f\x8bx", ": is not gzip: unexpected EOF"},
		{"a.parquet.gz", gzipped(t, parquet), ": a Parquet file within gzip is not supported: it has compression of its own"},
		{"mixed.json", "[" + good + ",\n{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"}]}]", ":2: a row of type chat in a file of type text (line 1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeAs(t, tt.name, tt.content)
			_, err := Load(context.Background(), Options{Files: Files(path), Tokenizer: turnTokenizer{}, Template: chatML(t), MaxLineBytes: 1 << 16})
			if err == nil {
				t.Fatalf("no error, want %q", tt.want)
			}
			if got := strings.TrimPrefix(err.Error(), path); !strings.HasPrefix(got, tt.want) || fault.KindOf(err) != fault.Malformed {
				t.Errorf("error %d %q, want %q", fault.KindOf(err), got, tt.want)
			}
		})
	}
}

// TestDamagedParquet changes bytes all over a file: it may be read or refused, and nothing else.
func TestDamagedParquet(t *testing.T) {
	good := sampleParquet(t)
	path := writeAs(t, "a.parquet", "")
	for i := 0; i < len(good); i += 5 {
		bad := []byte(good)
		bad[i] ^= 0xff
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(context.Background(), Options{Files: Files(path), Tokenizer: turnTokenizer{}, Template: chatML(t)})
		if err != nil && fault.KindOf(err) != fault.Malformed {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// TestLongText wants long plain texts cut into pieces, where rows of other files lose their ends.
func TestLongText(t *testing.T) {
	o := Options{Files: Files(writeAs(t, "a.txt", "abcdefgh\nij\n")), Tokenizer: byteTokenizer{}, MaxLength: 4}
	ds := mustLoad(t, o)
	var got []string
	for _, ex := range examples(ds) {
		got = append(got, fmt.Sprintf("%d %s", ex.Line, decode(ex.IDs)))
	}
	if want := []string{"1 <s>abc", "1 defg", "2 <s>ij"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if ds.Stats.Rows != 2 || ds.Stats.Truncated != 0 {
		t.Errorf("stats %+v", ds.Stats)
	}
}

// TestStore keeps tokens in memory or in a file, which leaves nothing behind, with the same result.
func TestStore(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "{\"input_ids\":[%d,%d,7],\"labels\":[-100,%d,-100]}\n{\"input_ids\":[5,%d]}\n", i, i+1, i+2, i)
	}
	path := write(t, b.String())
	whole := mustLoad(t, Options{Files: Files(path)})
	dir := t.TempDir()
	spilled := mustLoad(t, Options{Files: Files(path), TempDir: dir, InMemory: 100})
	if spilled.store.mapping == nil || whole.store.mapping != nil {
		t.Fatal("the tokens lie elsewhere than they should")
	}
	if got, want := fmt.Sprint(examples(spilled)), fmt.Sprint(examples(whole)); got != want {
		t.Error("the examples differ")
	}
	if spilled.Resident() >= whole.Resident() {
		t.Errorf("%d bytes resident with a file, %d without", spilled.Resident(), whole.Resident())
	}
	if err := spilled.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	_, err := Load(context.Background(), Options{Files: Files(path), TempDir: filepath.Join(dir, "absent"), InMemory: 100})
	if fault.KindOf(err) != fault.Environment {
		t.Errorf("without a directory: %v", err)
	}
	_, err = Load(context.Background(), Options{Files: append(Files(path), Files(write(t, "{"))...), TempDir: dir, InMemory: 100})
	if fault.KindOf(err) != fault.Malformed {
		t.Errorf("a bad file after a good one: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestFileChecks refuses what is no way to read a file.
func TestFileChecks(t *testing.T) {
	for _, f := range []File{{Type: "poem"}, {Format: "xls"}, {SampleBy: "word"}, {Weight: -1}, {Columns: map[string]string{"chosen": "a"}}} {
		f.Path = "a.jsonl"
		if _, err := Load(context.Background(), Options{Files: []File{f}}); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if _, err := Load(context.Background(), Options{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("no files: %v", err)
	}
	for _, name := range append(Types(), "completion", "chat_template") {
		if _, ok := TypeNamed(name); !ok {
			t.Errorf("no type %s", name)
		}
	}
}

// TestCancelled wants a load to end with its context.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Load(ctx, Options{Files: Files(write(t, `{"input_ids":[1,2]}`))}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}
