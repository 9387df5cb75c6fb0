package switcher

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// TestOrdered: results are used in order, an error is the first one's, and nothing is at work any more when it is told.
func TestOrdered(t *testing.T) {
	own := errors.New("own")
	for _, workers := range []int{1, 4} {
		for _, c := range []struct{ doing, using, want int }{{100, 100, 100}, {7, 100, 7}, {100, 9, 9}, {0, 0, 0}, {12, 11, 11}} {
			var running atomic.Int32
			used := 0
			err := ordered(workers, 100, func(i int) (int, error) {
				running.Add(1)
				defer running.Add(-1)
				time.Sleep(time.Duration(i%3) * 100 * time.Microsecond)
				if i >= c.doing {
					return 0, own
				}
				return i * i, nil
			}, func(i, v int) error {
				if i != used || v != i*i {
					t.Errorf("%d workers: result %d of %d in place of %d", workers, v, i, used)
				}
				if i >= c.using {
					return own
				}
				used++
				return nil
			})
			if n := running.Load(); n != 0 {
				t.Errorf("%d workers: %d at work after the end", workers, n)
			}
			if used != c.want || (err == nil) != (c.want == 100) || err != nil && !errors.Is(err, own) {
				t.Errorf("%d workers, %+v: %d used, %v", workers, c, used, err)
			}
		}
	}
}
