package switcher

import (
	"slices"
	"sync"
	"unsafe"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/kernel"
)

// Weight is a weight of shape (out, in) in memory, row-major, that a [Set] changes.
type Weight struct {
	Base  checkpoint.Tensor // the weight in the base's file, which must stay open as long as the set is used
	DType checkpoint.DType  // of Data: Base's own or, where the model is computed in another type, F32 or BF16
	Data  []byte            // the base's numbers in that type
}

// Set holds states of a model's weights in memory and brings these from one state to another, as between two prompts:
//
//	set, err := NewSet(weights)            // the weights are the base's
//	french, err := set.Add(adapters, refs) // any number of states, each of one adapter or several
//	err = set.Switch(french)
//	err = set.Switch(Base)                 // the base again, to the bit
//
// What a state's sparse adapters make of their entries is computed once; a switch then writes these entries, and those of the
// state before back as they were. A weight that an adapter changes everywhere is computed anew from the base's file, which is
// also where its numbers come back from. So nothing is ever subtracted, no error adds up, and beside the weights a state takes
// two numbers and an index for each of its sparse entries, and the memory of its adapters that are not sparse.
//
// Each state has the bits of a fusion with the base: the sum of all changes is rounded once, to the type of Data. A Set belongs
// to one goroutine; the weights are not to be read while they change.
type Set struct {
	weights []*resident
	byName  map[string]*resident
	states  []*state
	now     int  // the state that the weights are in
	torn    bool // a switch has failed: they may have something of that state, and nothing of any other
}

// Base is the state without adapters.
const Base = -1

// resident is a weight of a set.
type resident struct {
	Weight
	sums checkpoint.DType // in which changes are added: Base's where Data has it too, F32 where it is rounded after that
}

// state is what some adapters make of weights.
type state struct {
	sums  *sums
	parts []part
}

// part is a state's change of one weight.
type part struct {
	*resident
	all   bool     // of all entries; else of these:
	list  []uint32 // ascending
	base  []byte   // what they are in the base, in Data's type
	after []byte   // and in the state
}

// NewSet returns a set over weights that are those of the base. One whose memory does not fit its tensor is an Internal error.
func NewSet(weights []Weight) (*Set, error) {
	s := &Set{byName: map[string]*resident{}, now: Base}
	for _, w := range weights {
		t := w.Base
		if len(t.Shape) != 2 || t.Len() > 1<<32 || len(w.Data) != t.Len()*w.DType.Size() {
			return nil, fault.New(fault.Internal, "", "%d bytes of %s for %s", len(w.Data), w.DType, t)
		}
		r := &resident{w, t.DType}
		switch {
		case w.DType == t.DType:
		case w.DType == checkpoint.F32, w.DType == checkpoint.BF16:
			r.sums = checkpoint.F32
		default:
			return nil, fault.New(fault.Internal, "", "%s for %s", w.DType, t)
		}
		s.weights = append(s.weights, r)
		s.byName[t.Name] = r
	}
	return s, nil
}

// Add makes a state of adapters at their strengths, refs[i].Weight of adapters[i], and returns its number for [Set.Switch].
// The adapters must have been checked against the base, and the weights be the base's, or it is an Internal error. An adapter
// of a weight that the set lacks is an Incompatible error, and a sum that is not finite a Numerical one; after any error the
// set is as it was.
func (s *Set) Add(adapters []*adapter.Adapter, refs []adapter.Ref) (int, error) {
	if s.now != Base || s.torn {
		return 0, fault.New(fault.Internal, "", "a state is added while another one is in the weights")
	}
	for _, a := range adapters {
		for _, d := range a.Deltas {
			if s.byName[adapter.WeightName(d)] == nil {
				return 0, fault.New(fault.Incompatible, a.Path, "%s is not a weight of the model's layers", fault.Quote(d.Module()))
			}
		}
	}
	order, _ := canonicalOrder(adapters, refs)
	st := &state{sums: newSums(order, adapters, refs, func(name string) checkpoint.Tensor {
		t := s.byName[name].Base
		t.DType = s.byName[name].sums
		return t
	})}
	for _, w := range s.weights {
		target := st.sums.targets[w.Base.Name]
		if target == nil {
			continue
		}
		p := part{resident: w, all: !target.Sparse()}
		var err error
		if p.all {
			err = st.compute(&p, false) // to find now what is not finite
		} else {
			err = st.find(&p)
			delete(st.sums.targets, w.Base.Name) // all that it says is known
		}
		if err != nil {
			return 0, err
		}
		st.parts = append(st.parts, p)
	}
	s.states = append(s.states, st)
	return len(s.states) - 1, nil
}

// Switch brings the weights to a state that Add has returned the number of, or to [Base]. An error can only be one of reading
// the base's file. The weights are then of no state, and are not to be used until a later switch succeeds.
func (s *Set) Switch(number int) error {
	if number < Base || number >= len(s.states) {
		return fault.New(fault.Internal, "", "a switch to state %d of %d", number, len(s.states))
	}
	if number == s.now && !s.torn {
		return nil
	}
	s.torn = true
	if s.now != Base {
		for _, p := range s.states[s.now].parts {
			if !p.all {
				put(p.Data, p.list, p.base, p.DType.Size())
			} else if err := p.restore(); err != nil {
				return err
			}
		}
	}
	s.now = number
	if number != Base {
		st := s.states[number]
		for i := range st.parts {
			p := &st.parts[i]
			if !p.all {
				put(p.Data, p.list, p.after, p.DType.Size())
			} else if err := st.compute(p, true); err != nil {
				return err
			}
		}
	}
	s.torn = false
	return nil
}

