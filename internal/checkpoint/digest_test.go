package checkpoint

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// The values are those of the reference implementation.
func TestXXH64(t *testing.T) {
	tests := []struct {
		in   string
		want uint64
	}{
		{"", 0xef46db3751d8e999},
		{"a", 0xd24ec4f1a98c6e5b},
		{"as", 0x1c330fb2d66be179},
		{"asd", 0x631c37ce72a97393},
		{"asdf", 0x415872f599cea71e},
		{"abc", 0x44bc2cf5ad770999},
		{"Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1},
		{"Call me Ishmael. Some years ago--never mind how long precisely-", 0x02a2e85470d6fd96},
	}
	for _, tt := range tests {
		if got := xxh64([]byte(tt.in)); got != tt.want {
			t.Errorf("XXH64(%q) = %#x, want %#x", tt.in, got, tt.want)
		}
	}
}

// mixed is a model with types, a tensor of several chunks, a scalar, and tensors without data.
func mixed() []Entry {
	r := rand.New(rand.NewPCG(3, 4))
	big := make([]float32, 3*digestChunk/4+5)
	for i := range big {
		big[i] = float32(r.NormFloat64())
	}
	return []Entry{
		Float32Entry("empty", F32, []int{0, 7}, nil),
		Float32Entry("big", F32, []int{len(big)}, big),
		Float32Entry("none", BF16, []int{0}, nil),
		Float32Entry("half", F16, []int{2, 3}, big[:6]),
		Float32Entry("scalar", F64, nil, big[:1]),
		{Name: "mask", DType: BOOL, Shape: []int{3}, Bytes: []byte{1, 0, 1}},
		Float32Entry("last", F32, []int{0}, nil),
	}
}

// mixedFingerprint was computed from the written definition by another implementation. It must never change: adapters
// carry fingerprints.
const mixedFingerprint = "xxh64-sha256:c922da93f3e490ea57a0e38c2aec37189a0af5cd1e3dc6ea3161e03071897aa7"

func TestFingerprintIsStable(t *testing.T) {
	m := openedModel(t, put(t, t.TempDir(), "m", mixed()...))
	if got := fingerprint(t, m); got != mixedFingerprint {
		t.Errorf("fingerprint is %s, want %s", got, mixedFingerprint)
	}
}

// The fingerprint is that of the tensors, however they are stored.
func TestFingerprintIgnoresStorage(t *testing.T) {
	dir := t.TempDir()
	entries := mixed()
	want := fingerprint(t, openedModel(t, put(t, dir, "one", entries...)))

	reversed := slices.Clone(entries)
	slices.Reverse(reversed)
	path := filepath.Join(dir, "reversed")
	if err := Write(path, reversed, map[string]string{"format": "pt", "note": "other metadata, other padding"}); err != nil {
		t.Fatal(err)
	}
	if got := fingerprint(t, openedModel(t, path)); got != want {
		t.Errorf("another order and metadata: %s, want %s", got, want)
	}

	l := layout{t, filepath.Join(dir, "sharded")}
	l.mkdir("")
	put(t, l.dir, shard1, entries[2:]...)
	put(t, l.dir, shard2, entries[:2]...)
	var pairs []string
	for i, e := range entries {
		pairs = append(pairs, e.Name, []string{shard2, shard1}[min(i/2, 1)])
	}
	l.index(pairs...)
	if got := fingerprint(t, openedModel(t, l.dir)); got != want {
		t.Errorf("in shards: %s, want %s", got, want)
	}
}

// Whatever differs between two models, the fingerprint does.
func TestFingerprintSeesEverything(t *testing.T) {
	dir := t.TempDir()
	base := []Entry{{Name: "w", DType: F32, Shape: []int{2, 3}, Bytes: make([]byte, 24)}, f32("v", 0)}
	seen := map[string]string{fingerprint(t, openedModel(t, put(t, dir, "base", base...))): "base"}
	check := func(name string, entries ...Entry) {
		fp := fingerprint(t, openedModel(t, put(t, dir, "changed", entries...)))
		if other, ok := seen[fp]; ok {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[fp] = name
	}
	data := func(dtype DType, shape ...int) Entry {
		return Entry{Name: "w", DType: dtype, Shape: shape, Bytes: make([]byte, 24)}
	}
	check("other shape", data(F32, 3, 2), base[1])
	check("flat shape", data(F32, 6), base[1])
	check("rank 3", data(F32, 2, 3, 1), base[1])
	check("other type", data(I32, 2, 3), base[1])
	check("other name", Entry{Name: "w2", DType: F32, Shape: []int{2, 3}, Bytes: make([]byte, 24)}, base[1])
	check("one tensor fewer", base[0])
	check("one tensor more", base[0], base[1], f32("x"))
	for i := range 24 {
		b := make([]byte, 24)
		b[i] = 1
		check("one bit", Entry{Name: "w", DType: F32, Shape: []int{2, 3}, Bytes: b}, base[1])
	}
}

// A change of a single element in any chunk of a large tensor counts, as does an exchange of two chunks.
func TestDigestSeesEveryChunk(t *testing.T) {
	const n = 2*digestChunk/4 + 100
	dir := t.TempDir()
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i)
	}
	digest := func() Digest {
		f := opened(t, put(t, dir, "w", f32("w", values...)))
		w, _ := f.Lookup("w")
		d, err := w.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := digest()
	if got := digest(); got != want {
		t.Errorf("two digests: %s, %s", got, want)
	}
	for _, i := range []int{0, 1, digestChunk/4 - 1, digestChunk / 4, digestChunk / 2, n - 1} {
		was := values[i]
		values[i] = math.Nextafter32(was, 1e9)
		if digest() == want {
			t.Errorf("the digest does not see element %d", i)
		}
		values[i] = was
	}
	chunk := digestChunk / 4
	swapped := slices.Concat(values[chunk:2*chunk], values[:chunk], values[2*chunk:])
	values = swapped
	if digest() == want {
		t.Error("the digest does not see the order of chunks")
	}
}

// The digests of many tensors at once are those of each.
func TestDigests(t *testing.T) {
	f := opened(t, put(t, t.TempDir(), "m", mixed()...))
	all, err := Digests(f.Tensors())
	if err != nil {
		t.Fatal(err)
	}
	for i, tensor := range f.Tensors() {
		got, err := tensor.Digest()
		if err != nil || got != all[i] || len(got.String()) != 16 {
			t.Errorf("%v: %s, %v; among others %s", tensor, got, err, all[i])
		}
	}
	if none, err := Digests(nil); err != nil || len(none) != 0 {
		t.Errorf("no tensors: %v, %v", none, err)
	}
}

func TestFingerprintOf(t *testing.T) {
	m := openedModel(t, put(t, t.TempDir(), "m", f32("a", 1), f32("b", 2), f32("c", 3)))
	of := func(names ...string) string {
		fp, err := m.FingerprintOf(names)
		if err != nil {
			t.Fatal(err)
		}
		return fp
	}
	if of("a", "b", "c") != fingerprint(t, m) {
		t.Error("all tensors do not give the model's fingerprint")
	}
	if of("b", "a", "b") != of("a", "b") {
		t.Error("order or repeats matter")
	}
	if of("a", "b") == of("a", "c") || of("a") == of() {
		t.Error("names do not matter")
	}
	_, err := m.FingerprintOf([]string{"a", "x", "y"})
	checkFault(t, err, fault.Incompatible, m.Dir(), `no tensor "x"; the model has no tensor "y"`)
}

// The same model, converted twice, is one base.
func TestFingerprintOfRealModels(t *testing.T) {
	a := openedModel(t, sharedDir(t, "data", "llama", "stories260K-hf"))
	b := openedModel(t, sharedDir(t, "golden", "stories260K"))
	c := openedModel(t, sharedDir(t, "golden", "llama"))
	if fingerprint(t, a) != fingerprint(t, b) {
		t.Error("two copies of stories260K differ")
	}
	if fingerprint(t, a) == fingerprint(t, c) || !strings.HasPrefix(fingerprint(t, c), "xxh64-sha256:") {
		t.Error("two models agree")
	}
}
