package fuse

import (
	"context"
	"math"

	"shira/internal/merge"
)

// Report says what a fusion does. Fields are only ever added to its JSON.
type Report struct {
	Base     string          `json:"base"`
	Output   string          `json:"output"`
	Exists   bool            `json:"output_exists"` // there was something at Output before
	DryRun   bool            `json:"dry_run"`
	Bytes    int64           `json:"bytes"` // of all tensors
	Method   string          `json:"method"`
	Density  float64         `json:"density"`
	Survival Survival        `json:"survival"`
	Adapters []AdapterReport `json:"adapters"` // in the order given
	Tensors  []TensorReport  `json:"tensors"`  // those that change, in the order of the model's data
	Overlaps []Overlap       `json:"overlaps"` // of each pair of adapters, over all tensors
	Extremes []Extremes      `json:"extremes"` // tensors of the base with odd numbers, by name, where all of it was read: for each output
	Outsizes []Outsize       `json:"outsizes"` // tensors whose change is out of proportion to them
	LeftOut  []string        `json:"left_out"` // entries of the base's directory that the output does not get
	Adapter  *AdapterResult  `json:"adapter"`  // what was made of the adapters with AdapterOnly; null otherwise
}

// Survival counts what rounding leaves of the deltas.
type Survival struct {
	Entries int64    `json:"entries"` // with a weighted delta other than 0
	Changed int64    `json:"changed"` // of those, how many have other stored bits in the output than in the base
	Share   *float64 `json:"share"`   // Changed / Entries; null without entries
}

func survival(entries, changed int64) Survival {
	s := Survival{Entries: entries, Changed: changed}
	if entries > 0 {
		share := float64(changed) / float64(entries)
		s.Share = &share
	}
	return s
}

// AdapterReport is one adapter's part. Its survival is that of its own entries in the sum of all.
type AdapterReport struct {
	Path       string   `json:"path"`
	Method     string   `json:"method"`
	Weight     float64  `json:"weight"`
	Parameters int64    `json:"parameters"`
	Tensors    int      `json:"tensors"`
	Entries    int64    `json:"entries"` // of the base that it may change: those of its mask, or all of its tensors
	Norm       float64  `json:"norm"`    // ‖ΔW‖ of all its tensors together, at strength 1
	Survival   Survival `json:"survival"`
}

// TensorReport is one changed tensor. Its survival is that of the merged change.
type TensorReport struct {
	Name     string         `json:"name"`
	DType    string         `json:"dtype"`
	Survival Survival       `json:"survival"`
	Norm     float64        `json:"norm"`     // of the merged change
	Adapters []TensorsShare `json:"adapters"` // one for each adapter, in the order given
	Overlaps []Overlap      `json:"overlaps"` // of each pair of adapters that both change it
}

// TensorsShare is one adapter's part in one tensor.
type TensorsShare struct {
	Weight   float64  `json:"weight"`
	Entries  int64    `json:"entries"`
	Norm     float64  `json:"norm"`
	Survival Survival `json:"survival"`
}

// Overlap is what the changes of two adapters have in common, before anything is pruned.
type Overlap struct {
	A             int      `json:"a"` // indices of adapters
	B             int      `json:"b"`
	Entries       int64    `json:"entries"`        // in both masks
	Share         float64  `json:"share"`          // of the entries in either mask
	SignConflicts int64    `json:"sign_conflicts"` // in both, with weighted deltas of opposite sign
	Cosine        float64  `json:"cosine"`         // of the two changes, at strength 1
	AWOM          *float64 `json:"awom"`           // ‖AᵀB‖, over all tensors the largest; null where it was not asked for
	AWOR          *float64 `json:"awor"`           // 1 − ‖AᵀB‖₀/in²
}

// overlap describes adapters a < b by the statistics of a tensor or of all.
func overlap(s *merge.Stats, a, b int) Overlap {
	p := s.Pairs[a][b]
	o := Overlap{A: a, B: b, Entries: p.Both, SignConflicts: p.Conflicts, Cosine: s.Cosine(a, b)}
	if either := s.Adapters[a].Mask + s.Adapters[b].Mask - p.Both; either > 0 {
		o.Share = float64(p.Both) / float64(either)
	}
	return o
}

// report sums up what a pass found.
func (j *job) report(ctx context.Context) (*Report, error) {
	r := &Report{
		Base: j.Base, Output: j.Out, Exists: j.exists, DryRun: j.DryRun, Bytes: j.model.Size(), Method: j.method.Name,
		Density: j.Params.Density, Adapters: []AdapterReport{}, Tensors: []TensorReport{}, Overlaps: []Overlap{},
		Extremes: j.finder.list(), LeftOut: j.leftOut(),
	}
	total := merge.NewStats(len(j.adapters))
	for _, t := range j.tensors {
		total.Add(&t.stats)
		r.Tensors = append(r.Tensors, j.reportTensor(t))
	}
	var err error
	if r.Outsizes, err = j.outsizes(); err != nil {
		return nil, err
	}
	common, err := j.interference(ctx, r.Tensors)
	if err != nil {
		return nil, err
	}
	r.Survival = survival(total.Entries, total.Changed)
	for i, a := range j.adapters {
		s := total.Adapters[i]
		r.Adapters = append(r.Adapters, AdapterReport{
			Path: j.Adapters[i].Path, Method: a.Config.Method, Weight: j.Adapters[i].Weight, Parameters: a.Parameters(),
			Tensors: len(a.Deltas), Entries: s.Mask, Norm: math.Sqrt(s.Squares), Survival: survival(s.Entries, s.Changed),
		})
		for k := range i {
			o := overlap(&total, k, i)
			reportInterference(common[[2]int{k, i}], &o)
			r.Overlaps = append(r.Overlaps, o)
		}
	}
	return r, nil
}

func (j *job) reportTensor(t *target) TensorReport {
	r := TensorReport{
		Name: t.Name, DType: t.DType.String(), Survival: survival(t.stats.Entries, t.stats.Changed),
		Norm: math.Sqrt(t.stats.Squares), Adapters: []TensorsShare{}, Overlaps: []Overlap{},
	}
	for i := range j.adapters {
		s := t.stats.Adapters[i]
		r.Adapters = append(r.Adapters, TensorsShare{
			Weight: j.Adapters[i].weightOf(t.Name), Entries: s.Mask, Norm: math.Sqrt(s.Squares), Survival: survival(s.Entries, s.Changed),
		})
		for k := range i {
			if s.Mask > 0 && t.stats.Adapters[k].Mask > 0 {
				r.Overlaps = append(r.Overlaps, overlap(&t.stats, k, i))
			}
		}
	}
	return r
}
