package data

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// FuzzRow checks that the parser accepts only what encoding/json accepts and reads the same values from it.
func FuzzRow(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a b"}`,
		`{"text":"\ud83d\ude00 \u00e9 \" \\ \/ \b\f\n\r\t \u0000"}`,
		`{"prompt":"q","completion":" a","meta":{"a":[1,-0.5e+10,true,false,null,{}]}}`,
		`{"input_ids":[1,2,3],"labels":[-100,2,3]}`,
		`{"input_ids":[]}`,
		`{"input_ids":[2147483647,-2147483648,-0]}`,
		` { "a" : 01 } `,
		`{"text":"a","text":"b"}`,
		`{"text":"\ud83d"}`,
		"{\"text\":\"\xff\"}",
		`[[[[`,
		`{}{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r := row{schema: newSchema(&File{})}
		if err := r.parse(line); err != nil {
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("accepted %q: %v", line, err)
		}
		for i, name := range fieldNames {
			raw, present := fields[name]
			if present != (r.has&(1<<i) != 0) {
				t.Fatalf("%q: field %q is in the row: %v", line, name, present)
			}
			if !present {
				continue
			}
			f := field(1 << i)
			if got, err := r.text(f); err == nil && string(raw) != "null" {
				equal(t, raw, got)
			}
			if got, err := r.ints(f, []int32{}); err == nil {
				equal(t, raw, got)
			}
			if _, err := r.value(f).jinja(2); err != nil && !strings.Contains(err.Error(), "duplicate field") {
				t.Errorf("accepted %s, which is no value: %v", raw, err)
			}
		}
	})
}

// equal checks that raw is JSON of got.
func equal[T any](t *testing.T, raw []byte, got T) {
	t.Helper()
	var want T
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatalf("accepted %s: %v", raw, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzLoad checks that a file of any bytes gives examples that keep their promises or an error.
func FuzzLoad(f *testing.F) {
	for _, seed := range []struct{ name, content string }{
		{"json", "{\"text\":\"a\"}\n\n{\"text\":\"b c\"}"},
		{"json", "\ufeff{\"prompt\":\"a \",\"completion\":\"b\"}\r\n"},
		{"json", `{"input_ids":[1,2,3,4,5,6,7,8,9]}`},
		{"json", "{\"text\":\"a\"}\n{\"input_ids\":[1]}\n[]"},
		{"json", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`},
		{"json", `{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}],"system":"c","tools":"[{}]"}`},
		{"json", "[\n{\"instruction\":\"a\",\"input\":\"\",\"output\":\"b\"},\n {\"instruction\":\"a\",\"output\":\"b]\\\"\"}\n]\n"},
		{"json", `[[1],2,"a"`},
		{"csv", "text,b\n\"a\"\"\n,\",1\nq,\n"},
		{"tsv", "text\tb\na\t\n"},
		{"text", "a\n\nb<|endoftext|>c\n"},
		{"text", "abcdefghijklmnopqrstuvwxyz\n"},
		{"parquet", sampleParquet(f)},
	} {
		f.Add([]byte(seed.content), uint8(slices.Index(Formats, seed.name)))
	}
	dir := f.TempDir()
	template := chatML(f)
	f.Fuzz(func(t *testing.T, content []byte, format uint8) {
		path := filepath.Join(dir, "rows."+Formats[int(format)%len(Formats)])
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ds, err := Load(context.Background(), Options{Files: Files(path), Tokenizer: byteTokenizer{}, Template: template, MaxLength: 8, MaxLineBytes: 1 << 20})
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Malformed {
				t.Errorf("kind of %v is %d", err, kind)
			}
			return
		}
		if ds.Len()+ds.Stats.NoLabels < ds.Stats.Rows {
			t.Errorf("%d examples, stats are %+v", ds.Len(), ds.Stats)
		}
		for _, ex := range examples(ds) {
			if len(ex.IDs) > 8 || len(ex.IDs) != len(ex.Labels) || ex.Counted() == 0 {
				t.Errorf("example is %+v", ex)
			}
		}
	})
}
