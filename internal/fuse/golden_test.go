package fuse

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
)

// TestStories fuses an adapter trained by PEFT into the genuine stories260K and compares with base + scatter.
func TestStories(t *testing.T) {
	base, tuned := "../../../shared/data/llama/stories260K-hf", "../../../shared/golden/stories260K/methods/shira/final"
	for _, path := range []string{base, tuned} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not here", path)
		}
	}
	out := filepath.Join(t.TempDir(), "fused")
	report, err := Run(t.Context(), Options{Base: base, Adapters: []Source{{Path: tuned, Weight: 1}}, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	want := read(t, base)
	f, err := checkpoint.Open(filepath.Join(tuned, "adapter_model.safetensors"))
	must(t, err)
	defer f.Close()
	entries := 0
	for name, data := range want {
		key := "base_model.model." + name[:len(name)-len(".weight")]
		values, ok := f.Lookup(key + ".shira_weight")
		if !ok {
			continue
		}
		indices, _ := f.Lookup(key + ".shira_indices")
		v, err := values.Float32s(nil)
		must(t, err)
		at, err := indices.Ints(nil)
		must(t, err)
		w, _ := open(t, base).Lookup(name)
		for k := range v {
			i := at[k]*int64(w.Shape[1]) + at[len(v)+k]
			addOne(data, int(i), float64(v[k]), checkpoint.F32)
			entries++
		}
	}
	if entries != 7920 || report.Adapters[0].Parameters != 7920 {
		t.Errorf("%d entries, %d parameters, want 7920", entries, report.Adapters[0].Parameters)
	}
	for name, data := range read(t, out) {
		if !bytes.Equal(data, want[name]) {
			t.Errorf("%s is not base + delta", name)
		}
	}
	if *report.Survival.Share < 0.99 {
		t.Errorf("survival in float32: %+v", report.Survival)
	}
	if !exists(filepath.Join(out, "tokenizer.json")) || !exists(filepath.Join(out, "config.json")) {
		t.Error("the output is no complete model directory")
	}
}

// BenchmarkRun fuses two 1% adapters into a bf16 base of 128 MiB.
func BenchmarkRun(b *testing.B) {
	dir := b.TempDir()
	const out, in, layers = 4096, 4096, 4
	var entries []checkpoint.Entry
	adapters := []*adapter.Adapter{{Config: adapter.Config{Method: "shira"}}, {Config: adapter.Config{Method: "shira"}}}
	for l := range layers {
		name := "layers." + string(rune('0'+l))
		values := make([]float32, out*in)
		for i := range values {
			values[i] = float32(i%1000) / 1000
		}
		entries = append(entries, checkpoint.Float32Entry(name+".weight", checkpoint.BF16, []int{out, in}, values))
		for k, a := range adapters {
			var flat []int64
			for i := int64(k); i < out*in; i += 100 {
				flat = append(flat, i)
			}
			d := adapter.NewSparse(name, out, in, flat)
			for i := range d.Values {
				d.Values[i] = 0.01
			}
			a.Deltas = append(a.Deltas, d)
		}
	}
	base := filepath.Join(dir, "base.st")
	if err := checkpoint.Write(base, entries, nil); err != nil {
		b.Fatal(err)
	}
	var refs []Source
	for k, a := range adapters {
		path := filepath.Join(dir, string(rune('a'+k))+".st")
		if err := a.SaveFile(path); err != nil {
			b.Fatal(err)
		}
		refs = append(refs, Source{Path: path, Weight: 0.5})
	}
	for _, dry := range []bool{true, false} {
		name := map[bool]string{true: "measure", false: "write"}[dry]
		b.Run(name, func(b *testing.B) {
			b.SetBytes(out * in * 2 * layers)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Run(b.Context(), Options{Base: base, Adapters: refs, DryRun: dry, Force: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestMixture fuses adapters of all of PEFT's methods at once, and compares with the sum of their rows.
func TestMixture(t *testing.T) {
	base, golden := "../../../shared/data/llama/stories260K-hf", "../../../shared/golden/stories260K/methods"
	var sources []Source
	var adapters []*adapter.Adapter
	for i, method := range []string{"lora", "rslora", "dora", "shira"} {
		path := filepath.Join(golden, method, "final")
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not here", path)
		}
		a, err := adapter.Load(path)
		must(t, err)
		adapters = append(adapters, a)
		sources = append(sources, Source{Path: path, Weight: 0.25 * float64(i+1)})
	}
	m := open(t, base)
	must(t, adapter.CheckAll(m, adapters, false))
	out := filepath.Join(t.TempDir(), "fused")
	report, err := Run(t.Context(), Options{Base: base, Adapters: sources, Out: out})
	must(t, err)
	if len(report.Overlaps) != 6 || len(report.Tensors) != 25 || *report.Survival.Share < 0.99 {
		t.Errorf("%d overlaps, %d tensors, survival %+v", len(report.Overlaps), len(report.Tensors), report.Survival)
	}
	fused := open(t, out)
	for _, d := range adapters[0].Deltas {
		before, _ := m.Lookup(adapter.WeightName(d))
		w, err := before.Float32s(nil)
		must(t, err)
		want := make([]float64, len(w))
		for i, a := range adapters {
			for _, own := range a.Deltas {
				if own.Module() == d.Module() {
					rows := make([]float32, len(w))
					own.Rows(rows, w, 0, before.Shape[0])
					for k, v := range rows {
						want[k] += sources[i].Weight * float64(v)
					}
				}
			}
		}
		after, _ := fused.Lookup(adapter.WeightName(d))
		got, err := after.Float32s(nil)
		must(t, err)
		for k, v := range got {
			if v != w[k]+float32(want[k]) {
				t.Fatalf("%s: entry %d is %v, want %v + %v", d.Module(), k, v, w[k], want[k])
			}
		}
	}
}
