package checkpoint

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"

	"shira/internal/fault"
)

// fileOf returns a safetensors file with that header and dataSize bytes of data.
func fileOf(header string, dataSize int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, dataSize)...)
}

// lengthOnly returns a file whose first 8 bytes claim a header of n bytes.
func lengthOnly(n uint64, rest string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, n), rest...)
}

func writeTemp(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkFault checks kind and text of an error, and that it could be shown on one line of a terminal.
func checkFault(t *testing.T, err error, kind fault.Kind, path, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", text)
	}
	if got := fault.KindOf(err); got != kind {
		t.Errorf("kind is %d, want %d: %v", got, kind, err)
	}
	msg := err.Error()
	if !strings.HasPrefix(msg, path+": ") {
		t.Errorf("error does not begin with the path %s: %s", path, msg)
	}
	if !strings.Contains(msg, text) {
		t.Errorf("error lacks %q: %s", text, msg)
	}
	if strings.ContainsFunc(msg, unicode.IsControl) {
		t.Errorf("control characters in the error: %q", msg)
	}
	if len(msg) > len(path)+2000 {
		t.Errorf("error of %d bytes", len(msg))
	}
}

// tensorJSON is a well-formed member of a header.
func tensorJSON(name, dtype, shape, offsets string) string {
	return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":%s}`, name, dtype, shape, offsets)
}

