package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// useThreads sets the number of threads for the rest of the test.
func useThreads(t *testing.T, n int) {
	t.Helper()
	before := Threads()
	t.Cleanup(func() { SetThreads(before) })
	SetThreads(n)
}

// withThreads runs f with each number of threads.
func withThreads(t *testing.T, f func(t *testing.T, threads int)) {
	t.Helper()
	for _, n := range []int{1, 2, 3, 7} {
		useThreads(t, n)
		if Threads() != n {
			t.Fatalf("Threads() = %d after SetThreads(%d)", Threads(), n)
		}
		f(t, n)
	}
}

func TestParallelCallsEachIndexOnce(t *testing.T) {
	withThreads(t, func(t *testing.T, threads int) {
		for _, n := range []int{-1, 0, 1, 2, 3, 100, 5000} {
			calls := make([]atomic.Int32, max(n, 0))
			Parallel(n, func(i int) { calls[i].Add(1) })
			for i := range calls {
				if c := calls[i].Load(); c != 1 {
					t.Fatalf("%d threads, n = %d: f(%d) was called %d times", threads, n, i, c)
				}
			}
		}
	})
}

// Many short regions in a row, with pauses that let the workers fall asleep at every stage.
func TestParallelRegionsFollowEachOther(t *testing.T) {
	withThreads(t, func(t *testing.T, threads int) {
		for round := range 2000 {
			var sum atomic.Int64
			Parallel(9, func(i int) { sum.Add(int64(i)) })
			if sum.Load() != 36 {
				t.Fatalf("%d threads, round %d: sum is %d, want 36", threads, round, sum.Load())
			}
			if round%500 == 0 {
				time.Sleep(spin * time.Duration(round%3))
			}
		}
	})
}

func TestParallelUsesItsThreads(t *testing.T) {
	withThreads(t, func(t *testing.T, threads int) {
		// Every call waits for as many as there are threads, which only as many goroutines can satisfy.
		var together sync.WaitGroup
		together.Add(threads)
		Parallel(threads, func(int) {
			together.Done()
			together.Wait()
		})
	})
}

func TestParallelNested(t *testing.T) {
	withThreads(t, func(t *testing.T, threads int) {
		var calls atomic.Int32
		Parallel(20, func(int) {
			inOrder := 0
			Parallel(10, func(i int) {
				if i != inOrder {
					t.Errorf("%d threads: nested call ran index %d before %d", threads, i, inOrder)
				}
				inOrder++
				calls.Add(1)
			})
		})
		if calls.Load() != 200 {
			t.Fatalf("%d threads: %d nested calls, want 200", threads, calls.Load())
		}
	})
}

func TestParallelFromManyGoroutines(t *testing.T) {
	withThreads(t, func(t *testing.T, threads int) {
		var calls atomic.Int32
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for range 50 {
					Parallel(5, func(int) { calls.Add(1) })
				}
			})
		}
		callers.Wait()
		if calls.Load() != 1000 {
			t.Fatalf("%d threads: %d calls, want 1000", threads, calls.Load())
		}
	})
}

func TestParallelPanics(t *testing.T) {
	withThreads(t, func(t *testing.T, threads int) {
		for _, at := range []int{0, 1, 50, 99} {
			got := func() (v any) {
				defer func() { v = recover() }()
				Parallel(100, func(i int) {
					if i == at {
						panic(at)
					}
				})
				return nil
			}()
			if got != at {
				t.Fatalf("%d threads: recovered %v, want %d", threads, got, at)
			}
			var calls atomic.Int32
			Parallel(10, func(int) { calls.Add(1) })
			if calls.Load() != 10 {
				t.Fatalf("%d threads: %d calls after a panic, want 10", threads, calls.Load())
			}
		}
	})
}

// A goroutine that f ends, as a failing test does, leaves the pool in order.
func TestParallelSurvivesGoexit(t *testing.T) {
	withThreads(t, func(t *testing.T, threads int) {
		var caller sync.WaitGroup
		caller.Go(func() {
			Parallel(10, func(int) { runtime.Goexit() })
		})
		caller.Wait()
		var calls atomic.Int32
		Parallel(10, func(int) { calls.Add(1) })
		if calls.Load() != 10 {
			t.Fatalf("%d threads: %d calls after Goexit, want 10", threads, calls.Load())
		}
	})
}

func TestParallelDoesNotAllocate(t *testing.T) {
	useThreads(t, 3)
	var sum atomic.Int64
	f := func(i int) { sum.Add(int64(i)) }
	if n := testing.AllocsPerRun(200, func() { Parallel(100, f) }); n != 0 {
		t.Fatalf("a region allocates %v times", n)
	}
}

func BenchmarkParallel(b *testing.B) {
	f := func(int) {}
	for b.Loop() {
		Parallel(Threads(), f)
	}
}
