package adapter

import (
	"math"
	"path/filepath"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// ones is a tensor of a low-rank adapter of testModule.
func ones(suffix string, shape ...int) checkpoint.Entry {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = 1
	}
	return tensor(keyPrefix+testModule+"."+suffix, f32, shape, v...)
}

func pair(r, in, out int) []checkpoint.Entry {
	return []checkpoint.Entry{ones(lowRankA, r, in), ones(lowRankB, out, r)}
}

// TestLoRARefuses loads PEFT directories with one thing wrong each, and one with several.
func TestLoRARefuses(t *testing.T) {
	const plain = `{"peft_type": "LORA", "r": 2}`
	const dora = `{"peft_type": "LORA", "r": 2, "use_dora": true}`
	spoil := func(e checkpoint.Entry, v float32) checkpoint.Entry {
		return checkpoint.Float32Entry(e.Name, f32, e.Shape, append(make([]float32, len(e.Bytes)/4-1), v))
	}
	magnitude := ones(lowRankMagnitude, 6)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name    string
		config  string
		tensors []checkpoint.Entry
		kind    fault.Kind
		want    string
	}{
		{"A alone", plain, pair(2, 9, 6)[:1], 4, "has A but no B"},
		{"B alone", plain, pair(2, 9, 6)[1:], 4, "has B but no A"},
		{"magnitude alone", dora, []checkpoint.Entry{magnitude}, 4, "has neither A nor B"},
		{"ranks of A and B", plain, []checkpoint.Entry{ones(lowRankA, 2, 9), ones(lowRankB, 6, 3)}, 4, "are [2 9] and [6 3], want (r, in) and (out, r)"},
		{"vector", plain, []checkpoint.Entry{ones(lowRankA, 18), ones(lowRankB, 6, 2)}, 4, "are [18] and [6 2]"},
		{"convolution", plain, []checkpoint.Entry{ones(lowRankA, 2, 9, 1, 1), ones(lowRankB, 6, 2, 1, 1)}, 4, "is a convolution"},
		{"empty", plain, []checkpoint.Entry{ones(lowRankA, 2, 0), ones(lowRankB, 6, 2)}, 4, "a dimension is 0"},
		{"rank of the configuration", plain, pair(3, 9, 6), 4, "the rank of its tensors is 3, but by the configuration it is 2"},
		{"default rank", `{"peft_type": "LORA"}`, pair(2, 9, 6), 4, "but by the configuration it is 8"},
		{"rank of a pattern", `{"peft_type": "LORA", "r": 2, "rank_pattern": {"q_proj": 3}}`, pair(2, 9, 6), 4, "by the configuration it is 3"},
		{"half a rank", `{"peft_type": "LORA", "r": 2, "rank_pattern": {"q_proj": 1.5}}`, pair(2, 9, 6), 4, "the rank is 1.5"},
		{"broken pattern", `{"peft_type": "LORA", "r": 2, "alpha_pattern": {"q_(proj": 3}}`, pair(2, 9, 6), 4, `alpha_pattern: pattern "q_(proj"`},
		{"NaN", plain, []checkpoint.Entry{spoil(ones(lowRankA, 2, 9), nan), ones(lowRankB, 6, 2)}, 4, "value 17 of A is NaN"},
		{"infinite", plain, []checkpoint.Entry{ones(lowRankA, 2, 9), spoil(ones(lowRankB, 6, 2), inf)}, 4, "value 11 of B is +Inf"},
		{"integers", plain, []checkpoint.Entry{tensor(keyPrefix+testModule+"."+lowRankA, i32, []int{2, 1}, 1, 2), ones(lowRankB, 6, 2)}, 4, "a float type is needed"},
		{"no magnitude", dora, pair(2, 9, 6), 4, "has no lora_magnitude_vector, which DoRA needs"},
		{"magnitude of LoRA", plain, append(pair(2, 9, 6), magnitude), 4, `lora_magnitude_vector" is no tensor of a lora adapter`},
		{"short magnitude", dora, append(pair(2, 9, 6), ones(lowRankMagnitude, 5)), 4, "the shape of lora_magnitude_vector is [5], want (6)"},
		{"NaN magnitude", dora, append(pair(2, 9, 6), spoil(magnitude, nan)), 4, "value 5 of the magnitude is NaN"},
		{"bias", plain, append(pair(2, 9, 6), ones("lora_B.bias", 6)), 4, `lora_B.bias" is no tensor of a lora adapter`},
		{"SHiRA's tensors", plain, []checkpoint.Entry{values(1), indices(i32, 0, 0)}, 4, `peft_type is "LORA", but the tensors are those of method shira`},
		{"r of zero", `{"peft_type": "LORA", "r": 0}`, pair(2, 9, 6), 3, "r is 0"},
		{"alpha", `{"peft_type": "LORA", "lora_alpha": 1e39}`, pair(2, 9, 6), 3, "lora_alpha is 1e+39"},
		{"dropout", `{"peft_type": "LORA", "lora_dropout": 2}`, pair(2, 9, 6), 3, "lora_dropout is 2"},
		{"text for alpha", `{"peft_type": "LORA", "lora_alpha": "8"}`, pair(2, 9, 6), 3, "lora_alpha: "},
		{"list of patterns", `{"peft_type": "LORA", "rank_pattern": [1]}`, pair(2, 9, 6), 3, "rank_pattern: want an object of patterns and numbers"},
		{"text for a rank", `{"peft_type": "LORA", "rank_pattern": {"a": "1"}}`, pair(2, 9, 6), 3, `rank_pattern: pattern "a"`},
		{"changed bases", `{"peft_type": "LORA", "init_lora_weights": "pissa_niter_4", "fan_in_fan_out": true, "use_qalora": true}`, pair(2, 9, 6), 4,
			`fan_in_fan_out: |use_qalora: |init_lora_weights is "pissa_niter_4": the adapter fits a base that PEFT has changed`},
		{"all at once", dora, []checkpoint.Entry{
			ones(lowRankA, 2, 9), tensor("x", f32, []int{1}, 1),
			tensor(keyPrefix+"a.lora_B.weight", f32, []int{1, 1}, 1),
		}, 4, `"x" is no tensor of a dora adapter|"a": has B but no A|q_proj": has A but no B`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, TensorsFile), "", c.tensors...)
			writeText(t, filepath.Join(dir, ConfigFile), c.config)
			a, err := Load(dir)
			if a != nil {
				t.Error("an adapter comes with the error")
			}
			wantError(t, err, c.kind, dir+"|"+c.want, "")
		})
	}
}

