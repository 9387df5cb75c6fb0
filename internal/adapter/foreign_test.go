package adapter

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// spelled writes the tensors of a low-rank delta as another program does.
type spelled struct {
	name       string
	file       string
	config     string // adapter_config.json
	metadata   string // key=value
	transposed bool
	module     func(i int) string
	a, b, m    string // suffixes
	alpha      string // suffix of the tensor that holds it, "" for none
	scale      float64
}

// mlxModule and the like return the name of test module i.
func plainModule(i int) string { return []string{testModule, otherModule}[i] }

func kohyaModule(prefix string) func(int) string {
	return func(i int) string { return prefix + strings.ReplaceAll(plainModule(i), ".", "_") }
}

// TestForeign writes one adapter as each program would, and wants the same change of the same base.
func TestForeign(t *testing.T) {
	const mlxConfig = `{"fine_tune_type": "lora", "model": "m", "num_layers": 2, "lora_parameters": {"rank": 4, "scale": 1.5, "dropout": 0.0}}`
	const oldMLX = `{"lora_layers": 2, "model": "m", "lora_parameters": {"rank": 4, "alpha": 2, "scale": 3.0}}`
	for _, s := range []spelled{
		{name: "mlx", file: mlxFile, config: mlxConfig, transposed: true, module: plainModule, a: ".lora_a", b: ".lora_b", scale: 1.5},
		{name: "older mlx", file: mlxFile, config: oldMLX, transposed: true, module: plainModule, a: ".lora_a", b: ".lora_b", scale: 1.5},
		{name: "mlx of a step", file: "0000100_adapters.safetensors", config: mlxConfig, transposed: true, module: plainModule, a: ".lora_a", b: ".lora_b", scale: 1.5},
		{name: "mlx dora", file: mlxFile, config: strings.Replace(mlxConfig, `"lora"`, `"dora"`, 1), transposed: true, module: plainModule, a: ".lora_a", b: ".lora_b", m: ".m", scale: 1.5},
		{name: "kohya", file: "k.safetensors", module: kohyaModule("lora_unet_"), a: ".lora_down.weight", b: ".lora_up.weight", alpha: ".alpha", scale: 1.5},
		{name: "kohya without alpha", file: "k.safetensors", module: kohyaModule("lora_te1_"), a: ".lora_down.weight", b: ".lora_up.weight", scale: 1},
		{name: "kohya in part", file: "k.safetensors", module: func(i int) string { return strings.Replace(kohyaModule("lora_te_")(i), "model_", "", 1) },
			a: ".lora_down.weight", b: ".lora_up.weight", alpha: ".alpha", scale: 1.5},
		{name: "lycoris dora", file: "k.safetensors", module: kohyaModule("lycoris_"), a: ".lora_down.weight", b: ".lora_up.weight", m: ".dora_scale", alpha: ".alpha", scale: 1.5},
		{name: "diffusers", file: diffusersFile, module: func(i int) string { return "unet." + plainModule(i) }, a: ".lora.down.weight", b: ".lora.up.weight", scale: 1},
		{name: "diffusers text", file: diffusersFile, module: func(i int) string { return "text_encoder." + plainModule(i) },
			a: ".lora_linear_layer.down.weight", b: ".lora_linear_layer.up.weight", alpha: ".alpha", scale: 1.5},
		{name: "diffusers attention", file: diffusersFile, module: func(i int) string { return strings.TrimSuffix(plainModule(i), "q_proj") + "to_q" },
			a: "_lora.down.weight", b: "_lora.up.weight", scale: 1},
		{name: "diffusers with PEFT", file: diffusersFile, metadata: `lora_adapter_metadata={"transformer.lora_alpha": 6, "transformer.r": 4}`,
			module: func(i int) string { return "transformer." + plainModule(i) }, a: ".lora_A.weight", b: ".lora_B.weight", scale: 1.5},
		{name: "diffusers with rsLoRA", file: diffusersFile,
			metadata: `lora_adapter_metadata={"unet.lora_alpha": 1, "unet.use_rslora": true, "unet.alpha_pattern": {"q_proj": 3}}`,
			module:   func(i int) string { return "unet." + plainModule(i) }, a: ".lora_A.weight", b: ".lora_B.weight", scale: 1.5},
	} {
		t.Run(s.name, func(t *testing.T) {
			dir := t.TempDir()
			want := s.write(t, dir)
			for _, path := range []string{dir, filepath.Join(dir, s.file)} {
				if path == dir && s.file != mlxFile && s.file != diffusersFile {
					continue
				}
				found, err := Recognize(path)
				must(t, err)
				openedEqualsLoaded(t, path)
				if !found {
					t.Errorf("%s is not recognized", path)
				}
				a, err := Load(path)
				must(t, err)
				base := testBase(t)
				must(t, a.Check(base, false))
				if len(a.Deltas) != 2 {
					t.Fatalf("%d deltas", len(a.Deltas))
				}
				for i, d := range a.Deltas {
					if d.Module() != plainModule(i) {
						t.Errorf("module %s, want %s", d.Module(), plainModule(i))
					}
					if got := rows(d, 0, testOut); !slices.Equal(got, rows(want[i], 0, testOut)) {
						t.Errorf("%s: another change", d.Module())
					}
				}
				// Saved, it is a PEFT adapter with the same change.
				out := filepath.Join(t.TempDir(), "out")
				must(t, a.Save(out))
				b, err := Load(out)
				must(t, err)
				if a.Digest() != b.Digest() {
					t.Error("saved, it is another adapter")
				}
			}
		})
	}
}

