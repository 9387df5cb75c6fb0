package adapter

import (
	"path/filepath"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

func TestCheck(t *testing.T) {
	weight := func(module string, out, in int) checkpoint.Entry {
		return checkpoint.Float32Entry(module+".weight", f32, []int{out, in}, make([]float32, out*in))
	}
	rename := func(names ...string) func(*Adapter) {
		return func(a *Adapter) {
			for i, name := range names {
				a.Deltas[i].(*Sparse).Name = name
			}
		}
	}
	unknownShape := func(a *Adapter) {
		for _, d := range a.Deltas {
			d.(*Sparse).Out, d.(*Sparse).In = 0, 0
		}
	}
	cases := []struct {
		name       string
		change     func(*Adapter)
		extra      []checkpoint.Entry // of the base
		want, hint string             // want "" = it fits
	}{
		{name: "fits", change: func(*Adapter) {}},
		{name: "takes the shape", change: unknownShape},
		{name: "shape", change: func(a *Adapter) { a.Deltas[1].(*Sparse).In = 10 },
			want: `"model.layers.1.self_attn.q_proj" was trained on a weight of shape (6, 10), but the base's is (6, 9)`},
		{name: "row beyond the base", change: func(a *Adapter) {
			unknownShape(a)
			s := a.Deltas[0].(*Sparse)
			s.RowIdx[len(s.RowIdx)-1] = 6
		}, want: "entry 14 at [6, "},
		{name: "r of PEFT", change: func(a *Adapter) {
			unknownShape(a)
			a.Config.R = 2
		}, want: "has 15 values, but r = 2 gives 30 on the base's shape (6, 9)"},
		{name: "unknown tensor", change: rename("model.layers.7.q"), want: `"model.layers.7.q": the base has no such weight`},
		{name: "nothing matches", change: rename("a", "b"), want: `"a": the base has no such weight; "b": the base has no such weight`},
		{name: "without the model's prefix", change: rename("layers.0.self_attn.q_proj"),
			want: "has no such weight", hint: `the base has "model.layers.0.self_attn.q_proj" instead`},
		{name: "with one prefix more", change: rename("language_model.model.layers.0.self_attn.q_proj"),
			want: "has no such weight", hint: `the base has "model.layers.0.self_attn.q_proj" instead`},
		{name: "dtype", change: rename("model.layers.0.quantized"), want: "the base's weight is I8: want F64, F32, F16 or BF16"},
		{name: "no matrix", change: rename("model.norm"), want: "the base's weight has shape [2]"},
		{name: "tied embedding", change: rename("model.embed_tokens"), want: `"model.embed_tokens" is tied`, hint: "target_modules"},
		{name: "tied head", change: rename("lm_head"), want: `"lm_head" is tied`},
		{name: "untied embedding", change: rename("model.embed_tokens"), extra: []checkpoint.Entry{weight("lm_head", testOut, testIn)}},
		{name: "untied head", change: rename("lm_head"), extra: []checkpoint.Entry{weight("lm_head", testOut, testIn)}},
		{name: "fingerprint", change: func(a *Adapter) { a.Config.BaseFingerprint = "other" },
			want: `was trained on another base: its fingerprint is "other", this one's `, hint: "--force"},
		{name: "all at once", change: func(a *Adapter) {
			a.Config.BaseFingerprint = "other"
			rename("a")(a)
			a.Deltas[1].(*Sparse).Out = 5
		}, want: `another base|"a": the base has no such weight|shape (5, 9)`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := sample(t)
			a.Path = "a.st"
			c.change(a)
			m := testBase(t, c.extra...)
			err := a.Check(m, false)
			if c.want == "" {
				must(t, err)
				for _, d := range a.Deltas {
					if out, in := d.Shape(); out != testOut || in != testIn {
						t.Errorf("%s has shape (%d, %d)", d.Module(), out, in)
					}
				}
				return
			}
			wantError(t, err, fault.Incompatible, "a.st: does not fit the base|"+c.want, c.hint)
		})
	}
}

func TestCheckForceSkipsOnlyTheFingerprint(t *testing.T) {
	m := testBase(t)
	a := sample(t)
	a.Config.BaseFingerprint = "other"
	must(t, a.Check(m, true))
	a.Deltas[0].(*Sparse).Out = 5
	wantError(t, a.Check(m, true), fault.Incompatible, "shape (5, 9)", "")

	b := sample(t)
	var err error
	b.Config.BaseFingerprint, err = m.Fingerprint()
	must(t, err)
	must(t, b.Check(m, false))
}

// TestCheckTiedByConfig believes config.json, also when a head is stored beside the embedding.
func TestCheckTiedByConfig(t *testing.T) {
	for text, tied := range map[string]bool{
		`{"tie_word_embeddings": true}`:  true,
		`{"tie_word_embeddings": false}`: false,
		`{"tie_word_embeddings": "no"}`:  false, // broken: the stored head decides
		`{}`:                             false,
		`{{`:                             false,
	} {
		m := testBase(t, checkpoint.Float32Entry("lm_head.weight", f32, []int{testOut, testIn}, make([]float32, testOut*testIn)))
		writeText(t, filepath.Join(m.Dir(), "config.json"), text)
		a := sample(t)
		a.Deltas[0].(*Sparse).Name = "lm_head"
		if err := a.Check(m, false); (err != nil) != tied {
			t.Errorf("%s: %v, want tied: %v", text, err, tied)
		}
	}
}

func TestManyProblemsAreCounted(t *testing.T) {
	a := &Adapter{Path: "a.st", Config: Config{Method: "shira"}}
	for i := range 30 {
		a.Deltas = append(a.Deltas, NewSparse(string(rune('A'+i)), 1, 1, []int64{0}))
	}
	err := a.Check(testBase(t), false)
	wantError(t, err, fault.Incompatible, `"A": the base|"H": the base|; and 22 more`, "")
}
