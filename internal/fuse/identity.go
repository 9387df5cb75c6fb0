package fuse

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
)

// identity is what is known of the inputs only when all of their bytes have been read: beside a pass, as a rule.
type identity struct {
	base    func() (string, error)   // the base's fingerprint
	digests func() ([]string, error) // of the adapters
}

func (j *job) newIdentity() identity {
	return identity{
		base: sync.OnceValues(func() (string, error) { return j.model.FingerprintOver(j.finder.look) }),
		digests: sync.OnceValues(func() ([]string, error) {
			list, errs := make([]string, len(j.adapters)), make([]error, len(j.adapters))
			var group sync.WaitGroup
			for i, a := range j.adapters {
				group.Go(func() {
					errs[i] = checkpoint.Guard(a.Path, func() error { list[i] = a.Digest(); return nil })
				})
			}
			group.Wait()
			return list, errors.Join(errs...)
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
				_, err = j.identity.digests()
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

// canonicalOrder returns the adapters' indices in an order that does not depend on how they were given, and their digests.
func (j *job) canonicalOrder() (order []int, digests []string, err error) {
	if digests, err = j.identity.digests(); err != nil {
		return nil, nil, err
	}
	order = make([]int, len(j.adapters))
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
	return order, digests, nil
}