// TestOverrides resolves ranks and alphas as PEFT does.
func TestOverrides(t *testing.T) {
	c := Config{R: 8, Alpha: 16,
		RankPattern:  Overrides{{"layers.1.q_proj", 2}, {`.*\.k_proj`, 3}, {"q_proj", 4}, {"^v_proj", 5}, {"o.proj", 7}, {"(up|down)_proj", 6}},
		AlphaPattern: Overrides{{"layers.0.q_proj", 0.5}, {"model.layers.1.q_proj", 0}},
	}
	for _, w := range []struct {
		module string
		r      int
		alpha  float64
	}{
		{"model.layers.1.q_proj", 2, 0}, {"model.layers.11.q_proj", 4, 16}, {"model.layers.0.q_proj", 4, 0.5}, {"q_proj", 4, 16},
		{"model.k_proj", 3, 16}, {"k_proj", 8, 16}, {"model.xk_proj", 8, 16}, {"v_proj", 5, 16}, {"model.v_proj", 8, 16},
		{"a.down_proj", 6, 16}, {"a.down_proj.b", 8, 16}, {"model.xq_proj", 8, 16}, {"a.o-proj", 7, 16}, {"o_proj", 7, 16}, {"proj", 8, 16},
	} {
		r, alpha, err := c.Rank(w.module)
		if err != nil || r != w.r || alpha != w.alpha {
			t.Errorf("%s: rank %d, alpha %v, %v, want %d and %v", w.module, r, alpha, err, w.r, w.alpha)
		}
	}
	for _, s := range []struct {
		c    Config
		want float32
	}{{Config{Method: "lora"}, 2}, {Config{Method: "rslora"}, 4}, {Config{Method: "dora"}, 2}, {Config{Method: "dora", UseRSLoRA: true}, 4}} {
		if got := s.c.Scale(4, 8); got != s.want {
			t.Errorf("%+v: scale %v, want %v", s.c, got, s.want)
		}
	}
}

// TestLoRAConfigurationsMustAgree changes adapter_config.json beside a file that stands alone.
func TestLoRAConfigurationsMustAgree(t *testing.T) {
	dir := t.TempDir()
	d := lowRank(testModule, 1.5, false)
	a := &Adapter{Config: configOf("lora"), Deltas: []Delta{d}}
	must(t, a.Save(dir))
	path := filepath.Join(dir, ConfigFile)
	text := string(readFile(t, path))
	for old, c := range map[string]struct{ new, want string }{
		`"r": 9`:               {`"r": 8`, "r is 8, but by the safetensors file it is 9"},
		`"lora_alpha": 1`:      {`"lora_alpha": 2`, "lora_alpha is 2, but by the safetensors file it is 1"},
		`"layers.1": 2`:        {`"layers.1": 3`, "rank_pattern is another"},
		`"use_rslora": false`:  {`"use_rslora": true`, "make it rslora, but by the safetensors file it is lora"},
		`"use_dora": false`:    {`"use_dora": true`, "make it dora"},
		`_proj": 6`:            {`_proj": 7`, "alpha_pattern is another"},
		`"lora_dropout": 0.05`: {`"lora_dropout": 0.5`, ""},
	} {
		writeText(t, path, replaceOnce(t, text, old, c.new))
		_, err := Load(dir)
		if c.want == "" {
			must(t, err)
			continue
		}
		wantError(t, err, fault.Incompatible, ConfigFile+": contradicts adapter_model.safetensors|"+c.want, "")
	}
}
