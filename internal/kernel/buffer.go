package kernel

import "sync"

// buffers keeps working memory between calls.
var buffers = sync.Pool{New: func() any { return new([]float32) }}

// borrow returns n values with any content, to be given back by buffers.Put.
func borrow(n int) *[]float32 {
	buf := buffers.Get().(*[]float32)
	if cap(*buf) < n {
		*buf = make([]float32, n)
	}
	*buf = (*buf)[:n]
	return buf
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