// write writes both modules and returns their deltas.
func (s *spelled) write(t *testing.T, dir string) []*LowRank {
	t.Helper()
	var entries []checkpoint.Entry
	var deltas []*LowRank
	for i := range 2 {
		l := lowRank(plainModule(i), float32(s.scale), s.m != "")
		l.A, l.B, l.Alpha = gauss(len(l.A), uint64(i)), gauss(len(l.B), uint64(i)+5), s.scale*testRank
		deltas = append(deltas, l)
		a, b, shapeA, shapeB := l.A, l.B, []int{l.R, l.In}, []int{l.Out, l.R}
		if s.transposed {
			a, b, shapeA, shapeB = transpose(a, l.In), transpose(b, l.R), []int{l.In, l.R}, []int{l.R, l.Out}
		}
		name := s.module(i)
		entries = append(entries, checkpoint.Float32Entry(name+s.a, f32, shapeA, a), checkpoint.Float32Entry(name+s.b, f32, shapeB, b))
		if s.m != "" {
			shape := []int{l.Out}
			if s.m == ".dora_scale" {
				shape = []int{l.Out, 1}
			}
			entries = append(entries, checkpoint.Float32Entry(name+s.m, f32, shape, l.Magnitude))
		}
		if s.alpha != "" {
			entries = append(entries, checkpoint.Float32Entry(name+s.alpha, f32, nil, []float32{float32(l.Alpha)}))
		}
	}
	metadata := map[string]string{}
	if key, value, ok := strings.Cut(s.metadata, "="); ok {
		metadata[key] = value
	}
	must(t, checkpoint.Write(filepath.Join(dir, s.file), entries, metadata))
	if s.config != "" {
		writeText(t, filepath.Join(dir, ConfigFile), s.config)
	}
	return deltas
}

// TestForeignRanks gives each module its own rank and alpha, which PEFT's configuration must say.
func TestForeignRanks(t *testing.T) {
	var entries []checkpoint.Entry
	for i, r := range []int{2, 4, 4, 8} {
		name := fmt.Sprintf("lora_te_layers_%d_q", i)
		entries = append(entries,
			checkpoint.Float32Entry(name+".lora_down.weight", bf16, []int{r, 3}, gauss(r*3, 1)),
			checkpoint.Float32Entry(name+".lora_up.weight", bf16, []int{5, r}, gauss(r*5, 2)),
			checkpoint.Float32Entry(name+".alpha", bf16, []int{1}, []float32{float32(r / 2 * (i + 1))}))
	}
	path := filepath.Join(t.TempDir(), "k.st")
	must(t, checkpoint.Write(path, entries, nil))
	a, err := Load(path)
	must(t, err)
	c := a.Config
	if c.R != 4 || !slices.Equal(c.RankPattern, Overrides{{"lora_te_layers_0_q", 2}, {"lora_te_layers_3_q", 8}}) || len(c.AlphaPattern) != 3 {
		t.Errorf("r %d, ranks %v, alphas %v", c.R, c.RankPattern, c.AlphaPattern)
	}
	for i, d := range a.Deltas {
		if l := d.(*LowRank); l.Scale != float32(i+1)/2 {
			t.Errorf("module %d: scale %v", i, l.Scale)
		}
	}
}

