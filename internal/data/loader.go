package data

import (
	"math"

	"shira/internal/fault"
)

// LoaderOptions says how a Loader forms batches.
type LoaderOptions struct {
	BatchSize int    // rows a batch; where there are fewer, a batch is all of them
	MaxLength int    // most tokens a row; 0 takes the longest example's
	Packing   bool   // several short examples to a row, each whole; otherwise one
	Shuffle   bool   // another order of rows in each epoch; otherwise file order
	Seed      uint64 // of the shuffling
}

// Loader hands out a dataset in training batches, endlessly.
//
// The batches cut one stream of rows: those of epoch 0, of epoch 1, and so on, every row once an epoch. A batch may
// thus hold the end of one epoch and the start of the next, and all batches have the same number of rows. Without shuffling and
// packing batch s holds the examples (s·BatchSize + j) mod n for j < BatchSize.
//
// With packing, rows are formed once, from the shuffled examples if Shuffle is set. What an epoch shuffles is rows, so
// every epoch has the same number. The order is a pure function of the dataset, the options and the epoch.
type Loader struct {
	examples []Example
	opt      LoaderOptions
	rows     rows
	perm     []int32 // of the rows in state.Epoch
	state    State
	batch    Batch
}

// State is a place in a Loader's stream: the row that the next batch starts with.
type State struct {
	Epoch int `json:"epoch"`
	Row   int `json:"row"` // rows of the epoch handed out
}

// packStream is the random stream that orders examples for packing; epochs, which number up from 0, use the others.
const packStream = math.MaxUint64

// NewLoader returns a Loader at the start of epoch 0. An example longer than a row is a Usage fault.
func NewLoader(ds *Dataset, o LoaderOptions) (*Loader, error) {
	if o.BatchSize <= 0 {
		return nil, fault.New(fault.Usage, ds.Path, "the batch size must be positive: %d", o.BatchSize)
	}
	longest := ds.Stats.Longest
	if o.MaxLength < 0 || o.MaxLength > 0 && longest > o.MaxLength {
		return nil, fault.New(fault.Usage, ds.Path, "an example of %d tokens is longer than a row of %d", longest, o.MaxLength)
	}
	if o.MaxLength == 0 {
		o.MaxLength = longest
	}
	l := &Loader{examples: ds.Examples, opt: o}
	l.rows = l.arrange()
	l.opt.BatchSize = min(o.BatchSize, l.Rows())
	l.perm = make([]int32, l.Rows())
	l.enter(0)
	return l, nil
}

// arrange forms the rows.
func (l *Loader) arrange() rows {
	order := make([]int32, len(l.examples))
	identity(order)
	if !l.opt.Packing {
		ends := make([]int32, len(order))
		for i := range ends {
			ends[i] = int32(i + 1)
		}
		return rows{order, ends}
	}
	if l.opt.Shuffle {
		permute(order, l.opt.Seed, packStream)
	}
	return pack(l.examples, order, l.opt.MaxLength)
}

// Rows returns the number of rows in an epoch.
func (l *Loader) Rows() int { return len(l.rows.ends) }

// BatchSize returns the number of rows in a batch.
func (l *Loader) BatchSize() int { return l.opt.BatchSize }

// StepsPerEpoch returns the number of batches that cover one epoch; the last may reach into the next epoch.
func (l *Loader) StepsPerEpoch() int { return l.Steps(1) }

// Steps returns the number of batches that cover the given number of epochs.
func (l *Loader) Steps(epochs float64) int {
	steps := math.Ceil(epochs * float64(l.Rows()) / float64(l.opt.BatchSize))
	return int(min(max(steps, 0), math.MaxInt32))
}

// State returns the place of the next batch.
func (l *Loader) State() State { return l.state }

// Restore moves to a place that State returned, for the same dataset and options. A place that does not exist is a
// Malformed fault.
func (l *Loader) Restore(s State) error {
	if s.Epoch < 0 || s.Row < 0 || s.Row > l.Rows() {
		return fault.New(fault.Malformed, "", "no row %d of %d in epoch %d of the data", s.Row, l.Rows(), s.Epoch)
	}
	l.enter(s.Epoch)
	l.state.Row = s.Row
	return nil
}

// enter moves to the start of an epoch.
func (l *Loader) enter(epoch int) {
	l.state = State{Epoch: epoch}
	if l.opt.Shuffle {
		permute(l.perm, l.opt.Seed, uint64(epoch))
	} else {
		identity(l.perm)
	}
}

// Next returns the next batch. Its memory is reused by the next call.
func (l *Loader) Next() Batch {
	b := &l.batch
	b.reset()
	for b.Rows < l.opt.BatchSize {
		if l.state.Row == l.Rows() {
			l.enter(l.state.Epoch + 1)
		}
		for _, ex := range l.rows.row(int(l.perm[l.state.Row])) {
			b.add(l.examples[ex])
		}
		l.state.Row++
		b.Rows++
	}
	return *b
}
