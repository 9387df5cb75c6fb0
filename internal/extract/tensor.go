package extract

import (
	"bytes"
	"context"
	"math"
	"strings"

	"shira/internal/adapter"
	"shira/internal/fault"
	"shira/internal/merge"
	"shira/internal/svd"
)

// extractor collects deltas.
type extractor struct {
	Options
	ctx    context.Context
	tied   func(module string) bool
	report *Report
	deltas []adapter.Delta
	done   int64
}

// blockElements is about how many elements are worked on at a time, in whole rows.
const blockElements = 1 << 18

// tensor takes the difference of a pair, if there is one.
func (e *extractor) tensor(p pair) error {
	same, err := e.same(p)
	if err != nil || same {
		return err
	}
	module, isWeight := strings.CutSuffix(p.base.Name, ".weight")
	if !isWeight || len(p.base.Shape) != 2 || !p.base.DType.IsFloat() || e.tied(module) {
		e.report.NotAdapted = append(e.report.NotAdapted, p.base.Name)
		return nil
	}
	t := TensorReport{Name: p.base.Name, DType: p.base.DType.String()}
	d := newDifference(e.ctx, p)
	var delta adapter.Delta
	if e.Rank > 0 {
		delta, err = e.lowRank(d, module, &t)
	} else {
		delta, err = e.sparse(d, module, &t)
	}
	if err != nil || delta == nil {
		return err
	}
	t.Parameters = delta.Parameters()
	e.deltas = append(e.deltas, delta)
	e.report.Tensors = append(e.report.Tensors, t)
	return nil
}

// same says whether a pair has the same bytes.
func (e *extractor) same(p pair) (bool, error) {
	const step = 1 << 20
	x, y := make([]byte, min(step, p.base.Size())), make([]byte, min(step, p.base.Size()))
	for off := int64(0); off < p.base.Size(); off += step {
		if err := fault.Canceled(e.ctx, e.Tuned, "nothing written"); err != nil {
			return false, err
		}
		n := min(step, p.base.Size()-off)
		if err := p.base.ReadAt(x[:n], off); err != nil {
			return false, err
		}
		if err := p.tuned.ReadAt(y[:n], off); err != nil {
			return false, err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// sparse takes entries of the difference, nil where none is to be taken.
func (e *extractor) sparse(d *difference, module string, t *TensorReport) (adapter.Delta, error) {
	out, in := d.base.Shape[0], d.base.Shape[1]
	keep := int64(e.TopK)
	if e.Density > 0 {
		keep = int64(e.Density * float64(out) * float64(in))
	}
	var largest *merge.Largest
	if keep > 0 {
		r := merge.Ranking{Rows: out, Blocks: d.blocks(), Scan: d.scan}
		var err error
		if largest, err = r.Largest(keep); err != nil {
			return nil, err
		}
	}
	s := &adapter.Sparse{Name: module, Out: out, In: in}
	for b := range d.blocks() {
		first, n := d.rows(b)
		rows, err := d.read(first, n)
		if err != nil {
			return nil, err
		}
		for i := range n {
			row := rows.values[i*in : (i+1)*in]
			for c, v := range row {
				if rows.differs(i*in + c) {
					t.Changed++
					t.squares += float64(v) * float64(v)
				}
			}
			if largest != nil {
				largest.Keep(first+i, row)
			}
			for c, v := range row {
				k := i*in + c
				switch {
				case !rows.differs(k):
					continue
				case v == 0, math.Abs(float64(v)) < e.Threshold: // 0 also where Keep left it out
					t.Inexact++
					continue
				}
				v, exact := rows.exact(k)
				if !exact {
					t.Inexact++
				}
				s.RowIdx = append(s.RowIdx, int32(first+i))
				s.ColIdx = append(s.ColIdx, int32(c))
				s.Values = append(s.Values, v)
				t.Taken++
				t.rest -= float64(v) * float64(v)
			}
		}
	}
	if t.rest += t.squares; t.rest < 0 {
		t.rest = 0
	}
	if len(s.Values) == 0 {
		e.report.NotAdapted = append(e.report.NotAdapted, t.Name)
		return nil, nil
	}
	return s, nil
}

// lowRank takes the nearest product of low rank.
func (e *extractor) lowRank(d *difference, module string, t *TensorReport) (adapter.Delta, error) {
	out, in := d.base.Shape[0], d.base.Shape[1]
	seen := 0 // rows of the first pass
	f, err := svd.Truncate(svd.Source{Rows: out, Cols: in, Read: func(dst []float32, first, n int) error {
		changed, err := d.delta(dst, first, n)
		if seen < out {
			seen += n
			t.Changed += changed
		}
		return err
	}}, e.Rank, e.Seed)
	if err != nil {
		return nil, err
	}
	t.Taken, t.squares, t.rest = int64(out)*int64(in), f.Squares, f.Rest
	return &adapter.LowRank{Name: module, Out: out, In: in, R: e.Rank, A: f.A, B: f.B, Alpha: float64(e.Rank), Scale: 1}, nil
}

func root(v float64) float64 { return math.Sqrt(math.Max(v, 0)) }

// relative returns √(rest/all), 0 where there is nothing.
func relative(rest, all float64) float64 {
	if all == 0 {
		return 0
	}
	return root(rest / all)
}
