package fuse

import (
	"context"

	"shira/internal/fault"
	"shira/internal/merge"
)

// interference fills AWOM and AWOR of the tensors in, where they were asked for, and returns those of all tensors together
// for each pair of adapters: the norm of a matrix of blocks is that of the largest, and counts add up.
func (j *job) interference(ctx context.Context, tensors []TensorReport) (map[[2]int]*merge.Interference, error) {
	all := map[[2]int]*merge.Interference{}
	if !j.Interference {
		return all, nil
	}
	for i, t := range j.tensors {
		for k := range tensors[i].Overlaps {
			if err := fault.Canceled(ctx, j.Out, "not written"); err != nil {
				return nil, err
			}
			o := &tensors[i].Overlaps[k]
			found, err := t.Interference(t.Term(o.A), t.Term(o.B))
			if err != nil {
				return nil, err
			}
			reportInterference(&found, o)
			pair := [2]int{o.A, o.B}
			if all[pair] == nil {
				all[pair] = &merge.Interference{}
			}
			sum := all[pair]
			sum.AWOM = max(sum.AWOM, found.AWOM)
			sum.Products += found.Products
			sum.Size += found.Size
		}
		j.release(t)
	}
	return all, nil
}

// reportInterference writes what was found to the report; nil is nothing.
func reportInterference(i *merge.Interference, o *Overlap) {
	if i == nil {
		return
	}
	ratio := 1 - i.Products/i.Size
	o.AWOM, o.AWOR = &i.AWOM, &ratio
}
