package adapter

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/kernel"
)

// foura returns an untrained delta: B is zero.
func foura(module, transform, gate string) *FouRA {
	f := &FouRA{Name: module, Out: testOut, In: testIn, R: testRank, Basis: BasisOf(transform), Alpha: testAlpha, Scale: testAlpha / testRank}
	a, b := f.Basis.Sizes(f.R, f.Out, f.In)
	f.A, f.B = gauss(a, 5), make([]float32, b)
	inputs := f.Basis.Components(testRank)
	switch gate {
	case GateFrozen:
		f.Gate = &Gate{Mean: []float32{1, 0.5, 0, 0.25}}
	case GateSoft, GateHard:
		f.Gate = &Gate{
			Hidden: 3, Temperature: 0.5, Hard: gate == GateHard, W1: gauss(3*inputs, 1), B1: gauss(3, 2), W2: gauss(testRank*3, 3),
			B2: gauss(testRank, 4), Threshold: gauss(testRank, 5),
		}
	}
	return f
}

func fouraConfig(transform, gate string) Config {
	c := configOf("foura")
	c.Transform, c.Gate = transform, gate
	if gate == GateSoft || gate == GateHard {
		c.GateTemperature = 0.5
	}
	return c
}

// TestFouRAForms holds every transform and gate to what TestMethods holds one of each to.
func TestFouRAForms(t *testing.T) {
	for transform := range bases {
		for _, gate := range []string{GateNone, GateSoft, GateHard, GateFrozen} {
			t.Run(transform+" "+gate, func(t *testing.T) {
				f := foura(testModule, transform, gate)
				fill(f.B)
				f.Norm()
				roundTripOf(t, f, fouraConfig(transform, gate))
				if dependent := gate == GateSoft || gate == GateHard; f.InputDependent() != dependent {
					t.Errorf("depends on the input: %v", f.InputDependent())
				} else if !dependent {
					blocksEqualRows(t, f)
				} else if v := rows(f, 0, 1)[0]; v == v {
					t.Errorf("a delta that depends on the input has the value %v", v)
				}
			})
		}
	}
}

// TestFouRARows compares ΔW with the outputs of the reference's layers without a gate.
func TestFouRARows(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "golden", "foura.safetensors")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference values at %s", path)
	}
	ref, err := checkpoint.Open(path)
	must(t, err)
	defer ref.Close()
	for transform, basis := range bases {
		get := func(name string) []float32 {
			x, _ := ref.Lookup(transform + "-none/" + name)
			v, err := x.Float32s(nil)
			must(t, err)
			return v
		}
		const tokens, in, out, r = 7, 24, 40, 4
		f := &FouRA{Name: "m", Out: out, In: in, R: r, Basis: basis, A: get("A"), B: get("B"), Scale: 1.5}
		w0, x, y := get("W0"), get("x"), get("y")
		delta := make([]float32, out*in)
		f.Rows(delta, w0, 0, out)
		for p := range tokens {
			for o := range out {
				var sum float64
				for i := range in {
					sum += float64(x[p*in+i]) * (float64(w0[o*in+i]) + float64(delta[o*in+i]))
				}
				if math.Abs(sum-float64(y[p*out+o])) > 1e-5 {
					t.Fatalf("%s: output %d of token %d is %v, want %v", transform, o, p, sum, y[p*out+o])
				}
			}
		}
	}
}

// TestFrozenGateScalesComponents wants ΔW to be what A is with its rows multiplied by the gate.
func TestFrozenGateScalesComponents(t *testing.T) {
	for transform, basis := range bases {
		frozen, open := foura(testModule, transform, GateFrozen), foura(testModule, transform, GateNone)
		fill(frozen.B)
		fill(open.B)
		per := len(open.A) / testRank
		for k, g := range frozen.Gate.Mean {
			for i := range per {
				open.A[k*per+i] *= g
			}
		}
		got, want := rows(frozen, 0, testOut), rows(open, 0, testOut)
		for i := range got {
			if math.Abs(float64(got[i]-want[i])) > 1e-4 {
				t.Fatalf("%v: entry %d is %v, want %v", basis, i, got[i], want[i])
			}
		}
	}
}

// TestInputDependentIsNoChangeOfWeights wants an adapter that needs its gate beside the weights to be refused, with the way out.
func TestInputDependentIsNoChangeOfWeights(t *testing.T) {
	base := testBase(t)
	a := &Adapter{Path: "a", Config: fouraConfig(TransformDCT, GateSoft), Deltas: []Delta{foura(testModule, TransformDCT, GateSoft)}}
	a.Config.BaseFingerprint = ""
	wantError(t, a.Check(base, true), fault.Incompatible, "its gate depends on the input", "shira freeze-gate a ")
	must(t, CheckAllBeside(base, []*Adapter{a}, false))
	a.Deltas[0].(*FouRA).Gate = nil
	must(t, a.Check(base, false))
}

// TestFouRARefuses loads PEFT directories with one thing wrong each.
func TestFouRARefuses(t *testing.T) {
	const config = `{"peft_type": "FOURA", "r": 2, "transform": %q, "gate": %q, "gate_temperature": 0.5}`
	plain := []checkpoint.Entry{ones(fouraA, 2, 9), ones(fouraB, 6, 2)}
	gate := append(plain[:2:2], ones(gateW2, 2, 2), ones(gateB2, 2), ones(gateT, 2))
	for _, c := range []struct {
		name, transform, gate string
		tensors               []checkpoint.Entry
		kind                  fault.Kind
		want                  string
	}{
		{"transform", "dst", "none", plain, 3, `transform is "dst"`},
		{"gate", "dct", "ajar", plain, 3, `gate is "ajar"`},
		{"A alone", "dct", "none", plain[:1], 4, "has no foura_B.weight"},
		{"real for complex", "dft", "none", plain, 4, "the shape of foura_A.weight is [2 9]"},
		{"rank", "none", "none", []checkpoint.Entry{ones(fouraA, 3, 9), ones(fouraB, 6, 3)}, 4, "is [3 9], by the configuration it is [2 9]"},
		{"no gate", "dct", "soft", plain, 4, "has no foura_gate.2.weight"},
		{"a gate too much", "dct", "none", gate, 4, "which gate \"none\" does not have"},
		{"half a gate", "dct", "hard", gate[:4], 4, "has no foura_gate.threshold"},
		{"gate's inputs", "dct", "soft", append(gate[:2:2], ones(gateW2, 2, 3), gate[3], gate[4]), 4, "the shape of foura_gate.2.weight is [2 3]"},
		{"mean", "dct", "frozen", append(plain[:2:2], ones(gateM, 3)), 4, "the shape of foura_gate.mean is [3]"},
		{"LoRA's tensors", "dct", "none", pair(2, 9, 6), 4, `but the tensors are those of method lora`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, TensorsFile), "", c.tensors...)
			writeText(t, filepath.Join(dir, ConfigFile), fmt.Sprintf(config, c.transform, c.gate))
			_, err := Load(dir)
			wantError(t, err, c.kind, dir+"|"+c.want, "")
		})
	}
	var f FouRA
	if f.Basis = kernel.Fourier; f.validate() == nil {
		t.Error("a delta without size is taken for one")
	}
}
