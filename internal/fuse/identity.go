package fuse

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"shira/internal/adapter"
)

// identity is what is known of the inputs only when all of their bytes have been read: beside a pass, as a rule.
type identity struct {
	base    func() (string, error) // the base's fingerprint
	digests func() []string        // of the adapters
}

func (j *job) newIdentity() identity {
	return identity{
		base: sync.OnceValues(j.model.Fingerprint),
		digests: sync.OnceValue(func() []string {
			list := make([]string, len(j.adapters))
			var group sync.WaitGroup
			for i, a := range j.adapters {
				group.Go(func() { list[i] = a.Digest() })
			}
			group.Wait()
			return list
		}),
	}
}

// identify checks that the base is that of the adapters and finds what the output's record says, beside whatever its caller
// does, which it stops by cancel when the base is another. wait returns the error, and must be called.
func (j *job) identify(cancel context.CancelCauseFunc) (wait func() error) {
	var group sync.WaitGroup
	var err error
	group.Go(func() {
		if !j.ForceBase {
			err = adapter.CheckBase(j.model, j.adapters, j.identity.base)
		}
		if err == nil && j.writesModel() {
			if _, err = j.identity.base(); err == nil {
				j.identity.digests()
			}
		}
		if err != nil {
			cancel(err)
		}
	})
	return func() error {
		group.Wait()
		return err
	}
}

// orderMatters says whether the order of the adapters, or their digests, can change a bit of the result: the sum of two is
// the same in both orders.
func (j *job) orderMatters() bool { return len(j.adapters) > 2 || j.method.Random }

// canonicalOrder returns the adapters' indices in an order that does not depend on how they were given.
func (j *job) canonicalOrder() []int {
	digests := j.identity.digests()
	order := make([]int, len(j.adapters))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		a, b := &j.Adapters[x], &j.Adapters[y]
		return cmp.Or(strings.Compare(digests[x], digests[y]), cmp.Compare(a.Weight, b.Weight),
			slices.CompareFunc(a.Rules, b.Rules, func(r, q Rule) int {
				return cmp.Or(strings.Compare(r.Filter, q.Filter), cmp.Compare(r.Weight, q.Weight))
			}),
			strings.Compare(filepath.Base(a.Path), filepath.Base(b.Path)))
	})
	return order
}