// eachBlock calls f with the rows of all blocks of w, on all threads, and returns the first error by place.
func (w *resident) eachBlock(f func(b *rowBuffer, block, first, n int) error) error {
	rows := w.blockRows()
	errs := make([]error, w.blocks())
	kernel.Parallel(len(errs), func(i int) {
		b := rowBuffers.Get().(*rowBuffer)
		defer rowBuffers.Put(b)
		errs[i] = f(b, i, i*rows, min(rows, w.Base.Shape[0]-i*rows))
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *resident) blockRows() int { return max(1, blockElements/max(1, w.Base.Shape[1])) }

func (w *resident) blocks() int { return (w.Base.Shape[0] + w.blockRows() - 1) / w.blockRows() }

// rowBuffer is memory for a block.
type rowBuffer struct{ stored, wide []byte }

var rowBuffers = sync.Pool{New: func() any { return new(rowBuffer) }}

// rows returns rows [first, first+n) of the base in the type of sums.
func (w *resident) rows(b *rowBuffer, first, n int) ([]byte, error) {
	elements, size := n*w.Base.Shape[1], w.Base.DType.Size()
	b.stored = slices.Grow(b.stored[:0], elements*size)[:elements*size]
	if err := w.Base.ReadAt(b.stored, int64(first)*int64(w.Base.Shape[1]*size)); err != nil || w.sums == w.Base.DType {
		return b.stored, err
	}
	b.wide = slices.Grow(b.wide[:0], 4*elements)[:4*elements]
	return b.wide, checkpoint.DecodeFloat32(checkpoint.Floats(b.wide), w.Base.DType, b.stored)
}

// round brings numbers from the type of sums to that of Data.
func (w *resident) round(dst, numbers []byte) {
	if w.DType == w.sums {
		copy(dst, numbers)
	} else { // to BF16, as models are loaded
		kernel.RoundHalves(checkpoint.Halves(dst), checkpoint.Floats(numbers))
	}
}

// memory returns where the numbers of rows [first, first+n) lie in Data.
func (w *resident) memory(first, n int) []byte {
	row := w.Base.Shape[1] * w.DType.Size()
	return w.Data[first*row : (first+n)*row]
}

// restore brings all of the base back.
func (w *resident) restore() error {
	return w.eachBlock(func(b *rowBuffer, _, first, n int) error {
		numbers, err := w.rows(b, first, n)
		if err == nil {
			w.round(w.memory(first, n), numbers)
		}
		return err
	})
}

// compute makes all of a weight in the state, and with write puts it there.
func (st *state) compute(p *part, write bool) error {
	target := st.sums.targets[p.Base.Name]
	return p.eachBlock(func(b *rowBuffer, _, first, n int) error {
		numbers, err := p.rows(b, first, n)
		if err != nil {
			return err
		}
		w := st.sums.worker(target)
		defer st.sums.workers.Put(w)
		if _, err = w.Apply(numbers, first); err == nil && write {
			p.round(p.memory(first, n), numbers)
		}
		return err
	})
}

// find finds the entries of a sparse part.
func (st *state) find(p *part) error {
	target := st.sums.targets[p.Base.Name]
	found := make([]part, p.blocks())
	err := p.eachBlock(func(b *rowBuffer, block, first, n int) error {
		w := st.sums.worker(target)
		defer st.sums.workers.Put(w)
		f, at := &found[block], w.Select(first, n)
		f.base = take(p.memory(first, n), at, p.DType.Size())
		numbers := slices.Clone(f.base)
		if p.DType != p.sums {
			rows, err := p.rows(b, first, n)
			if err != nil {
				return err
			}
			numbers = take(rows, at, p.sums.Size())
		}
		if err := w.AddSelected(numbers); err != nil {
			return err
		}
		f.after = make([]byte, len(f.base))
		p.round(f.after, numbers)
		f.list = make([]uint32, len(at))
		for k, i := range at {
			f.list[k] = uint32(first*p.Base.Shape[1]) + uint32(i)
		}
		return nil
	})
	for _, f := range found {
		p.list, p.base, p.after = append(p.list, f.list...), append(p.base, f.base...), append(p.after, f.after...)
	}
	return err
}

// as returns bytes as numbers of the machine's own. They need not be aligned on the processors that this runs on.
func as[T uint16 | uint32 | uint64 | float32](b []byte) []T {
	var x T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(x)))
}

// take returns the elements of data at list.
func take(data []byte, list []int32, size int) []byte {
	dst := make([]byte, len(list)*size)
	for k, i := range list {
		copy(dst[k*size:(k+1)*size], data[int(i)*size:])
	}
	return dst
}

// putPart is how many entries a thread writes at a time.
const putPart = 1 << 15

// put writes values to the elements of data at list, on all threads.
func put(data []byte, list []uint32, values []byte, size int) {
	kernel.Parallel((len(list)+putPart-1)/putPart, func(i int) {
		low, high := i*putPart, min((i+1)*putPart, len(list))
		switch size {
		case 2:
			overwrite(as[uint16](data), list[low:high], as[uint16](values)[low:high])
		case 4:
			overwrite(as[uint32](data), list[low:high], as[uint32](values)[low:high])
		default:
			overwrite(as[uint64](data), list[low:high], as[uint64](values)[low:high])
		}
	})
}

// overwrite is the whole of a switch: w[list[k]] = values[k].
func overwrite[T any](w []T, list []uint32, values []T) {
	values = values[:len(list)]
	for k, i := range list {
		w[i] = values[k]
	}
}
