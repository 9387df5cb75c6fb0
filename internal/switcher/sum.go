package switcher

import (
	"slices"
	"sync"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/merge"
)

// sums is the change W' = W + Σ αᵢ·ΔWᵢ that adapters make, to the bits that package fuse gives, for both have it from package
// merge.
type sums struct {
	targets map[string]*merge.Target // by tensor
	workers sync.Pool                // of *merge.Worker
}

// newSums sums the changes of adapters in the given order, which is to be canonical. find returns a tensor that they change by
// its name.
func newSums(order []int, adapters []*adapter.Adapter, refs []adapter.Ref, find func(name string) checkpoint.Tensor) *sums {
	s := &sums{targets: map[string]*merge.Target{}}
	terms := map[string][]merge.Term{}
	for _, i := range order {
		for _, d := range adapters[i].Deltas {
			if name := adapter.WeightName(d); refs[i].Weight != 0 {
				terms[name] = append(terms[name], merge.Term{Delta: d, Weight: refs[i].Weight})
			}
		}
	}
	for name, list := range terms {
		s.targets[name] = merge.NewSum(find(name), list)
	}
	return s
}

// worker returns one for a target, which goes back to s.workers.
func (s *sums) worker(t *merge.Target) *merge.Worker {
	w, _ := s.workers.Get().(*merge.Worker)
	if w == nil || w.Target != t {
		w = t.NewWorker(w)
	}
	return w
}

// entries implements change.
func (s *sums) entries(t *tensor, first int64, n int, dst []uint32) (list []uint32, all bool) {
	target := s.targets[t.Name]
	switch {
	case target == nil:
		return dst, false
	case !target.Sparse():
		return nil, true
	}
	w := s.worker(target)
	defer s.workers.Put(w)
	dst = slices.Grow(dst, n/100)
	for _, i := range w.Select(int(first/int64(t.Cols)), n/t.Cols) {
		dst = append(dst, uint32(i))
	}
	return dst, false
}

// values implements change.
func (s *sums) values(t *tensor, first int64, list []uint32, all bool, base, dst []byte) ([]byte, error) {
	w := s.worker(s.targets[t.Name])
	defer s.workers.Put(w)
	dst = append(dst[:0], base...)
	row := int(first / int64(t.Cols))
	if all {
		_, err := w.Apply(dst, row)
		return dst, err
	}
	rows := 0
	if len(list) > 0 {
		rows = int(list[len(list)-1])/t.Cols + 1
	}
	if n := len(w.Select(row, rows)); n != len(list) {
		return nil, fault.New(fault.Internal, "", "%s: %d entries are listed of the %d of a block", fault.Quote(t.Name), len(list), n)
	}
	return dst, w.AddSelected(dst)
}
