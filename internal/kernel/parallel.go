package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spin is how long a thread that has nothing to do looks for work before it sleeps: hundreds of regions follow each
// other within a training step, and waking a sleeping thread takes as long as the smaller of them.
const spin = 50 * time.Microsecond

// Bits of pool.state. A region is open while workers may enter it. The caller closes it when no index is left and then
// waits for those inside, so that a worker that wakes too late delays nothing.
const (
	stateInside  = 1<<32 - 1 // number of workers inside
	stateSerial  = 1 << 32   // step of the region's serial number, by which a worker enters each region once
	stateSerials = 1<<61 - stateSerial
	stateWaiting = 1 << 61 // the caller sleeps until the last worker has left
	stateOpen    = 1 << 62
)

// pool is the process-wide pool of threads, of which the caller of Parallel is one.
var pool = struct {
	sync.Mutex // held while a region runs

	threads atomic.Int64
	workers []*worker // started so far; the first threads−1 take part

	state   atomic.Int64
	f       func(i int)
	shares  []share                // of the region's indices, one for each thread
	failure atomic.Pointer[failed] // the first panic of the region
	empty   chan struct{}          // the last worker has left
}{empty: make(chan struct{}, 1)}

type failed struct{ value any }

// share is a range of indices that one thread takes first, so that in region after region it works on the same blocks, which are
// then in its cache. Shares do not lie in one line of it.
type share struct {
	next atomic.Int64 // the next index to hand out
	end  int64
	_    [48]byte
}

func init() { pool.threads.Store(int64(runtime.GOMAXPROCS(0))) }

// SetThreads sets how many threads Parallel uses, the caller's included; n < 1 counts as 1. It waits for a running
// region to end and must not be called from within one.
func SetThreads(n int) {
	pool.Lock()
	defer pool.Unlock()
	pool.threads.Store(int64(max(n, 1)))
}

// Threads returns how many threads Parallel uses: GOMAXPROCS unless SetThreads said otherwise.
func Threads() int { return int(pool.threads.Load()) }

// Parallel calls f(0) … f(n−1), each once, on the threads of the pool and returns when all have returned. Each thread takes the
// indices of its share of them in order, one at a time, and then those that are left of other shares. A call from within f, or
// beside another running call, does its work serially in the calling goroutine. When f panics, indices not yet handed out are
// skipped and Parallel panics with the same value.
func Parallel(n int, f func(i int)) {
	threads := min(Threads(), n)
	if threads <= 1 || !pool.TryLock() {
		for i := range n {
			f(i)
		}
		return
	}
	defer pool.Unlock()
	pool.f = f
	if cap(pool.shares) < threads {
		pool.shares = make([]share, threads)
	}
	pool.shares = pool.shares[:threads]
	for t := range pool.shares {
		s := &pool.shares[t]
		s.next.Store(int64(n * t / threads))
		s.end = int64(n * (t + 1) / threads)
	}
	pool.state.Store((pool.state.Load()+stateSerial)&stateSerials | stateOpen)
	wake(threads - 1)
	defer endRegion() // even if f ends the goroutine
	takePart(0)
}

// takePart calls f for indices of the region until none is left, those of the thread's share first, and records a panic.
func takePart(thread int) {
	defer func() {
		if v := recover(); v != nil {
			for t := range pool.shares {
				s := &pool.shares[t]
				s.next.Store(s.end)
			}
			pool.failure.CompareAndSwap(nil, &failed{v})
		}
	}()
	for t := range pool.shares {
		s := &pool.shares[(thread+t)%len(pool.shares)]
		for i := s.next.Add(1) - 1; i < s.end; i = s.next.Add(1) - 1 {
			pool.f(int(i))
		}
	}
}

// endRegion waits for the workers and passes on the first panic.
func endRegion() {
	closeRegion()
	pool.f = nil
	if p := pool.failure.Swap(nil); p != nil {
		panic(p.value)
	}
}

// closeRegion keeps further workers out and waits for those inside.
func closeRegion() {
	pool.state.And(^stateOpen)
	if spinUntil(func() bool { return pool.state.Load()&stateInside == 0 }) {
		return
	}
	if pool.state.Or(stateWaiting)&stateInside != 0 {
		<-pool.empty
	}
}

// spinUntil waits a short while for done and tells whether that came.
func spinUntil(done func() bool) bool {
	for start := time.Now(); time.Since(start) < spin; runtime.Gosched() {
		for range 64 {
			if done() {
				return true
			}
		}
	}
	return false
}
