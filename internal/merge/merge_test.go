package merge

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// weight returns a tensor of a file.
func weight(t *testing.T, name string, dtype checkpoint.DType, out, in int, values []float32) checkpoint.Tensor {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base.st")
	must(t, checkpoint.Write(path, []checkpoint.Entry{checkpoint.Float32Entry(name, dtype, []int{out, in}, values)}, nil))
	m, err := checkpoint.OpenModel(path)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	w, _ := m.Lookup(name)
	return w
}

// sparse returns a change of the entries that are not 0; dense the same change as a product with the unit matrix.
func sparse(module string, out, in int, values []float32) adapter.Delta {
	var flat []int64
	for i, v := range values {
		if v != 0 {
			flat = append(flat, int64(i))
		}
	}
	d := adapter.NewSparse(module, out, in, flat)
	for k, i := range flat {
		d.Values[k] = values[i]
	}
	return d
}

func dense(module string, out, in int, values []float32) adapter.Delta {
	b := make([]float32, out*out)
	for i := range out {
		b[i*out+i] = 1
	}
	return &adapter.LowRank{Name: module, Out: out, In: in, R: out, A: values, B: b, Scale: 1}
}

// merged returns the merged change and what it does to the tensor's bytes, in blocks of any rows.
func merged(t *testing.T, target *Target, rows int) (change []float32, bytes []byte) {
	t.Helper()
	must(t, target.Prepare(t.Context()))
	out, in := target.Shape[0], target.Shape[1]
	change = make([]float32, out*in)
	w := target.NewWorker(nil)
	for first := 0; first < out; first += rows {
		n := min(rows, out-first)
		block, err := target.Read(nil, first, n)
		must(t, err)
		must(t, w.Merged(change[first*in:(first+n)*in], block, first))
		_, err = w.Apply(block, first)
		must(t, err)
		bytes = append(bytes, block...)
	}
	return change, bytes
}

// TestPEFT compares with peft.utils.merge_utils; testdata/reference.py wrote what it gave.
func TestPEFT(t *testing.T) {
	var ref struct {
		Out, In int
		Name    string
		Seed    uint64
		Weights []float64
		Changes [][]float32
		Cases   []struct {
			Method  string
			Density float64
			Sign    string `json:"majority_sign_method"`
			Want    []float32
		}
	}
	data, err := os.ReadFile("testdata/peft.json")
	must(t, err)
	must(t, json.Unmarshal(data, &ref))
	base := weight(t, ref.Name, checkpoint.F32, ref.Out, ref.In, make([]float32, ref.Out*ref.In))
	if len(ref.Cases) < 16 {
		t.Fatalf("%d cases", len(ref.Cases))
	}
	for _, c := range ref.Cases {
		m, err := Lookup(c.Method)
		must(t, err)
		p := Params{Density: c.Density, MajoritySign: c.Sign}
		if m.Random {
			p.Seed = ref.Seed
		}
		must(t, m.Check(p))
		var terms []Term
		for i, change := range ref.Changes {
			terms = append(terms, Term{Delta: dense("m", ref.Out, ref.In, change), Weight: ref.Weights[i], Adapter: i, Salt: strconv.Itoa(i)})
		}
		got, _ := merged(t, New(base, terms, m, p, 3), 4)
		for i, want := range c.Want {
			if math.Abs(float64(got[i]-want)) > 1e-6 {
				t.Errorf("%s, density %v, %s: entry %d is %v, want %v", c.Method, c.Density, c.Sign, i, got[i], want)
				break
			}
		}
	}
}

// random returns n normal values, of which a share is 0.
func randomValues(seed uint64, n int, zeros float64) []float32 {
	g := rand.New(rand.NewPCG(seed, 9))
	v := make([]float32, n)
	for i := range v {
		if x := float32(g.NormFloat64()); g.Float64() >= zeros {
			v[i] = x
		}
	}
	return v
}

