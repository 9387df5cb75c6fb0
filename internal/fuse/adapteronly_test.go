package fuse

import (
	"bytes"
	"math"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// lora writes an adapter of factors over both modules.
func (w *world) lora(name string, r int, scale float32) string {
	w.t.Helper()
	a := &adapter.Adapter{Config: adapter.Config{Method: "lora", R: r, Alpha: float64(scale) * float64(r), TargetModules: []string{"q_proj"}}}
	for i, m := range modules {
		l := &adapter.LowRank{Name: m, Out: worldOut, In: worldIn, R: r, Alpha: a.Config.Alpha, Scale: scale}
		for k := range r * worldIn {
			l.A = append(l.A, float32(math.Sin(float64(k*(i+r)))))
		}
		for k := range r * worldOut {
			l.B = append(l.B, float32(math.Cos(float64(k*(i+2*r)))))
		}
		a.Deltas = append(a.Deltas, l)
	}
	must(w.t, a.SaveFile(w.path(name)))
	return w.path(name)
}

// TestAdapterOnly holds base + merged adapter to the fusion of the adapters themselves.
func TestAdapterOnly(t *testing.T) {
	w := newWorld(t, checkpoint.F32)
	a, b := w.adapter("a.st", 1, 200, 0.1).Path, w.adapter("b.st", 2, 150, 0.1).Path
	x, y := w.lora("x.st", 2, 0.5), w.lora("y.st", 3, 2)
	for name, c := range map[string]struct {
		o      Options
		method string
		rank   int
		exact  bool // to the bit
		error  float64
	}{
		"entries":        {Options{Adapters: []Source{{Path: a, Weight: 0.5}, {Path: b, Weight: -1}}}, "shira", 0, true, 0},
		"entries, ties":  {Options{Adapters: []Source{{Path: a, Weight: 0.5}, {Path: b, Weight: 1}}, Method: "ties"}, "shira", 0, true, 0},
		"factors":        {Options{Adapters: []Source{{Path: x, Weight: 0.5}, {Path: y, Weight: -1}}}, "lora", 5, false, 0},
		"one and zero":   {Options{Adapters: []Source{{Path: x, Weight: 0.5}, {Path: y, Weight: 0}}}, "lora", 2, false, 0},
		"of enough rank": {Options{Adapters: []Source{{Path: x, Weight: 1}, {Path: y, Weight: 1}}, Rank: 5}, "lora", 5, false, 1e-4},
		"of less rank":   {Options{Adapters: []Source{{Path: a, Weight: 1}, {Path: y, Weight: 1}}, Rank: 4}, "lora", 4, false, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Base, c.o.Out, c.o.AdapterOnly, c.o.Force = w.base, w.path("merged.st"), true, true
			r, err := Run(t.Context(), c.o)
			must(t, err)
			if r.Adapter.Method != c.method || r.Adapter.Rank != c.rank || r.Adapter.Error > c.error {
				t.Errorf("%+v", r.Adapter)
			}
			one := Options{Base: w.base, Adapters: []Source{{Path: c.o.Out, Weight: 1}}, Out: w.path("one.st"), Force: true}
			_, err = Run(t.Context(), one)
			must(t, err)
			c.o.AdapterOnly, c.o.Rank, c.o.Out = false, 0, w.path("all.st")
			_, err = Run(t.Context(), c.o)
			must(t, err)
			before, got, want := read(t, w.base), read(t, one.Out), read(t, c.o.Out)
			for tensor := range want {
				if c.exact && !bytes.Equal(got[tensor], want[tensor]) {
					t.Errorf("%s: other bytes", tensor)
				}
				rest, all := 0.0, 0.0
				for i := 0; i < len(want[tensor]); i += 4 {
					v := func(b []byte) float64 { return float64(math.Float32frombits(uint32(getUint(b[i : i+4])))) }
					rest += math.Pow(v(got[tensor])-v(want[tensor]), 2)
					all += math.Pow(v(want[tensor])-v(before[tensor]), 2)
				}
				if rest > all*math.Pow(1.01*c.error, 2)+1e-9 {
					t.Errorf("%s: %v of %v is missing", tensor, rest, all)
				}
			}
		})
	}
	for name, o := range map[string]Options{
		"no form":         {Adapters: []Source{{Path: a, Weight: 1}, {Path: x, Weight: 1}}},
		"factors by ties": {Adapters: []Source{{Path: x, Weight: 1}, {Path: y, Weight: 1}}, Method: "ties"},
		"the input":       {Adapters: []Source{{Path: a, Weight: 1}}, Out: a},
		"a rank of -1":    {Adapters: []Source{{Path: a, Weight: 1}}, Rank: -1},
	} {
		if o.Base, o.AdapterOnly, o.Force = w.base, true, true; o.Out == "" {
			o.Out = w.path("none.st")
		}
		if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.Usage || exists(w.path("none.st")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInterferenceReport checks that AWOM and AWOR come where they are asked for, and agree between tensors and totals.
func TestInterferenceReport(t *testing.T) {
	w := newWorld(t, checkpoint.F32)
	o := Options{Base: w.base, DryRun: true, Interference: true, Adapters: []Source{
		{Path: w.adapter("a.st", 1, 40, 0.1).Path, Weight: 1}, {Path: w.lora("x.st", 2, 1), Weight: 1}, {Path: w.adapter("b.st", 2, 30, 1).Path, Weight: 1},
	}}
	r, err := Run(t.Context(), o)
	must(t, err)
	for i, total := range r.Overlaps {
		largest := 0.0
		for _, tensor := range r.Tensors {
			largest = max(largest, *tensor.Overlaps[i].AWOM)
			if ratio := *tensor.Overlaps[i].AWOR; ratio < 0 || ratio >= 1 {
				t.Errorf("AWOR of %s is %v", tensor.Name, ratio)
			}
		}
		if *total.AWOM != largest || largest == 0 || *total.AWOR < 0 || *total.AWOR > 1 {
			t.Errorf("pair %d: AWOM %v, AWOR %v; the largest is %v", i, *total.AWOM, *total.AWOR, largest)
		}
	}
	o.Interference = false
	r, err = Run(t.Context(), o)
	must(t, err)
	if r.Overlaps[0].AWOM != nil || r.Tensors[0].Overlaps[0].AWOR != nil {
		t.Error("AWOM without being asked for")
	}
}
