package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

func TestRows(t *testing.T) {
	tests := []struct {
		name    string
		row     string
		opt     Options
		ids     string // decoded
		counted string
	}{
		{"text", `{"text":"ab c"}`, Options{}, "<s>ab c", "ab c"},
		{"text with EOS", `{"text":"ab"}`, Options{AppendEOS: true}, "<s>ab</s>", "ab</s>"},
		{"text with EOS omitted", `{"text":"ab"}`, Options{AppendEOS: true, OmitEOS: true}, "<s>ab", "ab"},
		{"text with EOS twice", `{"text":"ab"}`, Options{AppendEOS: true, Tokenizer: byteTokenizer{suffix: true}}, "<s>ab</s>", "ab</s>"},
		{"text truncated", `{"text":"abcdef"}`, Options{MaxLength: 3}, "<s>ab", "ab"},
		{"EOS truncated", `{"text":"ab"}`, Options{MaxLength: 3, AppendEOS: true}, "<s>ab", "ab"},
		{"escapes", `{"te\u0078t":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000"}`, Options{}, "<s>\"\\/\b\f\n\r\té😀\x00", "\"\\/\b\f\n\r\té😀\x00"},
		{"extra fields", `{"id":[1,{"a":-1.5e+3}],"text":"a","label":null,"b":[true,false,{}],"c":"\u0041"}`, Options{}, "<s>a", "a"},
		{"white space", " {\t\"text\" : \"a\" } \r", Options{}, "<s>a", "a"},
		{"completion", `{"prompt":"q:","completion":" yes"}`, Options{}, "<s>q: yes</s>", " yes</s>"},
		{"completion first", `{"completion":" yes","prompt":"q:"}`, Options{}, "<s>q: yes</s>", " yes</s>"},
		{"completion without EOS", `{"prompt":"q:","completion":" yes"}`, Options{OmitEOS: true}, "<s>q: yes", " yes"},
		{"token across the seam", `{"prompt":"q: ","completion":"yes"}`, Options{}, "<s>q: yes</s>", " yes</s>"},
		{"empty prompt", `{"prompt":"","completion":"yes"}`, Options{}, "<s>yes</s>", "yes</s>"},
		{"empty completion", `{"prompt":"q","completion":""}`, Options{}, "<s>q</s>", "</s>"},
		{"completion, template with EOS", `{"prompt":"q:","completion":" yes"}`, Options{Tokenizer: byteTokenizer{suffix: true}}, "<s>q: yes</s>", " yes</s>"},
		{"empty completion, template with EOS", `{"prompt":"q","completion":""}`, Options{Tokenizer: byteTokenizer{suffix: true}}, "<s>q</s>", "</s>"},
		{"completion truncated", `{"prompt":"q:","completion":"yes"}`, Options{MaxLength: 4}, "<s>q:y", "y"},
		{"tokens", `{"input_ids":[97,98,99]}`, Options{}, "abc", "bc"},
		{"tokens and labels", `{"input_ids":[97,98,99],"labels":[97,-100,99]}`, Options{}, "abc", "c"},
		{"labels of other tokens", `{"labels":[-100,120,121],"input_ids":[97,98,99]}`, Options{}, "abc", "xy"},
		{"tokens are complete", `{"input_ids":[97,98]}`, Options{AppendEOS: true}, "ab", "b"},
		{"minus zero", `{"input_ids":[97,-0]}`, Options{}, "a\x00", "\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opt.Files = Files(write(t, tt.row+"\n"))
			if tt.opt.Tokenizer == nil {
				tt.opt.Tokenizer = byteTokenizer{}
			}
			ds := mustLoad(t, tt.opt)
			if ds.Len() != 1 {
				t.Fatalf("%d examples, want 1", ds.Len())
			}
			ex := ds.Example(0)
			if got := decode(ex.IDs); got != tt.ids {
				t.Errorf("ids are %q, want %q", got, tt.ids)
			}
			if got := decode(labelled(ex)); got != tt.counted {
				t.Errorf("counted tokens are %q, want %q", got, tt.counted)
			}
			if len(ex.Labels) != len(ex.IDs) {
				t.Errorf("%d labels for %d tokens", len(ex.Labels), len(ex.IDs))
			}
		})
	}
}

