package tokenizer

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	cacheBits    = 15
	maxCacheWord = 64 // bytes
)

// wordCache remembers the ids of words. It is direct-mapped: a word overwrites the one in its slot, so that memory is
// bounded and readers take no lock.
type wordCache struct {
	seed  maphash.Seed
	slots [1 << cacheBits]atomic.Pointer[cachedWord]
}

type cachedWord struct {
	word string
	ids  []int32
}

func newWordCache() *wordCache { return &wordCache{seed: maphash.MakeSeed()} }

func (c *wordCache) slot(word string) *atomic.Pointer[cachedWord] {
	return &c.slots[maphash.String(c.seed, word)>>(64-cacheBits)]
}

// put copies word and ids.
func (c *wordCache) put(slot *atomic.Pointer[cachedWord], word string, ids []int32) {
	slot.Store(&cachedWord{strings.Clone(word), append([]int32(nil), ids...)})
}
