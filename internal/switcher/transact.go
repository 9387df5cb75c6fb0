package switcher

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// transaction is one switch from the state that old describes to the base with change.
type transaction struct {
	number  uint64
	base    string    // fingerprint
	applied []Applied // what change is made of; empty for the base
	targets []tensor  // what change touches, in the order of files and offsets
	change  change
	room    int64 // bytes that the journal may take at most, but for what old adds

	old    *journal // nil for the base
	shards *shards
	tell   func(done, total int64) // of blocks' bytes, twice; may be nil
}

// Work says what a switch cost.
type Work struct {
	Entries int64 `json:"entries"`       // elements of the weights that were restored or changed
	Live    int64 `json:"live"`          // of those, elements that adapters change
	Differ  int64 `json:"differ"`        // of those, how many have other bits than in the base: the others vanished in rounding
	Journal int64 `json:"journal_bytes"` // of the file
	Written int64 `json:"written_bytes"` // to the weights
	Times   Times `json:"times"`
}

// Times are parts of a switch, in seconds.
type Times struct {
	Journal float64 `json:"journal"` // reading the weights, and writing and syncing the journal
	Weights float64 `json:"weights"` // writing and syncing the weights, and the commit
}

// run carries the transaction out, with the lock held and nothing left to restore. The steps are those of docs/switch.md.
//
// An error before the journal is hot leaves everything as it was, and so does a context that is canceled at any time. Another
// error leaves the journal hot.
func (s *store) run(ctx context.Context, tx *transaction) (*Work, error) {
	h := tx.header(s.block)
	work := &Work{}
	start := time.Now()
	most, err := tx.most(h)
	if err == nil {
		err = s.checkRoom(most)
	}
	if err == nil && tx.old == nil {
		err = s.mark(tx.base)
	}
	if err == nil {
		err = s.write(ctx, tx, h, work)
	}
	if err != nil {
		s.forget(tx)
		return nil, err
	}
	work.Times.Journal = time.Since(start).Seconds()
	start = time.Now()
	hot := s.name(checkpoint.JournalHot, tx.number)
	if err := s.fs.Rename(s.name(checkpoint.JournalMaking, tx.number), hot); err != nil {
		s.forget(tx)
		return nil, errors.Join(err, s.fs.Remove(s.name(checkpoint.JournalMaking, tx.number)))
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return nil, s.unfinished(err)
	}
	j, c, err := s.openJournal(hot)
	if err != nil {
		return nil, s.unfinished(err)
	}
	work.Written, err = j.patch(ctx, tx.shards, s.workers, tx.newValues, tx.meter(h, 1))
	if err != nil && errors.Is(err, ctx.Err()) { // and not an error of the disk meanwhile
		if err := s.rollBack(j, c, tx.shards); err != nil {
			return nil, s.unfinished(err)
		}
		s.forget(tx)
		return nil, ctx.Err()
	}
	c.Close()
	if err != nil {
		return nil, s.unfinished(err)
	}
	if err := s.fs.Rename(hot, s.name(checkpoint.JournalApplied, tx.number)); err != nil {
		return nil, s.unfinished(err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return nil, err // the weights are durable; after a crash they are the new ones, or will be restored to the old ones
	}
	work.Times.Weights = time.Since(start).Seconds()
	s.tidy(tx)
	return work, nil
}

// forget removes the mark of a switch from the base that did not happen. One that stays does no harm: the next switch sees that the
// weights are the base's.
func (s *store) forget(tx *transaction) {
	if tx.old == nil {
		_ = s.unmark()
	}
}

// tidy removes what the switch replaced. The switch is complete: what cannot be removed now will be the next time.
func (s *store) tidy(tx *transaction) {
	if tx.old == nil && len(tx.applied) > 0 {
		return // nothing
	}
	if n, err := s.scan(); err == nil {
		_ = s.sweep(n)
	}
}

// unfinished is an error after which the journal is hot.
func (s *store) unfinished(err error) error {
	return fault.Wrap(fault.KindOf(err), "", err, "the switch did not end, and the model must not be used").
		WithHint("`shira switch %s --recover` puts the weights back as they were", s.model)
}

// header returns the header of the journal, whose tensors are those of both states.
func (tx *transaction) header(block int) *header {
	h := &header{
		Version: journalVersion, Sequence: tx.number, Base: tx.base, Applied: tx.applied, Block: block,
		Files: tx.shards.files, Tensors: slices.Clone(tx.targets),
	}
	if h.Applied == nil {
		h.Applied = []Applied{}
	}
	if tx.old != nil {
		for i := range tx.old.Tensors {
			t := tx.old.Tensors[i]
			if _, found := slices.BinarySearchFunc(tx.targets, t, tensor.compare); !found && tx.old.has(i) {
				h.Tensors = append(h.Tensors, t)
			}
		}
		slices.SortFunc(h.Tensors, tensor.compare)
	}
	return h
}

func (t tensor) compare(u tensor) int {
	return cmp.Or(cmp.Compare(t.File, u.File), cmp.Compare(t.Offset, u.Offset))
}

// most returns how many bytes the journal with that header takes at most. It has the entries of the old state's lists too,
// which now differ from the base: both are written. Of its runs only what they are before is.
func (tx *transaction) most(h *header) (int64, error) {
	b, err := h.encode()
	n := int64(len(b)) + journalEnds + tx.room
	if tx.old != nil {
		n += tx.old.size + tx.old.same
	}
	return n, err
}

// checkRoom fails when the disk has no room for most bytes. Where that cannot be asked, the writing will tell.
func (s *store) checkRoom(most int64) error {
	if free, err := s.fs.Free(); err == nil && free < uint64(most) {
		return fault.New(fault.Environment, s.fs.Path(s.dir), "the journal may need %d bytes, but the disk has only %d free", most, free)
	}
	return nil
}

// write writes the journal as a temporary file, durably. On an error nothing of it is left.
func (s *store) write(ctx context.Context, tx *transaction, h *header, work *Work) error {
	name := s.name(checkpoint.JournalMaking, tx.number)
	f, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	err = s.writeTo(ctx, f, tx, h, work)
	if err == nil {
		err = f.Datasync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, s.fs.Remove(name))
	}
	return nil
}

