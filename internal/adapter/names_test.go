package adapter

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// TestComponent takes the parts of one model out of adapters for a pipeline.
func TestComponent(t *testing.T) {
	for _, c := range []struct {
		name, down, up string
		modules        []string
		model          string
		want           []string // names that are left
		err            string
	}{
		{"diffusers", ".lora.down.weight", ".lora.up.weight", []string{"unet.a", "text_encoder.b", "unet.c"}, "unet", []string{"a", "c"}, ""},
		{"diffusers, all", ".lora.down.weight", ".lora.up.weight", []string{"unet.a", "unet.c"}, "", []string{"a", "c"}, ""},
		{"diffusers, without names", ".lora.down.weight", ".lora.up.weight", []string{"a.b", "a.c"}, "", []string{"a.b", "a.c"}, ""},
		{"diffusers, several", ".lora.down.weight", ".lora.up.weight", []string{"unet.a", "text_encoder.b"}, "", nil, "is for several models: text_encoder, unet"},
		{"diffusers, none", ".lora.down.weight", ".lora.up.weight", []string{"unet.a"}, "prior", nil, `has nothing for "prior", only for unet`},
		{"kohya", ".lora_down.weight", ".lora_up.weight", []string{"lora_unet_a", "lora_te1_b", "lora_te2_c"}, "text_encoder_2", []string{"lora_te2_c"}, ""},
	} {
		var entries []checkpoint.Entry
		for _, m := range c.modules {
			entries = append(entries, tensor(m+c.down, f32, []int{1, 1}, 1), tensor(m+c.up, f32, []int{1, 1}, 1))
		}
		path := filepath.Join(t.TempDir(), "a.st")
		must(t, checkpoint.Write(path, entries, nil))
		a, err := Load(path)
		must(t, err)
		err = a.Component(c.model)
		if c.err != "" {
			wantError(t, err, fault.Incompatible, c.err, "")
			continue
		}
		must(t, err)
		var names []string
		for _, d := range a.Deltas {
			names = append(names, d.Module())
		}
		if !slices.Equal(names, c.want) || !slices.Equal(a.Config.TargetModules, c.want) {
			t.Errorf("%s: %q, targets %q, want %q", c.name, names, a.Config.TargetModules, c.want)
		}
	}
	must(t, sample(t).Component(""))
	wantError(t, sample(t).Component("unet"), fault.Incompatible, "is for one model", "")
}

func TestPEFTNotice(t *testing.T) {
	of := func(method string, k int) *Adapter {
		return &Adapter{Config: Config{Method: method}, Deltas: []Delta{NewSparse("m", 8, 12, make([]int64, k))}}
	}
	for _, c := range []struct {
		a    *Adapter
		want string
	}{
		{sample(t), ""}, {of("shira", 40), ""}, {of("shira", 41), "only with r·(out+in) entries"}, {of("foura", 1), "PEFT has no method foura"},
		{of("lora", 1), ""},
	} {
		if got := c.a.PEFTNotice(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s with %d entries: %q, want %q", c.a.Config.Method, c.a.Parameters(), got, c.want)
		}
	}
}

// TestSize holds the size that is told before saving to that of the file's tensors.
func TestSize(t *testing.T) {
	for _, form := range []Form{{}, {Compact: true}, {DType: bf16}} {
		a := sample(t)
		a.Form = form
		want, err := a.Size()
		must(t, err)
		path := filepath.Join(t.TempDir(), "a.st")
		must(t, a.SaveFile(path))
		f, err := checkpoint.Open(path)
		must(t, err)
		got := int64(0)
		for _, x := range f.Tensors() {
			got += x.Size()
		}
		f.Close()
		if got != want {
			t.Errorf("%+v: %d bytes, told %d", form, got, want)
		}
	}
	a := sample(t)
	a.Config.Method = "lora"
	if _, err := a.Size(); err == nil {
		t.Error("no error for what cannot be saved")
	}
}
