package main

import (
	"math/rand/v2"
	"slices"
	"strings"

	"shira/internal/adapter"
)

// targets are the modules of the SHiRA paper.
var targets = []string{"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"}

// methods are those of adapters that can be written.
var methods = []string{"shira", "lora"}

// writeAdapter makes the folder dir with an adapter of rank or budget r for a model of size s, with random values.
func writeAdapter(dir string, s size, method string, r int, seed uint64) error {
	a := &adapter.Adapter{Config: adapter.Config{Method: method, R: r, TargetModules: targets, Seed: seed}}
	if method == "lora" {
		a.Config.Alpha = float64(r)
	}
	for i, t := range s.tensors() {
		module := strings.TrimSuffix(t.name, ".weight")
		if !slices.Contains(targets, module[strings.LastIndexByte(module, '.')+1:]) {
			continue
		}
		g := rand.New(rand.NewPCG(seed, uint64(i)))
		out, in := t.shape[0], t.shape[1]
		if method == "lora" {
			a.Deltas = append(a.Deltas, &adapter.LowRank{
				Name: module, Out: out, In: in, R: r, A: normal(g, r*in), B: normal(g, out*r), Alpha: float64(r), Scale: 1,
			})
			continue
		}
		d := adapter.NewSparse(module, out, in, spread(g, r*(out+in), out*in))
		copy(d.Values, normal(g, len(d.Values)))
		a.Deltas = append(a.Deltas, d)
	}
	return a.Save(dir)
}

// spread returns k of n indices, ascending: one at random in each of k equal parts.
func spread(g *rand.Rand, k, n int) []int64 {
	k = min(k, n)
	at := make([]int64, k)
	for i := range at {
		lo, hi := i*n/k, (i+1)*n/k
		at[i] = int64(lo + g.IntN(hi-lo))
	}
	return at
}

// normal returns n values of the size that training leaves.
func normal(g *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(0.01 * g.NormFloat64())
	}
	return v
}
