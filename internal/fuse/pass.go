package fuse

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/merge"
)

// target is a weight of the base that adapters change.
type target struct {
	*merge.Target
	blocks []merge.Stats // what each block of rows gave, while a pass is at work on the target
	once   *sync.Once    // makes blocks
	left   atomic.Int64  // blocks of a pass that are not done
	stats  merge.Stats   // the sum of blocks, in order
}

// done adds up what the blocks of a pass gave.
func (t *target) done(adapters int) {
	t.stats = merge.NewStats(adapters)
	for i := range t.blocks {
		t.stats.Add(&t.blocks[i])
	}
	t.blocks = nil
}

// piece is the unit of work of a pass over the base: a block of a target's rows, or a range of bytes that stay.
type piece struct {
	file   int // index of the file
	target *target
	block  int
	off, n int64 // of the file's data, where target is nil
}

// copyBytes is the most that a piece copies.
const copyBytes = 16 << 20

// pieces cuts the data of all files into pieces, in order. Without copies there are only those of targets.
func (j *job) pieces(copies bool) []piece {
	var list []piece
	for i, f := range j.model.Files() {
		start, end := int64(0), int64(0) // of bytes that stay
		flush := func() {
			for ; copies && start < end; start += copyBytes {
				list = append(list, piece{file: i, off: start, n: min(copyBytes, end-start)})
			}
		}
		for _, t := range f.Tensors() {
			target := j.byName[t.Name]
			if target == nil {
				end += t.Size()
				continue
			}
			flush()
			for b := range target.Blocks() {
				list = append(list, piece{file: i, target: target, block: b})
			}
			end += t.Size()
			start = end
		}
		flush()
	}
	return list
}

// pass works on all pieces: it reads blocks, merges, and writes to outputs, one for each file; nil: nothing is written.
// The threads take pieces in the files' order, a few more threads than cores, so that some compute while others wait for
// the disk.
func (j *job) pass(ctx context.Context, outputs []*checkpoint.Rewriter) error {
	pieces := j.pieces(outputs != nil)
	for _, t := range j.tensors {
		t.once = &sync.Once{}
		t.left.Store(int64(t.Blocks()))
		t.done(len(j.adapters))
	}
	workers := min(runtime.GOMAXPROCS(0)+extraThreads, len(pieces), j.mostWorkers())
	errs := make([]error, len(pieces))
	var next atomic.Int64
	var group sync.WaitGroup
	var panicked atomic.Pointer[any]
	for range workers {
		group.Go(func() {
			defer func() {
				if v := recover(); v != nil { // for the caller's goroutine, where it can be reported
					next.Store(int64(len(pieces)))
					panicked.Store(&v)
				}
			}()
			var h hand
			for i := int(next.Add(1)) - 1; i < len(pieces); i = int(next.Add(1)) - 1 {
				if errs[i] = fault.Canceled(ctx, j.Out, "not written"); errs[i] == nil {
					errs[i] = checkpoint.Guard("an adapter's file", func() error { return j.work(&h, &pieces[i], outputs) })
				}
				if errs[i] != nil {
					next.Store(int64(len(pieces))) // those before are being worked on: the first error is the same in every run
					return
				}
			}
		})
	}
	group.Wait()
	if v := panicked.Load(); v != nil {
		panic(*v)
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

const (
	// extraThreads is how many threads there are beyond the cores.
	extraThreads = 2

	// workersBytes is how much memory all threads may take together.
	workersBytes = 96 << 20
)

// mostWorkers is how many threads fit into the memory that they may take.
func (j *job) mostWorkers() int {
	most := int64(1)
	for _, t := range j.tensors {
		most = max(most, t.WorkerBytes())
	}
	return int(max(1, workersBytes/most))
}

// hand is the memory of one thread.
type hand struct {
	worker *merge.Worker
	buf    []byte
}

func (j *job) work(h *hand, p *piece, outputs []*checkpoint.Rewriter) error {
	if p.target == nil {
		if err := outputs[p.file].Copy(p.off, p.n); err != nil {
			return err
		}
		j.progress.add(p.n)
		return nil
	}
	t := p.target
	if h.worker == nil || h.worker.Target != t.Target {
		h.worker = t.NewWorker(h.worker)
	}
	first, n := t.Rows(p.block)
	var err error
	if h.buf, err = t.Read(h.buf, first, n); err != nil {
		return err
	}
	stats, err := h.worker.Apply(h.buf, first)
	if err != nil {
		return err
	}
	t.once.Do(func() { t.blocks = make([]merge.Stats, t.Blocks()) })
	t.blocks[p.block] = *stats
	if outputs != nil {
		row := int64(len(h.buf) / n)
		if err := outputs[p.file].WriteAt(t.Tensor, h.buf, int64(first)*row); err != nil {
			return err
		}
	}
	if t.left.Add(-1) == 0 {
		t.done(len(j.adapters))
		j.release(t)
	}
	j.progress.add(int64(len(h.buf)))
	return nil
}

// release drops a target's changes from memory, as far as the adapters' files hold them.
func (j *job) release(t *target) {
	for i := range t.Terms {
		j.adapters[t.Terms[i].Adapter].Release(t.Terms[i].Delta)
	}
}