// TestMethods holds every method of the table to what all have in common.
func TestMethods(t *testing.T) {
	const out, in = 23, 37
	values := [][]float32{randomValues(1, out*in, 0.5), randomValues(2, out*in, 0.6), randomValues(3, out*in, 0)}
	for _, m := range Methods() {
		t.Run(m.Name, func(t *testing.T) {
			for _, name := range append([]string{m.Name}, m.Aliases...) {
				if found, err := Lookup(name); err != nil || found != m {
					t.Errorf("%s is %v, %v", name, found, err)
				}
			}
			if m.Doc == "" {
				t.Error("no description")
			}
			p := DefaultParams()
			if m.Density {
				p.Density = 0.4
			}
			must(t, m.Check(p))
			for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16, checkpoint.F16, checkpoint.F64} {
				base := weight(t, "m.weight", dtype, out, in, randomValues(4, out*in, 0))
				run := func(p Params, rows int, terms ...Term) ([]float32, []byte) {
					return merged(t, New(base, terms, m, p, 3), rows)
				}
				term := func(i int, weight float64, kind func(string, int, int, []float32) adapter.Delta) Term {
					return Term{Delta: kind("m", out, in, values[i]), Weight: weight, Adapter: i, Salt: strconv.Itoa(i)}
				}
				a, b, c := term(0, 0.7, sparse), term(1, -0.3, sparse), term(2, 1, dense)

				if _, got := run(p, 5, term(0, 0, sparse), term(2, 0, dense)); !bytes.Equal(got, base.Data()) {
					t.Errorf("%v: weights of 0 change the base", dtype)
				}
				whole, stored := run(p, out, a, b, c)
				if parts, s := run(p, 4, a, b, c); !slices.Equal(parts, whole) || !bytes.Equal(s, stored) {
					t.Errorf("%v: blocks of rows give something else than the whole", dtype)
				}
				all := p
				all.Density = 1
				if one, _ := run(all, 5, a); !slices.Equal(one, scaled(values[0], 0.7, dtype)) {
					t.Errorf("%v: one adapter of density 1 is not linear", dtype)
				}
				// The same change, given as entries or as a product. A density is a share of what each has.
				x, y := term(0, 0.7, sparse), term(0, 0.7, dense)
				first, s := run(all, 7, x, b)
				if second, s2 := run(all, 7, y, b); !slices.Equal(first, second) || !bytes.Equal(s, s2) {
					t.Errorf("%v: entries and a product of the same change differ", dtype)
				}
				again, _ := run(p, 9, a, b, c)
				if !slices.Equal(again, whole) {
					t.Errorf("%v: not reproducible", dtype)
				}
			}
		})
	}
}

func scaled(values []float32, weight float64, dtype checkpoint.DType) []float32 {
	if dtype != checkpoint.F64 {
		weight = float64(float32(weight))
	}
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(weight * float64(v))
	}
	return out
}

// TestLargest counts what is kept, also where many entries are of one magnitude: then the first ones.
func TestLargest(t *testing.T) {
	const out, in = 40, 50
	many := make([]float32, out*in)
	for i := range many {
		many[i] = float32(1 + i%2) // half of them 2
	}
	for _, c := range []struct {
		name    string
		values  []float32
		density float64
		want    int
	}{
		{"different", randomValues(1, out*in, 0), 0.37, 740},
		{"ties", many, 0.25, 500},
		{"ties below", many, 0.75, 1500},
		{"almost none", many, 1e-9, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for kind, make := range map[string]func(string, int, int, []float32) adapter.Delta{"sparse": sparse, "dense": dense} {
				target := New(weight(t, "m.weight", checkpoint.F32, out, in, randomValues(5, out*in, 0)),
					[]Term{{Delta: make("m", out, in, c.values), Weight: 1}}, &magnitude, Params{Density: c.density, MajoritySign: Total}, 1)
				got, _ := merged(t, target, 7)
				kept, least, most := 0, float32(math.Inf(1)), float32(0)
				for i, v := range got {
					if v != 0 {
						kept++
						least = min(least, float32(math.Abs(float64(v))))
					} else {
						most = max(most, float32(math.Abs(float64(c.values[i]))))
					}
				}
				if kept != c.want || kept > 0 && least < most {
					t.Errorf("%s: kept %d, want %d; the least kept is %v, the most dropped %v", kind, kept, c.want, least, most)
				}
				if c.name == "ties" && slices.IndexFunc(got[1000:], func(v float32) bool { return v != 0 }) >= 0 {
					t.Errorf("%s: of equal entries the first should stay", kind)
				}
			}
		})
	}
}

