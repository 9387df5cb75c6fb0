package fuse

// Report says what a fusion does. Fields are only ever added to its JSON.
type Report struct {
	Base     string          `json:"base"`
	Output   string          `json:"output"`
	Exists   bool            `json:"output_exists"` // there was something at Output before
	DryRun   bool            `json:"dry_run"`
	Bytes    int64           `json:"bytes"` // of all tensors
	Survival Survival        `json:"survival"`
	Adapters []AdapterReport `json:"adapters"` // in the order given
	Tensors  []TensorReport  `json:"tensors"`  // those that change, in the order of the model's data
	Overlaps []Overlap       `json:"overlaps"` // of each pair of adapters
	LeftOut  []string        `json:"left_out"` // entries of the base's directory that the output does not get
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
	Weight     float64  `json:"weight"`
	Parameters int64    `json:"parameters"`
	Tensors    int      `json:"tensors"`
	Survival   Survival `json:"survival"`
}

// TensorReport is one changed tensor. Its survival is that of the sum of all adapters.
type TensorReport struct {
	Name     string   `json:"name"`
	DType    string   `json:"dtype"`
	Survival Survival `json:"survival"`
}

// Overlap is what the masks of two adapters have in common.
type Overlap struct {
	A             int     `json:"a"` // indices of adapters
	B             int     `json:"b"`
	Entries       int64   `json:"entries"`        // in both masks
	Share         float64 `json:"share"`          // of the entries in either mask
	SignConflicts int64   `json:"sign_conflicts"` // in both, with weighted deltas of opposite sign
}

// counts is what the walk over one tensor finds. Slices have one element per adapter, and matrices one per pair i < j.
type counts struct {
	entries, changed int64
	of               []adapterCounts
	both, conflicts  [][]int64
}

type adapterCounts struct{ entries, changed int64 }

func newCounts(adapters int) counts {
	c := counts{of: make([]adapterCounts, adapters), both: make([][]int64, adapters), conflicts: make([][]int64, adapters)}
	for i := range adapters {
		c.both[i], c.conflicts[i] = make([]int64, adapters), make([]int64, adapters)
	}
	return c
}

func (c *counts) add(d *counts) {
	c.entries += d.entries
	c.changed += d.changed
	for i := range c.of {
		c.of[i].entries += d.of[i].entries
		c.of[i].changed += d.of[i].changed
		for j := range c.both[i] {
			c.both[i][j] += d.both[i][j]
			c.conflicts[i][j] += d.conflicts[i][j]
		}
	}
}

// report sums up what measure found.
func (j *job) report() *Report {
	r := &Report{
		Base: j.Base, Output: j.Out, Exists: j.exists, DryRun: j.DryRun, Bytes: j.model.Size(),
		Adapters: []AdapterReport{}, Tensors: []TensorReport{}, Overlaps: []Overlap{}, LeftOut: j.leftOut(),
	}
	total := newCounts(len(j.adapters))
	for _, t := range j.tensors {
		total.add(&t.counts)
		r.Tensors = append(r.Tensors, TensorReport{
			Name: t.Name, DType: t.DType.String(), Survival: survival(t.counts.entries, t.counts.changed),
		})
	}
	r.Survival = survival(total.entries, total.changed)
	for i, a := range j.adapters {
		r.Adapters = append(r.Adapters, AdapterReport{
			Path: j.Adapters[i].Path, Weight: j.Adapters[i].Weight, Parameters: a.Parameters(), Tensors: len(a.Deltas),
			Survival: survival(total.of[i].entries, total.of[i].changed),
		})
		for k := range i {
			common := total.both[k][i]
			r.Overlaps = append(r.Overlaps, Overlap{
				A: k, B: i, Entries: common, SignConflicts: total.conflicts[k][i],
				Share: float64(common) / float64(j.adapters[k].Parameters()+a.Parameters()-common),
			})
		}
	}
	return r
}