func TestForeignRefuses(t *testing.T) {
	k := func(suffix string, shape ...int) checkpoint.Entry {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return checkpoint.Float32Entry("lora_unet_q"+suffix, f32, shape, make([]float32, n))
	}
	a, b := k(".lora_down.weight", 2, 9), k(".lora_up.weight", 6, 2)
	x := func(name string) checkpoint.Entry { return checkpoint.Float32Entry(name, f32, []int{1}, []float32{1}) }
	for name, c := range map[string]struct {
		entries []checkpoint.Entry
		config  string
		kind    fault.Kind
		want    string
	}{
		"convolution":       {[]checkpoint.Entry{k(".lora_down.weight", 2, 3, 3, 3), k(".lora_up.weight", 6, 2, 1, 1)}, "", 4, `"lora_unet_q": is a convolution`},
		"up alone":          {[]checkpoint.Entry{b}, "", 4, "has B but no A"},
		"alphas":            {[]checkpoint.Entry{a, b, k(".alpha", 2)}, "", 4, `"lora_unet_q.alpha" is [2]: want one number`},
		"Tucker":            {[]checkpoint.Entry{a, b, k(".lora_mid.weight", 2, 2, 1, 1)}, "", 4, `lora_mid.weight" is no tensor of a LoRA adapter of kohya`},
		"Hadamard":          {[]checkpoint.Entry{a, b, x("lora_unet_x.hada_w1_a")}, "", 4, `"lora_unet_x.hada_w1_a" is no tensor`},
		"columns' norms":    {[]checkpoint.Entry{a, b, k(".dora_scale", 1, 9)}, "", 4, "the shape of its magnitude is [1 9]: want (6), one for each row"},
		"some magnitudes":   {[]checkpoint.Entry{a, b, x("lora_unet_p.dora_scale")}, "", 4, `"lora_unet_p": has neither A nor B|"lora_unet_q": has no magnitude, which other modules have`},
		"two names":         {[]checkpoint.Entry{x("unet.a.to_q.lora.up.weight"), x("unet.a.processor.to_q_lora.up.weight")}, "", 4, "there under two names"},
		"MLX alone":         {[]checkpoint.Entry{x("q.lora_a"), x("q.lora_b")}, "", 4, "no configuration"},
		"MLX without scale": {[]checkpoint.Entry{k(".lora_a", 9, 2), k(".lora_b", 2, 6)}, `{"lora_parameters": {"rank": 2}}`, 4, "lora_parameters have no scale"},
		"MLX's parameters":  {[]checkpoint.Entry{x("q.lora_a")}, `{"lora_parameters": 3}`, 3, "lora_parameters: "},
		"MLX's ranks":       {[]checkpoint.Entry{k(".lora_a", 9, 2), k(".lora_b", 3, 6)}, `{"lora_parameters": {"scale": 2}}`, 4, "want (in, r) and (r, out)"},
		"MLX's experts":     {[]checkpoint.Entry{k(".lora_a", 9, 2), k(".lora_b", 3, 6, 2)}, `{"lora_parameters": {"scale": 2}}`, 4, "want (in, r) and (r, out)"},
		"MLX in full":       {[]checkpoint.Entry{x("q.weight")}, `{"fine_tune_type": "full", "lora_parameters": {}}`, 4, `fine_tune_type is "full"`},
		"MLX's DoRA":        {[]checkpoint.Entry{k(".lora_a", 9, 2), k(".lora_b", 2, 6)}, `{"fine_tune_type": "dora", "lora_parameters": {"scale": 2}}`, 4, "says DoRA, but there are no magnitudes"},
		"another program":   {[]checkpoint.Entry{k(".lora_a", 9, 2), k(".lora_b", 2, 6), x("q.vera")}, `{"lora_parameters": {"scale": 2}}`, 4, `"q.vera" is no tensor of a LoRA adapter of MLX`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, checkpoint.Write(filepath.Join(dir, mlxFile), c.entries, nil))
			if c.config != "" {
				writeText(t, filepath.Join(dir, ConfigFile), c.config)
			}
			_, err := Load(dir)
			wantError(t, err, c.kind, dir+"|"+c.want, "")
		})
	}
}

