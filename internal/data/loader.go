package data

import (
	"math"

	"shira/internal/fault"
)

// LoaderOptions says how a Loader forms batches.
type LoaderOptions struct {
	BatchSize int    // rows a batch; an epoch's last batch has what is left
	MaxLength int    // most tokens a row; 0 takes the longest example's
	Packing   bool   // several short examples to a row, each whole; otherwise one
	Shuffle   bool   // another order of rows in each epoch; otherwise file order
	Seed      uint64 // of the shuffling
}

// Loader hands out a dataset in training batches, endlessly: those of epoch 0, of epoch 1, and so on. An epoch holds every
// example once, and its last batch what is left, so that no batch reaches into the next epoch.
//
// Where files have weights, an epoch is a mixture in these proportions: as large as it can be without a file giving more
// examples than it has, and each file goes on in the next epoch where this one left it.
//
// With packing, rows are formed from the shuffled examples if Shuffle is set: without weights once, so that what an epoch
// shuffles is rows and every epoch has the same number, and with weights anew for each epoch. The order is a pure function
// of the dataset, the options and the epoch.
type Loader struct {
	ds    *Dataset
	opt   LoaderOptions
	mix   mixture
	rows  rows    // of state.Epoch
	perm  []int32 // of the rows in state.Epoch
	state State
	batch Batch
	once  bool // rows are those of every epoch
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
		return nil, fault.New(fault.Usage, ds.Name(), "the batch size must be positive: %d", o.BatchSize)
	}
	longest := ds.Stats.Longest
	if o.MaxLength < 0 || o.MaxLength > 0 && longest > o.MaxLength {
		return nil, fault.New(fault.Usage, ds.Name(), "an example of %d tokens is longer than a row of %d", longest, o.MaxLength)
	}
	if o.MaxLength == 0 {
		o.MaxLength = longest
	}
	l := &Loader{ds: ds, opt: o, mix: newMixture(ds, o)}
	l.once = len(l.mix.parts) == 0
	l.enter(0)
	return l, nil
}

// arrange forms the rows of an epoch.
func (l *Loader) arrange(epoch int) rows {
	order := l.mix.examples(epoch)
	if order == nil {
		order = make([]int32, l.ds.Len())
		identity(order)
		if l.opt.Packing && l.opt.Shuffle {
			permute(order, l.opt.Seed, packStream)
		}
	}
	if l.opt.Packing {
		return pack(l.ds, order, l.opt.MaxLength)
	}
	ends := make([]int32, len(order))
	for i := range ends {
		ends[i] = int32(i + 1)
	}
	return rows{order, ends}
}

// Rows returns the number of rows in the current epoch.
func (l *Loader) Rows() int { return len(l.rows.ends) }

// Share returns how many examples of a source of the dataset are in an epoch.
func (l *Loader) Share(source int) int {
	s := l.ds.Sources[source]
	for _, p := range l.mix.parts {
		if p.first == s.First && s.Examples > 0 {
			return p.count
		}
	}
	return s.Examples
}

// BatchSize returns the number of rows in a batch, but for the last of an epoch.
func (l *Loader) BatchSize() int { return min(l.opt.BatchSize, l.Rows()) }

// Steps returns how many steps of the given number of batches cover the given number of epochs. Steps end with epochs, as
// batches do: the last one of each has what is left, as Hugging Face's Trainer counts. An epoch's share counts by steps.
func (l *Loader) Steps(epochs float64, batches int) int {
	if !(epochs > 0) {
		return 0
	}
	if l.once {
		return int(min(math.Ceil(epochs*float64(l.stepsOf(l.Rows(), batches))), math.MaxInt32))
	}
	steps := 0
	for epoch := 0; float64(epoch) < epochs && steps < math.MaxInt32; epoch++ {
		n := l.stepsOf(len(l.arrange(epoch).ends), batches)
		if left := epochs - float64(epoch); left < 1 {
			n = int(math.Ceil(left * float64(n)))
		}
		steps += n
	}
	return min(steps, math.MaxInt32)
}

// stepsOf returns the steps of an epoch of so many rows.
func (l *Loader) stepsOf(rows, batches int) int {
	return ceilDiv(ceilDiv(rows, l.opt.BatchSize), batches)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// State returns the place of the next batch.
func (l *Loader) State() State { return l.state }

// Restore moves to a place that State returned, for the same dataset and options. A place that does not exist is a
// Malformed fault.
func (l *Loader) Restore(s State) error {
	if s.Epoch >= 0 {
		l.enter(s.Epoch)
	}
	if s.Epoch < 0 || s.Row < 0 || s.Row > l.Rows() {
		return fault.New(fault.Malformed, "", "no row %d of %d in epoch %d of the data", s.Row, l.Rows(), s.Epoch)
	}
	l.state.Row = s.Row
	return nil
}

// enter moves to the start of an epoch.
func (l *Loader) enter(epoch int) {
	l.state = State{Epoch: epoch}
	if !l.once || l.rows.ends == nil {
		l.rows = l.arrange(epoch)
		l.perm = make([]int32, l.Rows())
	}
	if l.opt.Shuffle {
		permute(l.perm, l.opt.Seed, uint64(epoch))
	} else {
		identity(l.perm)
	}
}

// Next returns the next batch. Its memory is reused by the next call.
func (l *Loader) Next() Batch {
	if l.state.Row == l.Rows() {
		l.enter(l.state.Epoch + 1)
	}
	b := &l.batch
	b.reset()
	for b.Rows < l.opt.BatchSize && l.state.Row < l.Rows() {
		for _, ex := range l.rows.row(int(l.perm[l.state.Row])) {
			b.add(l.ds.Example(int(ex)))
		}
		l.state.Row++
		b.Rows++
	}
	b.EpochEnd = l.state.Row == l.Rows()
	return *b
}
