package cli

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestBadSafetensors: bad.st breaks the format, as a model and as an adapter.
func TestBadSafetensors(t *testing.T) {
	const lines = `inspect bad.st
diff bad.st base
fuse bad.st out -o new.st
fuse base bad.st -o new
eval base --data train.jsonl --adapter bad.st
mask compare out bad.st`
	const offsets = `"data_offsets":[0,4]`
	header := func(text string, data int) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
		return append(append(b, text...), make([]byte, data)...)
	}
	length := func(n uint64, rest string) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), rest...) }
	one := func(members string) []byte { return header(`{"w":{`+members+`}}`, 4) }
	shaped := func(shape string) []byte { return one(`"dtype":"F32","shape":` + shape + `,` + offsets) }
	spans := func(data string) []byte { return one(`"dtype":"F32","shape":[1],"data_offsets":` + data) }
	named := func(name string) []byte { return header(`{"`+name+`":{"dtype":"F32","shape":[1],`+offsets+`}}`, 4) }
	pair := func(a, b string, size int) []byte {
		return header(fmt.Sprintf(`{"a":{"dtype":"F32","shape":[1],"data_offsets":%s},"b":{"dtype":"F32","shape":[1],"data_offsets":%s}}`, a, b), size)
	}
	same := func(n int) []byte { // tensors on one range
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":{"dtype":"F32","shape":[1],%s}`, i, offsets)
		}
		return header("{"+b.String()[1:]+"}", 4)
	}
	var cases []bad
	for _, c := range []struct {
		name string
		file []byte
		text string
	}{
		{"empty file", nil, "is 0 bytes long"},
		{"under 8 bytes", []byte{9, 0, 0, 0, 0}, "is 5 bytes long"},
		{"N = 0", length(0, ""), "does not begin with {"},
		{"N beyond the file", length(3, "{}"), "claims a header of 3 bytes, but only 2 follow"},
		{"N = 100,000,001", length(100_000_001, "{}"), "at most 100000000"},
		{"N = 2^63", length(1<<63, "{}"), "claims a header of 9223372036854775808 bytes"},
		{"N = 2^64-1", length(1<<64-1, "{}"), "claims a header of 18446744073709551615 bytes"},
		{"header cut short", header(`{"w":{"dtype":"F3`, 0), "string without end"},
		{"not UTF-8", named("\xff"), "not UTF-8"},
		{"lone surrogate", named(`\ud800`), "lone surrogate"},
		{"not JSON", header("{w}", 0), "a string is expected"},
		{"two roots", header("{}{}", 0), "where the end is expected"},
		{"root is an array", header("[]", 0), "does not begin with {"},
		{"root is null", header("null", 0), "does not begin with {"},
		{"byte order mark", header("\ufeff{}", 0), "does not begin with {"},
		{"depth of 100k", header(`{"w":{"shape":`+strings.Repeat("[", 100_000), 0), "natural number is expected"},
		{"tensor twice", header(`{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), `tensor "w" twice`},
		{"inner key twice", one(`"dtype":"F32","dtype":"F32","shape":[1],` + offsets), `key "dtype" twice`},
		{"key in upper case", one(`"DTYPE":"F32","shape":[1],` + offsets), `unknown key "DTYPE"`},
		{"unknown inner key", one(`"dtype":"F32","shape":[1],"strides":[1],` + offsets), `unknown key "strides"`},
		{"no dtype", one(`"shape":[1],` + offsets), "dtype is missing"},
		{"no shape", one(`"dtype":"F32",` + offsets), "shape is missing"},
		{"no data_offsets", one(`"dtype":"F32","shape":[1]`), "data_offsets is missing"},
		{"tensor is null", header(`{"w":null}`, 0), "where { is expected"},
		{"shape is null", shaped("null"), "where [ is expected"},
		{"unknown dtype", one(`"dtype":"F33","shape":[1],` + offsets), `unknown type "F33"`},
		{"lowercase dtype", one(`"dtype":"f32","shape":[1],` + offsets), `unknown type "f32"`},
		{"negative dimension", shaped("[-1]"), "negative number"},
		{"dimension 1.0", shaped("[1.0]"), "not written as an integer"},
		{"dimension 1e3", shaped("[1e3]"), "not written as an integer"},
		{"dimension beyond 2^63", shaped("[9223372036854775808]"), "beyond 2^63"},
		{"product overflow", shaped("[4294967296,4294967296]"), "overflows"},
		{"byte overflow", shaped("[4611686018427387904]"), "overflows"},
		{"rank 10^6", shaped("[1" + strings.Repeat(",1", 999_999) + "]"), "more than 64 dimensions"},
		{"one offset", spans("[0]"), "fewer than two"},
		{"three offsets", spans("[0,4,8]"), "more than two"},
		{"negative offset", spans("[-4,0]"), "negative number"},
		{"begin after end", spans("[4,0]"), "begin 4 is after end 0"},
		{"end past the data", header(`{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 4), "the file is cut short"},
		{"overlap", pair("[0,4]", "[2,6]", 6), `tensors "a" and "b" overlap`},
		{"hole", pair("[0,4]", "[8,12]", 12), `4 bytes before tensor "b"`},
		{"first offset is not 0", header(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), `4 bytes before tensor "w"`},
		{"trailing bytes", header(`{"w":{"dtype":"F32","shape":[1],`+offsets+`}}`, 9), "5 bytes after the last tensor"},
		{"data cut short", header(`{"w":{"dtype":"F32","shape":[1],`+offsets+`}}`, 3), "the file is cut short"},
		{"size is not shape times dtype", spans("[0,8]"), "shape [1] of F32 is 4 bytes, but data_offsets span 8"},
		{"many tensors on one range", same(50_000), "overlap"},
		{"metadata is no string", header(`{"__metadata__":{"a":1}}`, 0), "where a string is expected"},
		{"NUL in a name", named(`a\u0000b`), "control characters"},
		{"ESC in a name", named(`\u001b[31m`), "control characters"},
		{"newline in a name", named(`a\nb`), "control characters"},
		{"a name of 1 MB", header(`{"`+strings.Repeat("n", 1<<20)+`":{}}`, 0), "…"},
		{"text", []byte("hello, this is a text\n"), "is text"},
		{"zip", append([]byte("PK\x03\x04"), make([]byte, 60)...), "zip"},
		{"gzip", append([]byte("\x1f\x8b\x08\x00"), make([]byte, 60)...), "gzip"},
		{"pickle", append([]byte("\x80\x02}q\x00."), make([]byte, 60)...), "pickle"},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 12345\n"), "git lfs pull"},
	} {
		cases = append(cases, bad{c.name, func(w *world) { w.must(os.WriteFile("bad.st", c.file, 0o644)) }, 3, "bad.st: |" + c.text, ""})
	}
	runBad(t, lines, cases)
}