func TestOpenRefuses(t *testing.T) {
	const f32 = `"dtype":"F32"`
	const shape = `"shape":[1]`
	const offsets = `"data_offsets":[0,4]`
	one := func(members ...string) []byte {
		return fileOf(`{"w":{`+strings.Join(members, ",")+`}}`, 4)
	}
	pair := func(a, b string, size int) []byte {
		return fileOf(`{`+tensorJSON("a", "F32", "[1]", a)+`,`+tensorJSON("b", "F32", "[1]", b)+`}`, size)
	}
	named := func(name string) []byte { return fileOf(`{"`+name+`":{`+f32+`,`+shape+`,`+offsets+`}}`, 4) }
	deep := strings.Repeat("[", 100_000)
	tests := []struct {
		name string
		file []byte
		text string // of the error
	}{
		{"empty file", nil, "is 0 bytes long"},
		{"under 8 bytes", []byte{2, 0, 0, 0, 0, 0, 0}, "is 7 bytes long"},
		{"N = 0", lengthOnly(0, ""), "header: does not begin with {"},
		{"N = 0 with more", lengthOnly(0, "{}"), "does not begin with {"},
		{"N beyond the file", lengthOnly(3, "{}"), "claims a header of 3 bytes, but only 2 follow"},
		{"N = 100,000,001", lengthOnly(100_000_001, "{}"), "at most 100000000"},
		{"N = 2^63", lengthOnly(1<<63, "{}"), "claims a header of 9223372036854775808 bytes"},
		{"N = 2^64-1", lengthOnly(1<<64-1, "{}"), "claims a header of 18446744073709551615 bytes"},
		{"header cut short", fileOf(`{"w":{"dtype":"F3`, 0), "string without end"},
		{"header cut after a key", fileOf(`{"w"`, 0), "ends where : is expected"},
		{"header cut after a tensor", fileOf(`{`+tensorJSON("w", "F32", "[1]", "[0,4]"), 4), "ends where a comma or } is expected"},
		{"not UTF-8", fileOf("{\"\xff\":{}}", 0), "not UTF-8"},
		{"lone high surrogate", named(`\ud800`), "lone surrogate"},
		{"lone low surrogate", named(`\udc00`), "lone surrogate"},
		{"surrogates in the wrong order", named(`\udc00\ud800`), "lone surrogate"},
		{"half a surrogate pair", named(`\ud800\u0041`), "lone surrogate"},
		{"invalid escape", named(`\x41`), "invalid escape"},
		{"invalid hexadecimal", named(`\u00g0`), "invalid escape"},
		{"control character in a string", named("a\nb"), "control character"},
		{"control character after an escape", named("a\\tb\x01"), "control character"},
		{"not JSON", fileOf("{w}", 0), "a string is expected"},
		{"garbage", fileOf("garbage!", 0), "does not begin with {"},
		{"comment", fileOf("{/**/}", 0), "a string is expected"},
		{"trailing comma", fileOf(`{"__metadata__":{},}`, 0), "a string is expected"},
		{"single quotes", fileOf(`{'w':{}}`, 0), "a string is expected"},
		{"two values", fileOf(`{}{}`, 0), "where the end is expected"},
		{"NUL after the value", fileOf("{}\x00", 0), "where the end is expected"},
		{"root is an array", fileOf(`[]`, 0), "does not begin with {"},
		{"root is null", fileOf(`null`, 0), "does not begin with {"},
		{"root is a string", fileOf(`"{}"`, 0), "does not begin with {"},
		{"byte order mark", fileOf("\ufeff{}", 0), "does not begin with {"},
		{"leading space", fileOf(" {}", 0), "does not begin with {"},
		{"depth of 100k in a tensor", fileOf(`{"w":`+deep, 0), "where { is expected"},
		{"depth of 100k in a shape", fileOf(`{"w":{"shape":`+deep, 0), "natural number is expected"},
		{"depth of 100k in metadata", fileOf(`{"__metadata__":{"a":`+deep, 0), "string is expected"},
		{"depth of 100k in a key's object", fileOf(strings.Repeat(`{"w":`, 100_000), 0), "unknown key"},
		{"tensor twice", fileOf(`{`+tensorJSON("w", "F32", "[1]", "[0,4]")+`,`+tensorJSON("w", "F32", "[1]", "[4,8]")+`}`, 8), `tensor "w" twice`},
		{"tensor twice, spelled differently", fileOf(`{"w":{`+f32+`,`+shape+`,`+offsets+`},"\u0077":{`+f32+`,`+shape+`,`+offsets+`}}`, 8), `tensor "w" twice`},
		{"dtype twice", one(f32, f32, shape, offsets), `tensor "w": key "dtype" twice`},
		{"shape twice", one(f32, shape, shape, offsets), `key "shape" twice`},
		{"data_offsets twice", one(f32, shape, offsets, offsets), `key "data_offsets" twice`},
		{"key in upper case", one(`"DTYPE":"F32"`, shape, offsets), `unknown key "DTYPE"`},
		{"unknown key", one(f32, shape, offsets, `"strides":[1]`), `unknown key "strides"`},
		{"no dtype", one(shape, offsets), "dtype is missing"},
		{"no shape", one(f32, offsets), "shape is missing"},
		{"no data_offsets", one(f32, shape), "data_offsets is missing"},
		{"empty tensor object", one(), "dtype is missing"},
		{"tensor is null", fileOf(`{"w":null}`, 0), "'n' where { is expected"},
		{"tensor is an array", fileOf(`{"w":[]}`, 0), "'[' where { is expected"},
		{"dtype is null", one(`"dtype":null`, shape, offsets), "dtype: 'n' where a string is expected"},
		{"shape is null", one(f32, `"shape":null`, offsets), "shape: 'n' where [ is expected"},
		{"data_offsets is null", one(f32, shape, `"data_offsets":null`), "data_offsets: 'n' where [ is expected"},
		{"unknown dtype", one(`"dtype":"F33"`, shape, offsets), `unknown type "F33"`},
		{"lowercase dtype", one(`"dtype":"f32"`, shape, offsets), `unknown type "f32"`},
		{"empty dtype", one(`"dtype":""`, shape, offsets), `unknown type ""`},
		{"negative dimension", one(f32, `"shape":[-1]`, offsets), "negative number"},
		{"minus zero", one(f32, `"shape":[-0]`, offsets), "negative number"},
		{"dimension 1.0", one(f32, `"shape":[1.0]`, offsets), "not written as an integer"},
		{"dimension 1e3", one(f32, `"shape":[1e3]`, offsets), "not written as an integer"},
		{"dimension 01", one(f32, `"shape":[01]`, offsets), "leading zero"},
		{"dimension +1", one(f32, `"shape":[+1]`, offsets), "natural number is expected"},
		{"dimension as a string", one(f32, `"shape":["1"]`, offsets), "natural number is expected"},
		{"dimension 2^63", one(f32, `"shape":[9223372036854775808]`, offsets), "beyond 2^63"},
		{"dimension 2^64+1", one(f32, `"shape":[18446744073709551617]`, offsets), "beyond 2^63"},
		{"dimension of 30 digits", one(f32, `"shape":[100000000000000000000000000000]`, offsets), "beyond 2^63"},
		{"product overflow to 1", one(`"dtype":"U8"`, `"shape":[4294967296,4294967296]`, offsets), "overflows"},
		{"product overflow beside a zero", one(`"dtype":"U8"`, `"shape":[0,4294967296,4294967296]`, offsets), "overflows"},
		{"byte overflow to 0", one(`"dtype":"F64"`, `"shape":[2305843009213693952]`, offsets), "overflows"},
		{"bytes beyond 2^63", one(f32, `"shape":[4611686018427387903]`, offsets), "overflows"},
		{"rank of 10^6", one(f32, `"shape":[1`+strings.Repeat(",1", 999_999)+`]`, offsets), "more than 64 dimensions"},
		{"no offsets", one(f32, shape, `"data_offsets":[]`), "fewer than two"},
		{"one offset", one(f32, shape, `"data_offsets":[0]`), "fewer than two"},
		{"three offsets", one(f32, shape, `"data_offsets":[0,4,8]`), "more than two"},
		{"negative offset", one(f32, shape, `"data_offsets":[-4,0]`), "negative number"},
		{"offset 4.0", one(f32, shape, `"data_offsets":[0,4.0]`), "not written as an integer"},
		{"offset 2^63", one(f32, shape, `"data_offsets":[0,9223372036854775808]`), "beyond 2^63"},
		{"begin after end", one(f32, shape, `"data_offsets":[4,0]`), "begin 4 is after end 0"},
		{"end past the data", fileOf(`{`+tensorJSON("w", "F32", "[2]", "[0,8]")+`}`, 4), "ends at byte 8 of 4 bytes"},
		{"overlap", pair("[0,4]", "[2,6]", 6), `tensors "a" and "b" overlap`},
		{"same range", pair("[0,4]", "[0,4]", 4), `overlap`},
		{"empty tensor inside another", fileOf(`{`+tensorJSON("a", "F32", "[1]", "[0,4]")+`,`+tensorJSON("b", "F32", "[0]", "[2,2]")+`}`, 4), `overlap`},
		{"hole", pair("[0,4]", "[8,12]", 12), `4 bytes before tensor "b" belong to no tensor`},
		{"first offset is not 0", fileOf(`{`+tensorJSON("w", "F32", "[1]", "[4,8]")+`}`, 8), `4 bytes before tensor "w"`},
		{"trailing bytes", fileOf(`{`+tensorJSON("w", "F32", "[1]", "[0,4]")+`}`, 5), "1 bytes after the last tensor"},
		{"data without tensors", fileOf(`{}`, 4), "4 bytes after the last tensor"},
		{"data cut short", fileOf(`{`+tensorJSON("w", "F32", "[1]", "[0,4]")+`}`, 3), "the file is cut short"},
		{"no data", fileOf(`{`+tensorJSON("w", "F32", "[1]", "[0,4]")+`}`, 0), "the file is cut short"},
		{"more bytes than the shape", one(f32, shape, `"data_offsets":[0,8]`), "shape [1] of F32 is 4 bytes, but data_offsets span 8"},
		{"fewer bytes than the shape", one(f32, `"shape":[2,3]`, offsets), "shape [2 3] of F32 is 24 bytes, but data_offsets span 4"},
		{"metadata is an array", fileOf(`{"__metadata__":[]}`, 0), "__metadata__: '['"},
		{"metadata is a string", fileOf(`{"__metadata__":"x"}`, 0), "__metadata__: '\"'"},
		{"metadata number", fileOf(`{"__metadata__":{"a":1}}`, 0), `__metadata__: key "a": '1' where a string is expected`},
		{"metadata null value", fileOf(`{"__metadata__":{"a":null}}`, 0), `key "a": 'n'`},
		{"metadata object", fileOf(`{"__metadata__":{"a":{}}}`, 0), `key "a": '{'`},
		{"metadata key twice", fileOf(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `key "a" twice`},
		{"metadata twice", fileOf(`{"__metadata__":{},"__metadata__":{}}`, 0), "__metadata__ twice"},
		{"metadata null, then again", fileOf(`{"__metadata__":null,"__metadata__":{}}`, 0), "__metadata__ twice"},
		{"metadata nul", fileOf(`{"__metadata__":nul}`, 0), "__metadata__: 'n'"},
		{"NUL in a name", named(`a\u0000b`), `"a\x00b": control characters`},
		{"ESC in a name", named(`\u001b[31m`), `"\x1b[31m": control characters`},
		{"newline in a name", named(`a\nb`), `"a\nb": control characters`},
		{"C1 control in a name", named("a\u009bb"), "control characters"},
		{"name of 1 MB", fileOf(`{"`+strings.Repeat("n", 1<<20)+`":{}}`, 0), "…: dtype is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeTemp(t, tt.file)
			_, err := Open(path)
			checkFault(t, err, fault.Malformed, path, tt.text)
		})
	}
}

