package adapter

import (
	"sync"
	"sync/atomic"

	"shira/internal/checkpoint"
)

// lazy is what the file of an opened adapter holds in another form than it is used in: packed, in 16 bits, or transposed. It is
// decoded when it is needed and dropped when its delta is released, so that memory has what is at work and not the whole file.
type lazy[T any] struct {
	decode  func() (*T, error)
	tensors []checkpoint.Tensor // that decode reads

	mu   sync.Mutex // of decoding
	kept atomic.Pointer[T]
}

// get returns the decoded form, which must not be changed. It was decoded once when the adapter was opened: an error now, of a
// file that was changed meanwhile, is a panic that [checkpoint.Guard] turns into an error.
func (l *lazy[T]) get() *T {
	if v := l.kept.Load(); v != nil {
		return v
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.kept.Load(); v != nil {
		return v
	}
	v, err := l.decode()
	for _, t := range l.tensors {
		t.Release()
	}
	if err != nil {
		panic(checkpoint.Unreadable(err))
	}
	l.kept.Store(v)
	return v
}

// drop forgets the decoded form; who uses it meanwhile has it still. nil has none.
func (l *lazy[T]) drop() {
	if l != nil {
		l.kept.Store(nil)
	}
}

// isLazy says whether what a file holds of tensors is to be decoded when it is needed: where the file stays open, and its bytes
// are not used as they are.
func isLazy(same bool, tensors ...checkpoint.Tensor) bool {
	for _, t := range tensors {
		if !t.Shared() {
			return false
		}
		same = same && t.Viewed()
	}
	return !same
}
