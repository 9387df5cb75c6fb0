package data

import "iter"

// Batch is some sequences end to end, without padding.
type Batch struct {
	IDs     []int32 // tokens of all segments
	Targets []int32 // Targets[p] is the token that position p must predict, or Ignore; Ignore at a segment's end
	Lengths []int   // of the segments: attention does not cross them and positions restart; they sum to len(IDs)
	Labels  int     // targets that count
	Rows    int     // rows of the batch: of examples, or of several packed together

	EpochEnd bool // the batch is an epoch's last
}

// reset empties b and keeps its memory.
func (b *Batch) reset() {
	*b = Batch{IDs: b.IDs[:0], Targets: b.Targets[:0], Lengths: b.Lengths[:0]}
}

// add appends an example as a segment.
func (b *Batch) add(ex Example) {
	b.IDs = append(b.IDs, ex.IDs...)
	b.Targets = append(b.Targets, ex.Labels[1:]...)
	b.Targets = append(b.Targets, Ignore)
	b.Lengths = append(b.Lengths, len(ex.IDs))
	b.Labels += ex.Counted()
}

// Batches yields the examples in file order for scoring, as many a batch as fit in the given number of tokens and at
// least one, each with the index of its first example: segment i is d.Example(first+i). The batch's memory is reused
// for the next one.
func (d *Dataset) Batches(tokens int) iter.Seq2[int, Batch] {
	return func(yield func(first int, b Batch) bool) {
		var b Batch
		first := 0
		for i := range d.Len() {
			ex := d.Example(i)
			if b.Rows > 0 && len(b.IDs)+len(ex.IDs) > tokens {
				if !yield(first, b) {
					return
				}
				b.reset()
				first = i
			}
			b.add(ex)
			b.Rows++
		}
		if b.Rows > 0 {
			yield(first, b)
		}
	}
}
