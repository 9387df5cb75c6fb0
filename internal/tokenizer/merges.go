package tokenizer

import "math/bits"

type merge struct{ left, right, result int32 }

// mergeTable maps a pair of ids to the rank of its merge and the id it makes: open addressing over packed pairs.
type mergeTable struct {
	slots []mergeSlot
	shift uint
}

type mergeSlot struct {
	pair   uint64 // left<<32 | right
	rank   uint32
	result uint32 // id plus one; 0 is empty
}

// noRank is the rank of a pair that does not merge.
const noRank = ^uint32(0)

// newMergeTable ranks merges by their position. Of a pair given twice the later rank holds, as in the reference
// library.
func newMergeTable(merges []merge) *mergeTable {
	n := max(bits.Len(uint(len(merges)*3/2)), 1)
	t := &mergeTable{slots: make([]mergeSlot, 1<<n), shift: uint(64 - n)}
	for rank, m := range merges {
		slot := t.find(pack(m.left, m.right))
		*slot = mergeSlot{pack(m.left, m.right), uint32(rank), uint32(m.result) + 1}
	}
	return t
}

func pack(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// find returns the slot of a pair or the empty one where it belongs. Fibonacci hashing spreads the packed ids.
func (t *mergeTable) find(pair uint64) *mergeSlot {
	mask := uint64(len(t.slots) - 1)
	for k := pair * 0x9E3779B97F4A7C15 >> t.shift; ; k = (k + 1) & mask {
		slot := &t.slots[k]
		if slot.result == 0 || slot.pair == pair {
			return slot
		}
	}
}

// rank returns the rank of merging left with right, noRank where they do not merge.
func (t *mergeTable) rank(left, right int32) (rank uint32, result int32) {
	slot := t.find(pack(left, right))
	if slot.result == 0 {
		return noRank, -1
	}
	return slot.rank, int32(slot.result - 1)
}