// A file that is as large as its header claims is refused all the same beyond the format's limit.
func TestOpenRefusesHugeHeader(t *testing.T) {
	path := writeTemp(t, lengthOnly(maxHeader+1, "{"))
	if err := os.Truncate(path, 8+maxHeader+1); err != nil {
		t.Skip("no sparse files here:", err)
	}
	_, err := Open(path)
	checkFault(t, err, fault.Malformed, path, "claims a header of 100000001 bytes")
}

// However many tensors a header names, memory is bounded by its size: here all of them claim the same range.
func TestOpenManyTensorsOnOneRange(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 200_000 {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `"%d":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`, i)
	}
	b.WriteString("}")
	path := writeTemp(t, fileOf(b.String(), 4))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Open(path)
	runtime.ReadMemStats(&after)
	checkFault(t, err, fault.Malformed, path, "overlap")
	if grown, limit := after.TotalAlloc-before.TotalAlloc, uint64(20*b.Len()); grown > limit {
		t.Errorf("allocated %d bytes for a header of %d", grown, b.Len())
	}
}

func TestOpenAccepts(t *testing.T) {
	tests := []struct {
		name     string
		file     []byte
		tensors  string // all of them, in order
		metadata string
	}{
		{"no tensors", fileOf(`{}`, 0), `[]`, `map[]`},
		{"scalar", fileOf(`{`+tensorJSON("s", "F32", "[]", "[0,4]")+`}`, 4), `["s" F32 []]`, `map[]`},
		{"zero-size tensor", fileOf(`{`+tensorJSON("z", "F32", "[0,3]", "[0,0]")+`}`, 0), `["z" F32 [0 3]]`, `map[]`},
		{"zero-size tensors between others", fileOf(`{`+
			tensorJSON("a", "U8", "[2]", "[0,2]")+`,`+tensorJSON("z", "F32", "[0]", "[2,2]")+`,`+
			tensorJSON("b", "U8", "[1]", "[2,3]")+`,`+tensorJSON("y", "F32", "[0]", "[3,3]")+`}`, 3),
			`["a" U8 [2] "z" F32 [0] "b" U8 [1] "y" F32 [0]]`, `map[]`},
		{"order of the data, not of the header", fileOf(`{`+tensorJSON("b", "U8", "[1]", "[1,2]")+`,`+
			tensorJSON("a", "U8", "[1]", "[0,1]")+`}`, 2), `["a" U8 [1] "b" U8 [1]]`, `map[]`},
		{"empty metadata", fileOf(`{"__metadata__":{}}`, 0), `[]`, `map[]`},
		{"null metadata", fileOf(`{"__metadata__":null}`, 0), `[]`, `map[]`},
		{"metadata", fileOf(`{"__metadata__":{"format":"pt","note":"a\nb\u0000"}}`, 0), `[]`, "map[format:pt note:a\nb\x00]"},
		{"padding with spaces", fileOf(`{}      `, 0), `[]`, `map[]`},
		{"white space everywhere", fileOf("{ \"a\" :\t{ \"dtype\":\n\"U8\" , \"shape\" : [ 1 , 1 ] ,\r\"data_offsets\":[ 0,1 ] } }\n ", 1), `["a" U8 [1 1]]`, `map[]`},
		{"escapes in a name", fileOf(`{"\u00e9\ud83d\ude00\/\"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `["é😀/\"" U8 [1]]`, `map[]`},
		{"64 dimensions", fileOf(`{`+tensorJSON("r", "U8", "[1"+strings.Repeat(",1", 63)+"]", "[0,1]")+`}`, 1),
			`["r" U8 [1` + strings.Repeat(" 1", 63) + `]]`, `map[]`},
		{"8-bit floats", fileOf(`{`+tensorJSON("a", "F8_E4M3", "[1]", "[0,1]")+`,`+tensorJSON("b", "F8_E5M2", "[1]", "[1,2]")+`}`, 2),
			`["a" F8_E4M3 [1] "b" F8_E5M2 [1]]`, `map[]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Open(writeTemp(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got := fmt.Sprint(f.Tensors()); got != tt.tensors {
				t.Errorf("tensors are %s, want %s", got, tt.tensors)
			}
			if got := fmt.Sprint(f.Metadata()); got != tt.metadata {
				t.Errorf("metadata is %q, want %q", got, tt.metadata)
			}
			for _, want := range f.Tensors() {
				got, ok := f.Lookup(want.Name)
				if !ok || got.Name != want.Name || got.Offset() != want.Offset() {
					t.Errorf("Lookup(%q) = %v, %v", want.Name, got, ok)
				}
				if len(got.Data()) != int(got.Size()) || got.Len()*got.DType.Size() != int(got.Size()) {
					t.Errorf("%v has %d elements and %d bytes", got, got.Len(), len(got.Data()))
				}
			}
		})
	}
}
