package data

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
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
		var r row
		if err := r.parse(line); err != nil {
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("accepted %q: %v", line, err)
		}
		for i, got := range []any{&r.text, &r.prompt, &r.completion, &r.inputIDs, &r.labels} {
			raw, present := fields[fieldNames[i]]
			if present != (r.has&(1<<i) != 0) {
				t.Fatalf("%q: field %q is in the row: %v", line, fieldNames[i], present)
			}
			if !present {
				continue
			}
			want := reflect.New(reflect.TypeOf(got).Elem())
			if err := json.Unmarshal(raw, want.Interface()); err != nil {
				t.Fatalf("accepted %s as %q: %v", raw, fieldNames[i], err)
			}
			if got, want := fmt.Sprintf("%q", reflect.ValueOf(got).Elem()), fmt.Sprintf("%q", want.Elem()); got != want {
				t.Errorf("field %q is %s, want %s", fieldNames[i], got, want)
			}
		}
	})
}

// FuzzLoad checks that a file of any bytes gives examples that keep their promises or an error.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"{\"text\":\"a\"}\n\n{\"text\":\"b c\"}",
		"\ufeff{\"prompt\":\"a \",\"completion\":\"b\"}\r\n",
		`{"input_ids":[1,2,3,4,5,6,7,8,9]}`,
		"{\"text\":\"a\"}\n{\"input_ids\":[1]}\n[]",
	} {
		f.Add([]byte(seed))
	}
	path := write(f, "")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ds, err := Load(Options{Path: path, Tokenizer: byteTokenizer{}, MaxLength: 8})
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Malformed {
				t.Errorf("kind of %v is %d", err, kind)
			}
			return
		}
		if len(ds.Examples)+ds.Stats.NoLabels != ds.Stats.Rows {
			t.Errorf("%d examples, stats are %+v", len(ds.Examples), ds.Stats)
		}
		for _, ex := range ds.Examples {
			if len(ex.IDs) > 8 || len(ex.IDs) != len(ex.Labels) || ex.Counted() == 0 {
				t.Errorf("example is %+v", ex)
			}
		}
	})
}