// TestForeignNames checks against bases in which names are not there, or not clear.
func TestForeignNames(t *testing.T) {
	lora := func(names ...string) *Adapter {
		var entries []checkpoint.Entry
		for _, n := range names {
			if strings.HasPrefix(n, "<") {
				entries = append(entries, checkpoint.Float32Entry(n, f32, []int{3}, make([]float32, 3)))
				continue
			}
			down, up := ".lora_down.weight", ".lora_up.weight"
			if strings.Contains(n, ":") {
				down, up = ":down", ":up"
			} else if strings.HasPrefix(n, "unet.") || strings.HasPrefix(n, "text_") {
				down, up = ".lora.down.weight", ".lora.up.weight"
			}
			entries = append(entries, checkpoint.Float32Entry(n+down, f32, []int{1, testIn}, gauss(testIn, 1)),
				checkpoint.Float32Entry(n+up, f32, []int{testOut, 1}, gauss(testOut, 2)))
		}
		path := filepath.Join(t.TempDir(), "a.st")
		must(t, checkpoint.Write(path, entries, nil))
		a, err := Load(path)
		must(t, err)
		return a
	}
	weight := func(module string) checkpoint.Entry {
		return checkpoint.Float32Entry(module+".weight", f32, []int{testOut, testIn}, make([]float32, testOut*testIn))
	}
	for name, c := range map[string]struct {
		a    *Adapter
		base []checkpoint.Entry
		want string
	}{
		"absent":     {lora("lora_unet_nowhere"), nil, `"lora_unet_nowhere": the base has no such weight`},
		"ambiguous":  {lora("lora_unet_a_b_c"), []checkpoint.Entry{weight("a.b_c"), weight("a_b.c")}, `"lora_unet_a_b_c": the base has no such weight`},
		"one module": {lora("unet.a.b", "text_encoder.a.b"), []checkpoint.Entry{weight("a.b")}, `"text_encoder.a.b" and "unet.a.b" are both for the base's "a.b"`},
		"numbers":    {lora("unet:0", "<s1>"), nil, `holds 1 tensors that change no weight, such as "<s1>"|numbers the modules`},
	} {
		wantError(t, c.a.Check(testBase(t, c.base...), false), fault.Incompatible, c.want, "")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// TestForeignFiles loads adapters of other programs.
func TestForeignFiles(t *testing.T) {
	dir := "../../../shared/data/adapters"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s is not here", dir)
	}
	for _, c := range []struct {
		path, format string
		modules, r   int
		scale        float32
		module       string
	}{
		{"mlx-discollama", "MLX", 4, 8, 4, "model.layers.30.self_attn.q_proj"}, // 2·16/8
		{"mlx-lm-dpo/adapters.safetensors", "MLX", 4, 8, 20, "model.layers.22.self_attn.q_proj"},
		{"diffusers-sd-pokemon", "diffusers", 128, 4, 1, "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k"},
		{"cloneofsimo-sd15/analog_svd_rank4.safetensors", "cloneofsimo", 192, 4, 1, "text_encoder:0"},
		{"cloneofsimo-sd15/lora_disney.safetensors", "cloneofsimo", 192, 1, 1, "text_encoder:0"},
	} {
		a, err := Load(filepath.Join(dir, c.path))
		must(t, err)
		l := a.Deltas[0].(*LowRank)
		if a.Format != c.format || len(a.Deltas) != c.modules || l.R != c.r || l.Scale != c.scale || l.Name != c.module {
			t.Errorf("%s: %s with %d modules, first %s of rank %d and scale %v", c.path, a.Format, len(a.Deltas), l.Name, l.R, l.Scale)
		}
		if c.format != "cloneofsimo" {
			out := t.TempDir()
			must(t, a.Save(out))
			b, err := Load(out)
			must(t, err)
			if a.Digest() != b.Digest() {
				t.Errorf("%s: saved, it is another adapter", c.path)
			}
		}
	}
	for path, want := range map[string]string{
		"cloneofsimo-sd15/lora_pop.pt":             "is a zip archive, as torch.save writes",
		"peft-regression-0.6.1/lora_mlp":           "has no adapter_model.safetensors",
		"peft-regression-0.6.1/lora_mlp/output.pt": "is a zip archive",
	} {
		_, err := Load(filepath.Join(dir, path))
		wantError(t, err, fault.Malformed, want, "safe_serialization")
	}
}
