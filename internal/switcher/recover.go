package switcher

import (
	"context"
	"io"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// restore undoes a switch that did not end, and clears away what no longer counts. The lock is held. It reports whether
// there was a switch to undo.
//
// The bytes from before are written whether the weights have others or not: after a disk fault the system may show bytes
// that the disk does not have.
func (s *store) restore() (undone bool, err error) {
	// The process before may have been killed just when it changed names. What is seen counts only when it is sure to stay.
	if err := s.fs.SyncDir(s.dir); err != nil {
		return false, err
	}
	n, err := s.scan()
	if err != nil {
		return false, err
	}
	for _, number := range n.tmp {
		if err := s.fs.Remove(s.name(checkpoint.JournalMaking, number)); err != nil {
			return false, err
		}
	}
	if len(n.hot) > 1 {
		return false, fault.New(fault.Unrecoverable, s.fs.Path(s.dir), "there are %d journals of switches that did not end", len(n.hot))
	}
	if len(n.hot) == 1 {
		if err := s.undo(n.hot[0]); err != nil {
			return false, err
		}
		if len(n.applied) == 0 { // these are the base's weights
			return true, s.unmark()
		}
	}
	return len(n.hot) == 1, s.sweep(n)
}

// undo writes back what the weights were before switch number.
func (s *store) undo(number uint64) error {
	name := s.name(checkpoint.JournalHot, number)
	j, c, err := s.openJournal(name)
	if err != nil {
		return err
	}
	defer c.Close()
	if j.Sequence != number {
		return errDamaged(j.path, "it has the number %d", j.Sequence)
	}
	if err := j.verify(); err != nil {
		return err
	}
	sh, err := s.openShards(j.fileNames(), true)
	if err != nil {
		return err
	}
	defer sh.close()
	if err := j.match(sh, "put the weights back that were there when the switch began"); err != nil {
		return err
	}
	return s.rollBack(j, c, sh)
}

// rollBack is undo with an open, verified journal and the weights open. It closes the journal.
func (s *store) rollBack(j *journal, c io.Closer, sh *shards) error {
	before := func(*journal) valuesFunc { return func(g *segment) ([]byte, error) { return g.before, nil } }
	_, err := j.patch(context.Background(), sh, s.workers, before, func(int64) {})
	c.Close()
	if err != nil {
		return err
	}
	if err := s.fs.Remove(s.name(checkpoint.JournalHot, j.Sequence)); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// sweep removes the records of states that later switches replaced, and the last one too where that is the base. Each step
// is durable before the next, since the last record is needed while others could come back.
func (s *store) sweep(n names) error {
	j, c, err := s.current(n)
	if j == nil {
		return err
	}
	c.Close()
	last := len(n.applied) - 1
	for _, number := range n.applied[:last] {
		if err := s.fs.Remove(s.name(checkpoint.JournalApplied, number)); err != nil {
			return err
		}
	}
	if len(j.Applied) > 0 {
		return nil
	}
	if last > 0 {
		if err := s.fs.SyncDir(s.dir); err != nil {
			return err
		}
	}
	if err := s.fs.Remove(s.name(checkpoint.JournalApplied, j.Sequence)); err != nil {
		return err
	}
	return s.unmark()
}