// TestRandom checks the share that DARE keeps, and that weights, adapters and seeds have choices of their own.
func TestRandom(t *testing.T) {
	const out, in = 100, 200
	ones := make([]float32, out*in)
	for i := range ones {
		ones[i] = 1
	}
	kept := func(name, salt string, seed uint64) []bool {
		base := weight(t, name+".weight", checkpoint.F32, out, in, make([]float32, out*in))
		got, _ := merged(t, New(base, []Term{{Delta: dense(name, out, in, ones), Weight: 1, Salt: salt}}, &dare,
			Params{Density: 0.25, MajoritySign: Total, Seed: seed}, 1), 13)
		list := make([]bool, len(got))
		n := 0
		for i, v := range got {
			if v != 0 && v != 4 {
				t.Fatalf("entry %d is %v: want 1/0.25", i, v)
			}
			if list[i] = v != 0; list[i] {
				n++
			}
		}
		// The deviation of a count of 20,000 draws at ¼ is 61.
		if math.Abs(float64(n)-out*in/4) > 5*61 {
			t.Errorf("kept %d of %d", n, out*in)
		}
		return list
	}
	first := kept("m", "a", 1)
	for _, other := range [][]bool{kept("n", "a", 1), kept("m", "b", 1), kept("m", "a", 2)} {
		same := 0
		for i := range first {
			if first[i] == other[i] {
				same++
			}
		}
		// Independent choices agree with probability 10/16; the deviation is 69.
		if math.Abs(float64(same)-out*in*10/16) > 5*69 {
			t.Errorf("two choices agree in %d of %d entries", same, out*in)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		method string
		p      Params
		ok     bool
	}{
		{"ties", Params{0.5, Frequency, 0}, true},
		{"dare-ties", Params{0.5, Total, 3}, true},
		{"linear", Params{0.5, Total, 0}, false},
		{"ties", Params{0, Total, 0}, false},
		{"ties", Params{1.5, Total, 0}, false},
		{"ties", Params{math.NaN(), Total, 0}, false},
		{"ties", Params{1, "most", 0}, false},
		{"ties", Params{1, Total, 1}, false},
		{"dare", Params{1, Frequency, 1}, false},
	} {
		m, err := Lookup(c.method)
		must(t, err)
		if err := m.Check(c.p); (err == nil) != c.ok || err != nil && fault.KindOf(err) != fault.Usage {
			t.Errorf("%s with %+v: %v", c.method, c.p, err)
		}
	}
	for name, hint := range map[string]string{"slerp": "", "ties_svd": "--method ties --adapter-only --rank N", "svd": "--rank", "cat": "--adapter-only"} {
		if _, err := Lookup(name); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), hint) {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

// TestHalves holds the sums without branches to those of the readable way, over all kinds of numbers.
func TestHalves(t *testing.T) {
	old := []uint16{0, 0x8000, 0x3f80, 0xbf80, 0x3f81, 0x7f7f, 0x0001, 0x7f80, 0x4049, 0x3f80}
	deltas := []float32{0, float32(math.Copysign(0, -1)), 1e-9, -1e-9, 0.00390625, 0.01171875, 1, -1, 3e38, 1e-40}
	for _, first := range old {
		for _, d := range deltas {
			fast, slow := []uint16{first}, checkpoint.Halves([]byte{byte(first), byte(first >> 8)})
			block := []byte{byte(first), byte(first >> 8)}
			var a, b adder
			flags := []bool{false}
			finite := a.halves(fast, []float32{d}, flags)
			bad, err := b.block(checkpoint.BF16, block, true, nil, []float64{float64(d)})
			must(t, err)
			if finite != (bad < 0) {
				t.Errorf("%#x + %v: finite is %v", first, d, finite)
				continue
			}
			if slow[0] = uint16(block[0]) | uint16(block[1])<<8; finite && fast[0] != slow[0] {
				t.Errorf("%#x + %v is %#x, want %#x", first, d, fast[0], slow[0])
			}
			if finite && (a.entries != b.entries || a.changed != b.changed || flags[0] != b.flags[0]) {
				t.Errorf("%#x + %v counts %d of %d, want %d of %d", first, d, a.changed, a.entries, b.changed, b.entries)
			}
		}
	}
}
