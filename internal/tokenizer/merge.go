package tokenizer

// maxShort is the longest word, in characters, merged by scanning for the best pair; beyond it a queue wins.
const maxShort = 64

// workspace holds what merging a long word needs, for reuse.
type workspace struct {
	prev, next []int32  // neighbours of the characters not yet merged into another
	queue      minQueue // pairs to merge: rank<<32 | position of the left one
}

// merge applies the merges to ids in place and returns how many ids are left.
func (m *bpe) merge(ids []int32, w *workspace) int {
	if len(ids) <= maxShort {
		return m.merges.mergeShort(ids)
	}
	return m.merges.mergeLong(ids, w)
}

// mergeShort takes O(n²) steps without memory of its own.
func (t *mergeTable) mergeShort(ids []int32) int {
	var ranks [maxShort]uint32 // of the pair at k and k+1
	var results [maxShort]int32
	n := len(ids)
	for k := range n - 1 {
		ranks[k], results[k] = t.rank(ids[k], ids[k+1])
	}
	for n > 1 {
		best := 0
		for k := 1; k < n-1; k++ {
			if ranks[k] < ranks[best] {
				best = k
			}
		}
		if ranks[best] == noRank {
			break
		}
		ids[best] = results[best]
		copy(ids[best+1:], ids[best+2:n])
		copy(ranks[best+1:], ranks[best+2:n])
		copy(results[best+1:], results[best+2:n])
		n--
		if best > 0 {
			ranks[best-1], results[best-1] = t.rank(ids[best-1], ids[best])
		}
		if best < n-1 {
			ranks[best], results[best] = t.rank(ids[best], ids[best+1])
		}
	}
	return n
}

// mergeLong takes O(n log n) steps: every merge queues at most two new pairs, and pairs that changed since they were
// queued are recognised by their rank, which belongs to one pair alone.
func (t *mergeTable) mergeLong(ids []int32, w *workspace) int {
	const gone = -1 // the id of a character merged into its left neighbour
	n := len(ids)
	w.reset(n)
	for k := range n - 1 {
		if rank, _ := t.rank(ids[k], ids[k+1]); rank != noRank {
			w.queue = append(w.queue, queued(rank, k))
		}
	}
	w.queue.order()
	push := func(k int) {
		if rank, _ := t.rank(ids[k], ids[w.next[k]]); rank != noRank {
			w.queue.push(queued(rank, k))
		}
	}
	for len(w.queue) > 0 {
		top := w.queue.pop()
		k := int(uint32(top))
		right := int(w.next[k])
		if ids[k] == gone || right == n {
			continue
		}
		rank, result := t.rank(ids[k], ids[right])
		if rank != uint32(top>>32) {
			continue
		}
		ids[k], ids[right] = result, gone
		w.next[k] = w.next[right]
		if next := int(w.next[k]); next < n {
			w.prev[next] = int32(k)
			push(k)
		}
		if prev := int(w.prev[k]); prev >= 0 {
			push(prev)
		}
	}
	left := 0
	for _, id := range ids {
		if id != gone {
			ids[left] = id
			left++
		}
	}
	return left
}

// reset links n characters into a row and empties the queue.
func (w *workspace) reset(n int) {
	if cap(w.prev) < n {
		w.prev, w.next = make([]int32, n), make([]int32, n)
	}
	w.prev, w.next, w.queue = w.prev[:n], w.next[:n], w.queue[:0]
	for k := range n {
		w.prev[k], w.next[k] = int32(k-1), int32(k+1)
	}
}

// minQueue is a binary heap with the least value on top. Packed values make it several times faster than
// container/heap.
type minQueue []uint64

func queued(rank uint32, k int) uint64 { return uint64(rank)<<32 | uint64(k) }

func (q minQueue) order() {
	for k := len(q)/2 - 1; k >= 0; k-- {
		q.down(k)
	}
}

func (q *minQueue) push(v uint64) {
	h := append(*q, v)
	for k := len(h) - 1; k > 0; {
		parent := (k - 1) / 2
		if h[parent] <= h[k] {
			break
		}
		h[parent], h[k] = h[k], h[parent]
		k = parent
	}
	*q = h
}

func (q *minQueue) pop() uint64 {
	h := *q
	top, last := h[0], len(h)-1
	h[0] = h[last]
	*q = h[:last]
	q.down(0)
	return top
}

func (q minQueue) down(k int) {
	for {
		child := 2*k + 1
		if child >= len(q) {
			return
		}
		if right := child + 1; right < len(q) && q[right] < q[child] {
			child = right
		}
		if q[k] <= q[child] {
			return
		}
		q[k], q[child] = q[child], q[k]
		k = child
	}
}