func (s *store) writeTo(ctx context.Context, f fsx.File, tx *transaction, h *header, work *Work) error {
	if err := h.check(); err != nil {
		return fault.Wrap(fault.Unrecoverable, s.fs.Path(s.dir), err, "the last switch's record is not of these weights")
	}
	w, err := newJournalWriter(f, h)
	if err != nil {
		return err
	}
	b := &builder{header: h, shards: tx.shards, old: tx.old, change: tx.change}
	type job struct {
		tensor int
		first  int64
	}
	var jobs []job
	for i := range h.Tensors {
		t := &h.Tensors[i]
		for first := int64(0); first < t.len(); first += t.step(h.Block) {
			jobs = append(jobs, job{i, first})
		}
		b.oldOf = append(b.oldOf, tx.old.index(*t))
	}
	pool := sync.Pool{New: func() any { return new(block) }}
	one := func(i int) (*block, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		k := pool.Get().(*block)
		return k, b.build(k, jobs[i].tensor, jobs[i].first)
	}
	tell := tx.meter(h, 0)
	err = ordered(s.workers, len(jobs), one, func(i int, k *block) error {
		t := &h.Tensors[jobs[i].tensor]
		if len(k.form) > 0 {
			work.Entries += int64(len(k.out.before) / t.size)
			work.Live += int64(len(k.after) / t.size)
			work.Differ += k.differ
			w.write(k.form)
		}
		tell(int64(t.blockLen(h.Block, jobs[i].first)) * int64(t.size))
		pool.Put(k)
		return w.err
	})
	if err == nil {
		err = w.finish()
	}
	work.Journal = w.n
	return err
}

// newValues returns a function that says what the entries of a segment of the new journal become.
func (tx *transaction) newValues(j *journal) valuesFunc {
	var list []uint32
	var memory, base, live, dst []byte
	var was segment
	return func(s *segment) ([]byte, error) {
		t := &j.Tensors[s.tensor]
		var err error
		switch {
		case s.run && !s.live:
			return s.base, nil
		case s.run:
			dst, err = tx.change.values(t, s.first, nil, true, s.base, dst[:0])
			return dst, err
		case s.whole:
			if err = tx.baseOf(&was, j, s); err != nil {
				return nil, err
			}
		}
		list, base, memory = s.liveEntries(t.size, list[:0], memory)
		if len(list) > 0 {
			if live, err = tx.change.values(t, s.first, list, false, base, live); err != nil {
				return nil, err
			}
		}
		switch {
		case s.whole:
			dst = append(dst[:0], was.base...)
			scatter(dst, s.keys, 0, t.size, live[:len(list)*t.size])
		case len(list) == 0:
			return s.base, nil
		case len(list) == s.n: // as at the first switch from the base
			return live, nil
		default:
			dst = append(dst[:0], s.base...)
			n := 0
			for k, key := range s.keys {
				if key&1 != 0 {
					copy(dst[k*t.size:(k+1)*t.size], live[n*t.size:])
					n++
				}
			}
		}
		return dst, nil
	}
}

// liveEntries appends the live entries of a list, counted from first, and returns what they are in the base: base itself where
// all are live, else a copy in memory, which it returns for the next time.
func (s *segment) liveEntries(size int, list []uint32, memory []byte) (live []uint32, base, again []byte) {
	all := true
	for k, key := range s.keys {
		if key&1 == 0 {
			if all {
				all, memory = false, append(memory[:0], s.base[:k*size]...)
			}
			continue
		}
		list = append(list, key>>1)
		if !all {
			memory = append(memory, s.base[k*size:(k+1)*size]...)
		}
	}
	if all {
		return list, s.base, memory
	}
	return list, memory, memory
}

// baseOf reads what all of the block of s is in the base, from the record of the old state, which had all of it changed.
func (tx *transaction) baseOf(was *segment, j *journal, s *segment) error {
	t := j.Tensors[s.tensor]
	if i := tx.old.index(t); i >= 0 {
		if p, ok := tx.old.find(i, s.first); ok {
			if err := tx.old.segment(was, p); err != nil {
				return err
			}
			if was.run {
				return nil
			}
		}
	}
	return errDamaged(j.path, "the record before it has not all of %s", fault.Quote(t.Name))
}

// meter returns a function that adds up bytes of the weights in one of the two passes.
func (tx *transaction) meter(h *header, pass int64) func(n int64) {
	var total int64
	for i := range h.Tensors {
		total += h.Tensors[i].len() * int64(h.Tensors[i].size)
	}
	done := pass * total
	return func(n int64) {
		if done += n; tx.tell != nil {
			tx.tell(min(done, 2*total), 2*total)
		}
	}
}