func TestStats(t *testing.T) {
	content := "\ufeff\r\n" + strings.Join([]string{
		`{"prompt":"abc","completion":"d"}`,
		"",
		`{"prompt":"abcdefg","completion":"h"}`, // its completion is cut off
		" \t",
		`{"prompt":"a","completion":"bcdefgh"}`,
		`{"prompt":"","completion":"x"}`, // the last line has no end
	}, "\r\n")
	ds := mustLoad(t, Options{Files: Files(write(t, content)), Tokenizer: byteTokenizer{}, MaxLength: 6})
	want := Stats{Rows: 4, Truncated: 2, NoLabels: 1, Tokens: 6 + 6 + 3, LabelTokens: 2 + 4 + 2, Longest: 6}
	if ds.Stats != want {
		t.Errorf("stats are %+v, want %+v", ds.Stats, want)
	}
	var places [][2]int
	for _, ex := range examples(ds) {
		places = append(places, [2]int{ex.Row, ex.Line})
	}
	if want := [][2]int{{0, 2}, {2, 6}, {3, 7}}; !slices.Equal(places, want) {
		t.Errorf("rows and lines are %v, want %v", places, want)
	}
	sum := sha256.Sum256([]byte(content))
	if want := hex.EncodeToString(sum[:]); ds.SHA256 != want {
		t.Errorf("SHA-256 is %s, want %s", ds.SHA256, want)
	}
}

func TestLimit(t *testing.T) {
	rows := "{\"text\":\"a\"}\n\n{\"text\":\"b\"}\n"
	path := write(t, rows+"not JSON\n")
	ds := mustLoad(t, Options{Files: Files(path), Tokenizer: byteTokenizer{}, Limit: 2})
	if ds.Len() != 2 || ds.Stats.Rows != 2 {
		t.Errorf("%d examples of %d rows, want 2 of 2", ds.Len(), ds.Stats.Rows)
	}
	if ds.SHA256 != "" {
		t.Errorf("SHA-256 of a file that was not read to its end: %s", ds.SHA256)
	}
}

