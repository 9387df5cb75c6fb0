package checkpoint

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"unicode/utf8"
)

// Whatever parseHeader accepts is JSON, covers the data exactly, and can be written and read again.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"__metadata__":{"format":"pt"}}   `, `{"__metadata__":null}`,
		`{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}`,
		`{"a":{"shape":[0],"data_offsets":[0,0],"dtype":"BF16"}}`, `{"\ud83d\ude00":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
		`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, `{"a":[[[[`, `{"a":{"shape":[1e3]}}`, "\ufeff{}", `{}{}`,
	} {
		for _, size := range []int64{0, 1, 8, 9} {
			f.Add([]byte(seed), size)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < 0 {
			return
		}
		h, err := parseHeader(b, size)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("accepted what is not JSON: %q", b)
		}
		var entries []Entry
		var end int64
		for _, tensor := range h.tensors {
			if tensor.offset != end || tensor.size < 0 || len(tensor.Shape) > maxRank {
				t.Fatalf("%v at %d, after %d bytes", tensor, tensor.offset, end)
			}
			end += tensor.size
			if i, ok := h.byName[tensor.Name]; !ok || h.tensors[i].Name != tensor.Name {
				t.Fatalf("%v is not found by its name", tensor)
			}
			entries = append(entries, Entry{Name: tensor.Name, DType: tensor.DType, Shape: tensor.Shape})
		}
		if end != size {
			t.Fatalf("tensors of %d bytes for %d bytes of data", end, size)
		}
		again, _, err := encodeHeader("", entries, h.metadata)
		if err != nil {
			t.Fatal(err)
		}
		h2, err := parseHeader(again[8:], size)
		if err != nil {
			t.Fatalf("%q was written as %q: %v", b, again, err)
		}
		same := func(a, b Tensor) bool {
			return a.Name == b.Name && a.DType == b.DType && a.offset == b.offset && slices.Equal(a.Shape, b.Shape)
		}
		if !slices.EqualFunc(h.tensors, h2.tensors, same) || !maps.Equal(h.metadata, h2.metadata) {
			t.Fatalf("%q was written as %q", b, again)
		}
	})
}

// Whatever parseIndex accepts, encoding/json reads the same way, and no shard's name can leave the directory.
func FuzzIndex(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"total_size":12,"x":[1.5e-3,null,true,"\n"]},"weight_map":{"a":"model-00001-of-00002.safetensors"}}`,
		`{"weight_map":{"a":"x.safetensors","b":"x.safetensors"}}`, `{"weight_map":{}}`, `{"weight_map":{"a":"../x.safetensors"}}`,
		`{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}`, `{"weight_map":null}`, `[]`, `{"m":[[[[[[[[`, `{"m":-0.0e+10}`, `{"m":01}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		weights, err := parseIndex(b)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		var inner map[string]string
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("accepted %q, but %v", b, err)
		}
		if err := json.Unmarshal(want["weight_map"], &inner); err != nil || !maps.Equal(weights, inner) {
			t.Fatalf("%q is %v, want %v, %v", b, weights, inner, err)
		}
		for _, shard := range weights {
			if !validShard(shard) {
				t.Fatalf("accepted the shard %q", shard)
			}
		}
	})
}

// The scanner accepts no text that encoding/json refuses, and refuses for depth and lone surrogates only what that accepts.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`null`, `[1,-0,0.5,1E+2]`, `{"a":{"b":[]}}`, `"\u00e9\n"`, `"\ud800"`, `tru`, `-`, `1.`, `.5`, `1e`, `00`, `[1,]`, `"\`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) {
			return
		}
		s := &scanner{b: b}
		err := s.skip(0)
		if err == nil {
			err = s.end()
		}
		if valid := json.Valid(b); err == nil && !valid {
			t.Fatalf("accepted %q", b)
		} else if err != nil && valid && len(b) <= maxDepth && !bytes.Contains(b, []byte(`\u`)) {
			t.Fatalf("refused %q: %v", b, err)
		}
	})
}
