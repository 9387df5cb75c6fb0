package switcher

import "sync"

// ordered calls do for 0 … n−1, several at a time, and use with each result in order, until one fails. With one worker
// all of it happens in turn.
func ordered[T any](workers, n int, do func(i int) (T, error), use func(i int, v T) error) error {
	if workers <= 1 {
		for i := range n {
			v, err := do(i)
			if err == nil {
				err = use(i, v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	type result struct {
		v   T
		err error
	}
	line := make(chan chan result, workers) // its length bounds how far the doing runs ahead
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		defer close(line)
		for i := range n {
			c := make(chan result, 1)
			select {
			case line <- c:
			case <-stop:
				return
			}
			group.Go(func() {
				v, err := do(i)
				c <- result{v, err}
			})
		}
	})
	defer group.Wait()
	defer close(stop)
	i := 0
	for c := range line {
		r := <-c
		if r.err == nil {
			r.err = use(i, r.v)
		}
		if r.err != nil {
			return r.err
		}
		i++
	}
	return nil
}