// TestOrder loads many chunks, so that the parts are encoded out of order.
func TestOrder(t *testing.T) {
	var b strings.Builder
	const n = 5000
	for i := range n {
		fmt.Fprintf(&b, "{\"text\":\"%d %s\"}\n", i, strings.Repeat("x", i%97))
	}
	path := write(t, b.String())
	for _, procs := range []int{1, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		ds := mustLoad(t, Options{Files: Files(path), Tokenizer: byteTokenizer{}})
		if ds.Len() != n {
			t.Fatalf("%d examples, want %d", ds.Len(), n)
		}
		for i, ex := range examples(ds) {
			want := fmt.Sprintf("<s>%d %s", i, strings.Repeat("x", i%97))
			if got := decode(ex.IDs); got != want || ex.Row != i || ex.Line != i+1 {
				t.Fatalf("example %d is %q of row %d at line %d, want %q", i, got, ex.Row, ex.Line, want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	const good = `{"text":"good"}`
	tests := []struct {
		name    string
		content string
		opt     Options
		kind    fault.Kind
		want    string // after the path
	}{
		{"empty", "", Options{}, fault.Malformed, ": the file has no rows"},
		{"blank", "\n \r\n\t\n", Options{}, fault.Malformed, ": the file has no rows"},
		{"byte order mark only", "\ufeff", Options{}, fault.Malformed, ": the file has no rows"},
		{"bad JSON", good + "\n{\"text\" \"a\"}", Options{}, fault.Malformed, `:2: invalid JSON at byte 9: expected ':', found '"'`},
		{"bad JSON after a blank line", good + "\n\n{\"text\":}", Options{}, fault.Malformed, `:3: invalid JSON at byte 9: expected a value, found '}'`},
		{"several bad rows", "1\n" + good + "\n2\n3\n", Options{}, fault.Malformed, `:1: the row is a number, not an object; bad too: line 3, 4`},
		{"very many bad rows", strings.Repeat("1\n", 100), Options{}, fault.Malformed, `:1: the row is a number, not an object; bad too: line 2, 3, 4, 5, 6, 7, 8, …`},
		{"unfinished", `{"text":"a"`, Options{}, fault.Malformed, `:1: invalid JSON at byte 12: expected ',' or '}', found the end of the line`},
		{"unfinished string", `{"text":"a`, Options{}, fault.Malformed, `:1: invalid JSON at byte 11: a string does not end`},
		{"unfinished escape", `{"text":"a\`, Options{}, fault.Malformed, `:1: invalid JSON at byte 11: a string does not end`},
		{"unknown escape", `{"text":"\x"}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 10: unknown escape "\\x"`},
		{"short escape", `{"text":"\u12"}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 10: \u needs four hexadecimal digits`},
		{"lone high surrogate", `{"text":"\ud83d"}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 10: lone surrogate \ud83d`},
		{"lone low surrogate", `{"a":"\ude00","text":""}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 7: lone surrogate \ude00`},
		{"swapped surrogates", `{"text":"\ude00\ud83d"}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 10: lone surrogate \ude00`},
		{"control character", "{\"text\":\"a\x00\"}", Options{}, fault.Malformed, `:1: invalid JSON at byte 11: control character '\x00' in a string`},
		{"two rows on a line", good + good, Options{}, fault.Malformed, `:1: invalid JSON at byte 16: '{' after the end of the row`},
		{"trailing comma", `{"text":"a",}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 13: expected '"', found '}'`},
		{"trailing comma in an array", `{"input_ids":[1,]}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 17: expected a value, found ']'`},
		{"leading zero", `{"a":01}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 6: malformed number`},
		{"number without digits", `{"a":-}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 6: malformed number`},
		{"number without decimals", `{"a":1.}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 8: malformed number`},
		{"number without exponent", `{"a":1e+}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 9: malformed number`},
		{"not a value", `{"a":nul}`, Options{}, fault.Malformed, `:1: invalid JSON at byte 6: expected a value, found 'n'`},
		{"array in a line", good + "\n[1]", Options{}, fault.Malformed, `:2: the row is an array, not an object`},
		{"null", "null", Options{}, fault.Malformed, `:1: the row is null, not an object`},
		{"string", `"a"`, Options{}, fault.Malformed, `:1: the row is a string, not an object`},
		{"not JSON", "PAR2", Options{}, fault.Malformed, `:1: invalid JSON at byte 1: expected an object, found 'P'`},
		{"not UTF-8", "{\"text\":\"é\xff\"}", Options{}, fault.Malformed, `:1: not UTF-8: byte 12 is 0xff`},
		{"surrogate in UTF-8", "{\"text\":\"\xed\xa0\x80\"}", Options{}, fault.Malformed, `:1: not UTF-8: byte 10 is 0xed`},
		{"deep", `{"a":` + strings.Repeat("[", 100_000), Options{}, fault.Malformed, `:1: invalid JSON at byte 133: nested deeper than 128`},
		{"deep objects", strings.Repeat(`{"a":`, 100_000), Options{}, fault.Malformed, `:1: invalid JSON at byte 641: nested deeper than 128`},
		{"long line", good + "\n" + `{"text":"` + strings.Repeat("a", 1<<20), Options{MaxLineBytes: 1 << 10}, fault.Malformed, `:2: the row is longer than 1024 bytes`},
		{"mixed", good + "\n" + `{"prompt":"a","completion":"b"}` + "\n" + good + "\n" + `{"input_ids":[1]}`, Options{}, fault.Malformed, `:2: a row of type prompt_completion in a file of type text (line 1); bad too: line 4`},
		{"fields of two kinds", `{"text":"a","prompt":"b","completion":"c"}`, Options{}, fault.Malformed, `:1: fields of different kinds of rows: "text", "prompt", "completion"`},
		{"labels of a text", `{"text":"a","labels":[1]}`, Options{}, fault.Malformed, `:1: fields of different kinds of rows: "text", "labels"`},
		{"prompt alone", `{"prompt":"a"}`, Options{}, fault.Malformed, `:1: "prompt" without "completion"`},
		{"completion alone", `{"completion":"a"}`, Options{}, fault.Malformed, `:1: "completion" without "prompt"`},
		{"labels alone", `{"labels":[1]}`, Options{}, fault.Malformed, `:1: "labels" without "input_ids"`},
		{"no fields", `{}`, Options{}, fault.Malformed, `:1: nothing to train on: the row has no fields`},
		{"unknown fields", `{"Text":"a","b\u001b":1}`, Options{}, fault.Malformed, `:1: nothing to train on: the row has "Text", "b\x1b"`},
		{"text of another type", `{"text":["a"]}`, Options{}, fault.Malformed, `:1: "text" is an array, not a string`},
		{"text null", `{"text":null}`, Options{}, fault.Malformed, `:1: "text" is null, not a string`},
		{"prompt of another type", `{"prompt":1,"completion":"a"}`, Options{}, fault.Malformed, `:1: "prompt" is a number, not a string`},
		{"completion of another type", `{"prompt":"a","completion":true}`, Options{}, fault.Malformed, `:1: "completion" is a boolean, not a string`},
		{"ids of another type", `{"input_ids":"1"}`, Options{}, fault.Malformed, `:1: "input_ids" is a string, not an array of integers`},
		{"labels of another type", `{"input_ids":[1],"labels":{}}`, Options{}, fault.Malformed, `:1: "labels" is an object, not an array of integers`},
		{"id of another type", `{"input_ids":[1,[2]]}`, Options{}, fault.Malformed, `:1: "input_ids"[1] is an array, not an integer`},
		{"fraction", `{"input_ids":[1,2.0]}`, Options{}, fault.Malformed, `:1: "input_ids"[1] is not a 32-bit integer: "2.0"`},
		{"exponent", `{"input_ids":[1e3]}`, Options{}, fault.Malformed, `:1: "input_ids"[0] is not a 32-bit integer: "1e3"`},
		{"huge id", `{"input_ids":[99999999999999999999]}`, Options{}, fault.Malformed, `:1: "input_ids"[0] is not a 32-bit integer: "99999999999999999999"`},
		{"id beyond 32 bits", `{"input_ids":[2147483648]}`, Options{}, fault.Malformed, `:1: "input_ids"[0] is not a 32-bit integer: "2147483648"`},
		{"id outside the vocabulary", `{"input_ids":[1,2,512]}`, Options{VocabSize: 512}, fault.Malformed, `:1: "input_ids"[2] is 512, outside the vocabulary of 512 tokens`},
		{"id outside the tokenizer's vocabulary", `{"input_ids":[1,514]}`, Options{}, fault.Malformed, `:1: "input_ids"[1] is 514, outside the vocabulary of 514 tokens`},
		{"negative id", `{"input_ids":[1,-100]}`, Options{}, fault.Malformed, `:1: "input_ids"[1] is -100, outside the vocabulary of 514 tokens`},
		{"label outside the vocabulary", `{"input_ids":[1,2],"labels":[-100,512]}`, Options{VocabSize: 512}, fault.Malformed, `:1: "labels"[1] is 512, neither -100 nor in the vocabulary of 512 tokens`},
		{"negative label", `{"input_ids":[1,2],"labels":[-100,-1]}`, Options{VocabSize: 512}, fault.Malformed, `:1: "labels"[1] is -1, neither -100 nor in the vocabulary of 512 tokens`},
		{"lengths", `{"input_ids":[1,2],"labels":[1]}`, Options{}, fault.Malformed, `:1: "input_ids" and "labels" differ in length: 2 and 1`},
		{"duplicate field", `{"text":"a","text":"b"}`, Options{}, fault.Malformed, `:1: duplicate field "text"`},
		{"duplicate field in disguise", `{"text":"a","\u0074ext":"b"}`, Options{}, fault.Malformed, `:1: duplicate field "text"`},
		{"duplicate unknown field", `{"a":1,"text":"a","a":1}`, Options{}, fault.Malformed, `:1: duplicate field "a"`},
		{"late duplicate field", `{"text":"a"` + manyFields(100) + `,"f90":1}`, Options{}, fault.Malformed, `:1: duplicate field "f90"`},
		{"nothing counts", "\n" + `{"input_ids":[1,2],"labels":[2,-100]}` + "\n" + `{"input_ids":[1]}` + "\n" + `{"input_ids":[]}`, Options{}, fault.Malformed, `:2: no token to predict, here and in the whole file (rows: 3)`},
		{"nothing counts after truncation", `{"prompt":"abc","completion":"d"}`, Options{MaxLength: 4}, fault.Malformed, `:1: no token to predict, here and in the whole file (rows: 1)`},
		{"no EOS", `{"prompt":"abc","completion":"d"}`, Options{Tokenizer: byteTokenizer{noEOS: true}}, fault.Incompatible, `:1: the row is to end with EOS, and the tokenizer has none`},
		{"no EOS for text", good, Options{AppendEOS: true, Tokenizer: byteTokenizer{noEOS: true}}, fault.Incompatible, `:1: the row is to end with EOS, and the tokenizer has none`},
		{"model of another tokenizer", good, Options{VocabSize: 256}, fault.Incompatible, `:1: the tokenizer gives token 256, the model has 256`},
		{"failing tokenizer", "\n" + good, Options{Tokenizer: failingTokenizer{}}, fault.Internal, `:2: encoding the row failed: out of order`},
		{"negative length", good, Options{MaxLength: -1}, fault.Usage, `: maximum length is negative: -1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opt.Files = Files(write(t, tt.content))
			if tt.opt.Tokenizer == nil {
				tt.opt.Tokenizer = byteTokenizer{}
			}
			_, err := Load(context.Background(), tt.opt)
			if err == nil {
				t.Fatalf("no error, want %q", tt.want)
			}
			if got := strings.TrimPrefix(err.Error(), tt.opt.Files[0].Path); got != tt.want {
				t.Errorf("error is %q, want %q", got, tt.want)
			}
			if got := fault.KindOf(err); got != tt.kind {
				t.Errorf("kind is %d, want %d", got, tt.kind)
			}
		})
	}
}

func TestNoTokenizer(t *testing.T) {
	ds := mustLoad(t, Options{Files: Files(write(t, `{"input_ids":[1,70000]}`))})
	if want := []int32{1, 70000}; !slices.Equal(ds.Example(0).IDs, want) {
		t.Errorf("ids are %v, want %v", ds.Example(0).IDs, want)
	}
	path := write(t, `{"text":"a"}`)
	_, err := Load(context.Background(), Options{Files: Files(path)})
	if got, want := fmt.Sprint(err), path+":1: a row of text, and the model has no tokenizer"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
	if got := fault.KindOf(err); got != fault.Incompatible {
		t.Errorf("kind is %d, want %d", got, fault.Incompatible)
	}
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		path string
		kind fault.Kind
		want string
	}{
		{dir, fault.Malformed, "is a directory, not a regular file"},
		{filepath.Join(dir, "absent"), fault.Environment, "cannot open: no such file or directory"},
	} {
		_, err := Load(context.Background(), Options{Files: Files(tt.path)})
		if got, want := fmt.Sprint(err), tt.path+": "+tt.want; got != want {
			t.Errorf("error is %q, want %q", got, want)
		}
		if got := fault.KindOf(err); got != tt.kind {
			t.Errorf("kind is %d, want %d", got, tt.kind)
		}
	}
}

func TestHints(t *testing.T) {
	tests := []struct {
		content, hint string
		opt           Options
	}{
		{"1\n[1]", oneObject, Options{}},
		{"{\n\"text\":\"a\"\n}", oneObject, Options{}},
		{`{"text":"a"},`, oneObject, Options{}},
		{`{"text":"a",}`, "", Options{}},
		{`{"prompt":"a","completion":"b"}`, "rows cut at the maximum length: 1; a larger max_seq_length, or --max-seq-length, leaves more of them", Options{MaxLength: 2}},
	}
	for _, tt := range tests {
		tt.opt.Files, tt.opt.Tokenizer = Files(write(t, tt.content)), byteTokenizer{}
		_, err := Load(context.Background(), tt.opt)
		if err == nil || fault.HintOf(err) != tt.hint {
			t.Errorf("%q: error %v has the hint %q, want %q", tt.content, err, fault.HintOf(err), tt.hint)
		}
	}
}

func TestUnreadable(t *testing.T) {
	path := write(t, `{"text":"a"}`)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(path); err == nil {
		_ = f.Close()
		t.Skip("permissions do not bind this user")
	}
	if _, err := Load(context.Background(), Options{Files: Files(path)}); fault.KindOf(err) != fault.Environment {
		t.Errorf("error is %v, want an environment fault", err)
	}
}

// failingTokenizer has a defect.
type failingTokenizer struct{ byteTokenizer }

func (failingTokenizer) EncodeSpecial(string) []int32 { panic("out of order") }

// manyFields returns n members with a leading comma each.
func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":0`, i)
	}
	return b.String()
}
