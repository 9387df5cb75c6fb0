package compare

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

func entry(name string, dtype checkpoint.DType, shape []int, values ...float32) checkpoint.Entry {
	return checkpoint.Float32Entry(name, dtype, shape, values)
}

func model(t *testing.T, entries ...checkpoint.Entry) *checkpoint.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := checkpoint.Write(path, entries, map[string]string{"name": t.Name()}); err != nil {
		t.Fatal(err)
	}
	m, err := checkpoint.OpenModel(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func ptr(v float64) *float64 { return &v }

func TestModels(t *testing.T) {
	negativeZero := float32(math.Copysign(0, -1))
	ints := checkpoint.Entry{Name: "ints", DType: checkpoint.I32, Shape: []int{2}, Bytes: []byte{1, 0, 0, 0, 2, 0, 0, 0}}
	other := ints
	other.Bytes = []byte{1, 0, 0, 0, 2, 0, 0, 1}
	for _, c := range []struct {
		name string
		a, b checkpoint.Entry
		want Tensor
	}{
		{"equal", entry("w", checkpoint.F32, []int{2}, 1, 2), entry("w", checkpoint.F32, []int{2}, 1, 2),
			Tensor{Status: Equal, Elements: 2}},
		{"changed", entry("w", checkpoint.BF16, []int{4}, 3, 4, 0, 0), entry("w", checkpoint.BF16, []int{4}, 3, 2, 0, 1),
			Tensor{Status: Changed, Elements: 4, Changed: 2, MaxAbs: ptr(2), MeanAbs: ptr(0.75), Relative: ptr(math.Sqrt(5.0 / 25))}},
		{"from zero", entry("w", checkpoint.F64, []int{1}, 0), entry("w", checkpoint.F64, []int{1}, 2),
			Tensor{Status: Changed, Elements: 1, Changed: 1, MaxAbs: ptr(2), MeanAbs: ptr(2)}},
		{"a sign of zero", entry("w", checkpoint.F16, []int{1}, 0), entry("w", checkpoint.F16, []int{1}, negativeZero),
			Tensor{Status: Changed, Elements: 1, Changed: 1, MaxAbs: ptr(0), MeanAbs: ptr(0)}},
		{"not finite", entry("w", checkpoint.F32, []int{1}, 1), entry("w", checkpoint.F32, []int{1}, float32(math.Inf(1))),
			Tensor{Status: Changed, Elements: 1, Changed: 1}},
		{"another type", entry("w", checkpoint.F32, []int{2}, 1, 2), entry("w", checkpoint.F16, []int{2}, 1, 2),
			Tensor{Status: Retyped, Elements: 2, MaxAbs: ptr(0), MeanAbs: ptr(0), Relative: ptr(0)}},
		{"rounded to another type", entry("w", checkpoint.F32, []int{1}, 1+1.0/512), entry("w", checkpoint.BF16, []int{1}, 1),
			Tensor{Status: Changed, Elements: 1, Changed: 1, MaxAbs: ptr(1.0 / 512), MeanAbs: ptr(1.0 / 512), Relative: ptr(1.0 / 513)}},
		{"another shape", entry("w", checkpoint.F32, []int{2}, 1, 2), entry("w", checkpoint.F32, []int{1, 2}, 1, 2), Tensor{Status: Shape}},
		{"no floats", ints, other, Tensor{Status: Changed, Elements: 2, Changed: 1}},
		{"missing in b", ints, entry("w", checkpoint.F32, []int{1}, 1), Tensor{Status: OnlyA}},
		{"empty", entry("w", checkpoint.F32, []int{0}), entry("w", checkpoint.F32, []int{0}), Tensor{Status: Equal}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Models(t.Context(), model(t, c.a), model(t, c.b), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := r.Tensors[0]
			got.Name, got.DTypeA, got.DTypeB, got.ShapeA, got.ShapeB = "", "", "", nil, nil
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if r.Equal != (c.want.Status == Equal) || r.Changed != c.want.Changed || r.Elements != c.want.Elements {
				t.Errorf("sums: %+v", r)
			}
			if c.name == "missing in b" && (r.Count(OnlyB) != 1 || r.Tensors[1].Name != "w") {
				t.Errorf("what only b has: %+v", r.Tensors)
			}
		})
	}
}

// TestBlocks compares tensors of several blocks with one difference each, at their ends.
func TestBlocks(t *testing.T) {
	n := 2*blockElements + 5
	a, b := make([]float32, n), make([]float32, n)
	for _, i := range []int{0, blockElements, n - 1} {
		b[i] = 1
	}
	done := int64(0)
	r, err := Models(t.Context(), model(t, entry("w", checkpoint.F16, []int{n}, a...)), model(t, entry("w", checkpoint.F16, []int{n}, b...)),
		func(d, total int64) { done = d })
	if err != nil {
		t.Fatal(err)
	}
	if r.Changed != 3 || *r.Tensors[0].MeanAbs != 3/float64(n) || done != int64(2*n) {
		t.Errorf("%+v, progress %d", r.Tensors[0], done)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	if _, err := Models(ctx, model(t, entry("w", checkpoint.F32, []int{1}, 1)), model(t, entry("w", checkpoint.F32, []int{1}, 2)), nil); fault.KindOf(err) != fault.Interrupted {
		t.Errorf("canceled: %v", err)
	}
}

func TestAdapters(t *testing.T) {
	sparse := func(values ...float32) *adapter.Adapter {
		d := adapter.NewSparse("m", 2, 3, []int64{1, 5})
		copy(d.Values, values)
		return &adapter.Adapter{Config: adapter.Config{Method: "shira"}, Deltas: []adapter.Delta{d}}
	}
	low := &adapter.LowRank{Name: "m", Out: 2, In: 3, R: 1, A: []float32{0, 1, 0}, B: []float32{2, 0}, Scale: 1}
	lora := &adapter.Adapter{Config: adapter.Config{Method: "lora"}, Deltas: []adapter.Delta{low}}
	dora := &adapter.Adapter{Config: adapter.Config{Method: "dora"}, Deltas: []adapter.Delta{&adapter.LowRank{
		Name: "m", Out: 2, In: 3, R: 1, A: low.A, B: low.B, Scale: 1, Magnitude: []float32{5, 1},
	}}}
	base := model(t, entry("m.weight", checkpoint.F32, []int{2, 3}, 3, 2, 0, 0, 1, 0))
	for _, c := range []struct {
		name    string
		a, b    *adapter.Adapter
		changed int64
		max     float64
	}{
		{"itself", sparse(2, 1), sparse(2, 1), 0, 0},
		{"other values", sparse(2, 1), sparse(2, 3), 1, 2},
		{"a zero is no entry", sparse(2, 0), lora, 0, 0},
		{"of two methods", sparse(2, 1), lora, 1, 1},
		{"on a base", lora, dora, 0, 0}, // (3, 4)/5 has the magnitude 5 already
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Adapters(t.Context(), c.a, c.b, base)
			if err != nil {
				t.Fatal(err)
			}
			if r.Changed != c.changed || *r.Tensors[0].MaxAbs != c.max || r.Equal != (c.changed == 0) || r.Elements != 6 {
				t.Errorf("%+v", r.Tensors[0])
			}
		})
	}
	if _, err := Adapters(t.Context(), lora, dora, nil); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
		t.Errorf("DoRA without a base: %v", err)
	}
	shapeless := &adapter.Adapter{Deltas: []adapter.Delta{&adapter.Sparse{Name: "m", RowIdx: []int32{1}, ColIdx: []int32{2}, Values: []float32{1}}}}
	if _, err := Adapters(t.Context(), shapeless, sparse(2, 1), nil); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
		t.Errorf("one without a shape: %v", err)
	}
	empty := &adapter.Adapter{}
	if r, err := Adapters(t.Context(), empty, lora, nil); err != nil || r.Count(OnlyB) != 1 || r.Equal {
		t.Errorf("missing module: %+v, %v", r, err)
	}
}
