package fuse

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/merge"
)

// TestSums compares every stored type with sums formed independently, entry by entry.
func TestSums(t *testing.T) {
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16, checkpoint.F16, checkpoint.F64} {
		t.Run(dtype.String(), func(t *testing.T) {
			w := newWorld(t, dtype)
			a := w.adapter("a.st", 1, 200, 1e-3)
			b := w.adapter("b.st", 2, 150, 1)
			refs := []Source{{Path: a.Path, Weight: 0.3}, {Path: b.Path, Weight: -1.5}}
			report, err := Run(t.Context(), Options{Base: w.base, Adapters: refs, Out: w.path("out.st")})
			if err != nil {
				t.Fatal(err)
			}
			before, after := read(t, w.base), read(t, w.path("out.st"))
			var entries, changed int64
			for name, old := range before {
				want := bytes.Clone(old)
				for i, delta := range w.reference(name, []*adapter.Adapter{a, b}, refs, dtype) {
					entries++
					addOne(want, i, delta, dtype)
					if size := dtype.Size(); !bytes.Equal(want[i*size:(i+1)*size], old[i*size:(i+1)*size]) {
						changed++
					}
				}
				if !bytes.Equal(after[name], want) {
					t.Errorf("%s: the fused bytes are not those of base + deltas", name)
				}
			}
			if s := report.Survival; s.Entries != entries || s.Changed != changed || *s.Share != float64(changed)/float64(entries) {
				t.Errorf("survival %+v, want %d of %d", s, changed, entries)
			}
			if dtype == checkpoint.BF16 && changed == entries {
				t.Error("the test's small deltas should not all survive bf16")
			}
		})
	}
}

// addOne adds delta to element i of data, with one rounding to dtype. It is written without the package's code.
func addOne(data []byte, i int, delta float64, dtype checkpoint.DType) {
	switch dtype {
	case checkpoint.F64:
		putUint(data[8*i:8*i+8], math.Float64bits(math.Float64frombits(getUint(data[8*i:8*i+8]))+delta))
	case checkpoint.F32:
		putUint(data[4*i:4*i+4], uint64(math.Float32bits(math.Float32frombits(uint32(getUint(data[4*i:4*i+4])))+float32(delta))))
	case checkpoint.BF16:
		v := math.Float32frombits(uint32(getUint(data[2*i:2*i+2]))<<16) + float32(delta)
		putUint(data[2*i:2*i+2], nearest(float64(v), func(u uint16) float64 {
			return float64(math.Float32frombits(uint32(u) << 16))
		}))
	case checkpoint.F16:
		v := float32(halfValue(uint16(getUint(data[2*i:2*i+2])))) + float32(delta)
		putUint(data[2*i:2*i+2], nearest(float64(v), halfValue))
	}
}

// nearest finds the 16-bit pattern of the value nearest to v by bisection over the positive patterns, ties to even.
func nearest(v float64, value func(uint16) float64) uint64 {
	lo, hi := uint16(0), uint16(0x7bff)
	if value(0x7bff) > 70000 { // bf16
		hi = 0x7f7f
	}
	abs := math.Abs(v)
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; value(mid) <= abs {
			lo = mid
		} else {
			hi = mid
		}
	}
	below, above := abs-value(lo), value(hi)-abs
	u := lo
	if above < below || above == below && lo&1 == 1 {
		u = hi
	}
	if math.Signbit(v) {
		u |= 0x8000
	}
	return uint64(u)
}

