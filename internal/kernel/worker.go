package kernel

import (
	"runtime/debug"
	"sync/atomic"
)

// worker is a goroutine of the pool.
type worker struct {
	id     int64 // 1 for the first
	seen   int64 // serial number of the last region entered
	asleep atomic.Bool
	wake   chan struct{}
}

// wake makes the first n workers look at the region and starts those that do not exist yet.
func wake(n int) {
	for len(pool.workers) < n {
		w := &worker{id: int64(len(pool.workers) + 1), wake: make(chan struct{}, 1)}
		pool.workers = append(pool.workers, w)
		go w.run()
	}
	for _, w := range pool.workers[:n] {
		if w.asleep.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
}

// run takes part in region after region. Before it sleeps it looks once more, after saying so: whoever opens a region
// in between either sees it asleep and wakes it, or is seen.
func (w *worker) run() {
	debug.SetPanicOnFault(true) // a fault in a mapped file becomes the panic of the region
	enter := w.enter
	for {
		if spinUntil(enter) {
			func() {
				defer leave()
				takePart(int(w.id))
			}()
			continue
		}
		w.asleep.Store(true)
		if w.invited(pool.state.Load()) && w.asleep.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
	}
}

// leave tells the caller, if it sleeps, that the last worker has left.
func leave() {
	if pool.state.Add(-1)&(stateInside|stateWaiting) == stateWaiting {
		pool.empty <- struct{}{}
	}
}

// invited tells whether a region is open that w takes part in and has not entered.
func (w *worker) invited(state int64) bool {
	return state&stateOpen != 0 && state&stateSerials != w.seen && w.id < pool.threads.Load()
}

// enter enters the region if w is invited.
func (w *worker) enter() bool {
	s := pool.state.Load()
	if !w.invited(s) || !pool.state.CompareAndSwap(s, s+1) {
		return false
	}
	w.seen = s & stateSerials
	return true
}