func halfValue(h uint16) float64 {
	v := math.Ldexp(float64(h&0x3ff), -24)
	if e := int(h >> 10 & 0x1f); e > 0 {
		v = math.Ldexp(float64(h&0x3ff|0x400), e-25)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}

func getUint(b []byte) (u uint64) {
	for i := range b {
		u |= uint64(b[i]) << (8 * i)
	}
	return u
}

func putUint(b []byte, u uint64) {
	for i := range b {
		b[i] = byte(u >> (8 * i))
	}
}

// TestOrderDoesNotMatter fuses three overlapping adapters in every order, by every method.
func TestOrderDoesNotMatter(t *testing.T) {
	for _, m := range merge.Methods() {
		t.Run(m.Name, func(t *testing.T) { orderDoesNotMatter(t, m) })
	}
}

func orderDoesNotMatter(t *testing.T, m *merge.Method) {
	p := merge.DefaultParams()
	if m.Density {
		p.Density = 0.5
	}
	w := newWorld(t, checkpoint.F32)
	var refs []Source
	for i, name := range []string{"a.st", "b.st", "c.st"} {
		refs = append(refs, Source{Path: w.adapter(name, uint64(i), 400, 1).Path, Weight: 0.1 * float64(i+1)})
	}
	var want []byte
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		out := w.path("out.st")
		_, err := Run(t.Context(), Options{
			Base: w.base, Out: out, Force: true, Adapters: []Source{refs[order[0]], refs[order[1]], refs[order[2]]},
			Method: m.Name, Params: p,
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("order %v: other bytes", order)
		}
	}
}

// TestSingleAdapterEqualsAddTo holds a fused model to what evaluation with the adapter computes.
func TestSingleAdapterEqualsAddTo(t *testing.T) {
	w := newWorld(t, checkpoint.F32)
	a := w.adapter("a.st", 1, 300, 0.01)
	if _, err := Run(t.Context(), Options{Base: w.base, Adapters: []Source{{Path: a.Path, Weight: 0.7}}, Out: w.path("o.st")}); err != nil {
		t.Fatal(err)
	}
	before, after := read(t, w.base), read(t, w.path("o.st"))
	for _, d := range a.Deltas {
		data := before[adapter.WeightName(d)]
		v := make([]float32, len(data)/4)
		if err := checkpoint.DecodeFloat32(v, checkpoint.F32, data); err != nil {
			t.Fatal(err)
		}
		adapter.AddTo(v, slices.Clone(v), d, 0.7)
		if err := checkpoint.EncodeFloat32(data, checkpoint.F32, v); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, after[adapter.WeightName(d)]) {
			t.Errorf("%s: fused weight differs from AddTo", d.Module())
		}
	}
}

func TestReport(t *testing.T) {
	w := newWorld(t, checkpoint.F32)
	const up, down = 1, -2
	a := w.exact("a.st", map[int]float32{0: up, 5: up, 9: up, 20: 0, 30: up})
	b := w.exact("b.st", map[int]float32{5: down, 9: up, 20: up, 30: -up, 40: 1e-30})
	refs := []Source{{Path: a, Weight: 1}, {Path: b, Weight: 1}}
	r, err := Run(t.Context(), Options{Base: w.base, Adapters: refs, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Output != w.path("base-fused.st") || exists(r.Output) {
		t.Errorf("dry run: output %q, written: %v", r.Output, exists(r.Output))
	}
	common := Overlap{A: 0, B: 1, Entries: 4, Share: 4.0 / 6, SignConflicts: 2, Cosine: -2 / (2 * math.Sqrt(7))}
	// Entry 30 cancels, so it has no weighted delta in the sum; 1e-30 vanishes.
	checks := []struct {
		what      string
		got, want any
	}{
		{"total", r.Survival, survival(5, 4)},
		{"a", r.Adapters[0].Survival, survival(4, 3)},
		{"b", r.Adapters[1].Survival, survival(5, 3)},
		{"tensors", r.Tensors, []TensorReport{{
			Name: "model.layers.0.q_proj.weight", DType: "F32", Survival: survival(5, 4), Norm: math.Sqrt(1 + 1 + 4 + 1 + 1e-60),
			Adapters: []TensorsShare{
				{Weight: 1, Entries: 5, Norm: 2, Survival: survival(4, 3)},
				{Weight: 1, Entries: 5, Norm: math.Sqrt(7), Survival: survival(5, 3)},
			},
			Overlaps: []Overlap{common},
		}}},
		{"overlap", r.Overlaps, []Overlap{common}},
		{"parameters", r.Adapters[0].Parameters, int64(5)},
	}
	for _, c := range checks {
		got, _ := json.Marshal(c.got)
		want, _ := json.Marshal(c.want)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %s, want %s", c.what, got, want)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"output":`, `"survival":{"entries":5,"changed":4,"share":0.8}`, `"adapters":[{"path":`} {
		if !strings.Contains(string(text), field) {
			t.Errorf("the report's JSON lacks %s: %s", field, text)
		}
	}
}

func TestIdentity(t *testing.T) {
	w := newWorld(t, checkpoint.BF16)
	a := w.adapter("a.st", 1, 100, 1)
	for name, ref := range map[string]Source{
		"weight 0":  {Path: a.Path, Weight: 0},
		"untrained": {Path: w.exact("zero.st", map[int]float32{3: 0, 4: 0}), Weight: 1},
	} {
		r, err := Run(t.Context(), Options{Base: w.base, Adapters: []Source{ref}, Out: w.path("out.st"), Force: true, MinSurvival: 1})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Survival.Entries != 0 || r.Survival.Share != nil {
			t.Errorf("%s: survival %+v", name, r.Survival)
		}
		before, after := read(t, w.base), read(t, w.path("out.st"))
		for tensor := range before {
			if !bytes.Equal(before[tensor], after[tensor]) {
				t.Errorf("%s: %s changed", name, tensor)
			}
		}
	}
}

func TestMetadata(t *testing.T) {
	w := newWorld(t, checkpoint.F32)
	a := w.adapter("a.st", 1, 10, 1)
	m := open(t, w.base)
	base, err := m.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	a.Config.BaseFingerprint = base
	if err := a.SaveFile(a.Path); err != nil {
		t.Fatal(err)
	}
	refs := []Source{{Path: a.Path, Weight: 0.5}}
	if _, err := Run(t.Context(), Options{Base: w.base, Adapters: refs, Out: w.path("1.st")}); err != nil {
		t.Fatal(err)
	}
	got := open(t, w.path("1.st")).Files()[0].Metadata()
	if got["format"] != "pt" {
		t.Errorf("the base's metadata is lost: %v", got)
	}
	want := []adapter.Fusion{{Adapter: "a.st", Digest: a.Digest(), Weight: 0.5, Base: base}}
	if list := adapter.Fusions(got); !slices.Equal(list, want) {
		t.Errorf("record %+v, want %+v", list, want)
	}

	// Once more into the result: refused, as the base is another now, with a hint that says why.
	_, err = Run(t.Context(), Options{Base: w.path("1.st"), Adapters: refs, Out: w.path("2.st")})
	if fault.KindOf(err) != fault.Incompatible || !strings.Contains(fault.HintOf(err), "already fused into this base, with weight 0.5") {
		t.Errorf("fusing twice: %v, hint %q", err, fault.HintOf(err))
	}
	if _, err := Run(t.Context(), Options{Base: w.path("1.st"), Adapters: refs, Out: w.path("2.st"), ForceBase: true}); err != nil {
		t.Fatal(err)
	}
	if list := adapter.Fusions(open(t, w.path("2.st")).Files()[0].Metadata()); len(list) != 2 || list[0] != want[0] {
		t.Errorf("the second record forgets the first: %+v", list)
	}
}

func TestProgress(t *testing.T) {
	w := newWorld(t, checkpoint.F32)
	a := w.adapter("a.st", 1, 10, 1)
	var last, total int64
	_, err := Run(t.Context(), Options{
		Base: w.base, Adapters: []Source{{Path: a.Path, Weight: 1}}, Out: w.path("o.st"),
		Progress: func(done, all int64) {
			if done <= last || done > all {
				t.Errorf("progress %d of %d after %d", done, all, last)
			}
			last, total = done, all
		},
	})
	if err != nil || last != total || total == 0 {
		t.Errorf("progress ended at %d of %d (err %v)", last, total, err)
	}
}

// TestLargeRows crosses the blocks' bounds: rows that do not divide a block, and a row larger than one.
func TestLargeRows(t *testing.T) {
	for _, shape := range [][2]int{{700, 999}, {3, 1<<19 + 7}} {
		dir := t.TempDir()
		out, in := shape[0], shape[1]
		g := rand.New(rand.NewPCG(3, 4))
		values := make([]float32, out*in)
		for i := range values {
			values[i] = g.Float32()
		}
		base := filepath.Join(dir, "base.st")
		must(t, checkpoint.Write(base, []checkpoint.Entry{checkpoint.Float32Entry("m.weight", checkpoint.BF16, []int{out, in}, values)}, nil))
		var flat []int64
		for i := 0; i < out*in; i += 1 + g.IntN(in/3) {
			flat = append(flat, int64(i))
		}
		flat = append(flat, int64(out*in-1))
		s := adapter.NewSparse("m", out, in, slices.Compact(flat))
		for k := range s.Values {
			s.Values[k] = 2
		}
		a := &adapter.Adapter{Config: adapter.Config{Method: "shira", R: 1}, Deltas: []adapter.Delta{s}}
		path := filepath.Join(dir, "a.st")
		must(t, a.SaveFile(path))
		if _, err := Run(context.Background(), Options{Base: base, Adapters: []Source{{Path: path, Weight: 1}}}); err != nil {
			t.Fatal(err)
		}
		want := read(t, base)["m.weight"]
		for _, i := range slices.Compact(flat) {
			addOne(want, int(i), 2, checkpoint.BF16)
		}
		if !bytes.Equal(read(t, filepath.Join(dir, "base-fused.st"))["m.weight"], want) {
			t.Errorf("shape %v: wrong bytes", shape)
		}
	}
}
