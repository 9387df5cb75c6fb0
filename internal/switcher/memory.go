package switcher

import (
	"slices"
	"unsafe"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/kernel"
)

// Weight is a weight in memory, in the stored type and row-major, that a [Set] changes.
type Weight struct {
	Name  string // of the tensor
	DType checkpoint.DType
	Rows  int
	Cols  int
	Data  []byte
}

// Set holds states of weights in memory and changes from one to another, as between two prompts. What a state's sparse
// adapters make of their entries is computed once; a switch then writes these entries, and those of the state before back.
// Weights that an adapter changes everywhere are computed anew, from a copy of the base's that is kept for that.
//
// Each state has the bits of a fusion with the base. A Set belongs to one goroutine; the weights are not to be read while
// they change.
type Set struct {
	weights []*resident
	byName  map[string]*resident
	states  []*state
	now     *state // nil for the base
}

// resident is a weight of a set.
type resident struct {
	Weight
	tensor tensor
	base   []byte // of one that some state changes everywhere; else nil
}

// state is what some adapters make of weights.
type state struct {
	parts []part
	sums  *sums
}

// part is a state's change of one weight.
type part struct {
	*resident
	all   bool     // all of it, else:
	list  []uint32 // its entries
	base  []byte   // what they are in the base
	after []byte   // and in the state
}

// NewSet returns a set over weights that are those of the base.
func NewSet(weights []Weight) (*Set, error) {
	s := &Set{byName: map[string]*resident{}}
	for _, w := range weights {
		if len(w.Data) != w.Rows*w.Cols*w.DType.Size() || w.Cols > maxCols || int64(w.Rows)*int64(w.Cols) > 1<<32 {
			return nil, fault.New(fault.Internal, "", "weight %s: %d bytes for %d×%d of %s", fault.Quote(w.Name), len(w.Data), w.Rows, w.Cols, w.DType)
		}
		r := &resident{Weight: w, tensor: tensor{Name: w.Name, DType: w.DType.String(), Rows: w.Rows, Cols: w.Cols, size: w.DType.Size()}}
		s.weights = append(s.weights, r)
		s.byName[w.Name] = r
	}
	return s, nil
}

// Add makes a state of adapters at their strengths, which must fit the base and touch no weight that the set lacks, and
// returns its number for [Set.Switch]. The weights must be the base's.
func (s *Set) Add(adapters []*adapter.Adapter, refs []adapter.Ref) (int, error) {
	if s.now != nil {
		return 0, fault.New(fault.Internal, "", "a state is added while another one is in the weights")
	}
	st := &state{sums: newSums()}
	order, _ := canonicalOrder(adapters, refs)
	for _, i := range order {
		for _, d := range adapters[i].Deltas {
			w := s.byName[adapter.WeightName(d)]
			if w == nil {
				return 0, fault.New(fault.Incompatible, adapters[i].Path, "changes %s, which is not in memory", fault.Quote(d.Module()))
			}
			st.sums.add(d, refs[i].Weight, w.DType)
		}
	}
	for _, w := range s.weights {
		if len(st.sums.terms[w.Name]) == 0 {
			continue
		}
		p := part{resident: w}
		whole := w.Rows * w.Cols
		if p.list, p.all = st.sums.entries(&w.tensor, 0, whole, nil); p.all {
			if w.base == nil {
				w.base = slices.Clone(w.Data)
			}
			if err := st.compute(p); err != nil { // to find now what is not finite
				return 0, err
			}
			copy(w.Data, w.base)
		} else {
			p.base = take(w.Data, p.list, w.tensor.size)
			var err error
			if p.after, err = st.sums.values(&w.tensor, 0, p.list, false, p.base, nil); err != nil {
				return 0, err
			}
		}
		st.parts = append(st.parts, p)
	}
	s.states = append(s.states, st)
	return len(s.states) - 1, nil
}

// Switch brings the weights to a state that Add has returned the number of, −1 for the base.
func (s *Set) Switch(number int) error {
	var next *state
	if number >= 0 {
		next = s.states[number]
	}
	if next == s.now {
		return nil
	}
	if s.now != nil {
		for _, p := range s.now.parts {
			if p.all {
				copy(p.Data, p.resident.base)
			} else {
				put(p.Data, p.list, p.base, p.tensor.size)
			}
		}
	}
	s.now = next
	if next == nil {
		return nil
	}
	for _, p := range next.parts {
		if !p.all {
			put(p.Data, p.list, p.after, p.tensor.size)
		} else if err := next.compute(p); err != nil {
			return err
		}
	}
	return nil
}

// compute makes a weight that the state changes everywhere, on all threads.
func (st *state) compute(p part) error {
	step := int(p.tensor.step(blockElements))
	whole := p.Rows * p.Cols
	blocks := (whole + step - 1) / step
	errs := make([]error, blocks)
	size := p.tensor.size
	kernel.Parallel(blocks, func(i int) {
		first := i * step
		n := min(step, whole-first)
		var after []byte
		after, errs[i] = st.sums.values(&p.tensor, int64(first), nil, true, p.resident.base[first*size:(first+n)*size], nil)
		copy(p.Data[first*size:], after)
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// as returns bytes as numbers of the machine's own. They need not be aligned on the processors that this runs on.
func as[T uint16 | uint32 | uint64 | float32](b []byte) []T {
	var x T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(x)))
}

// take returns the elements of data at list.
func take(data []byte, list []uint32, size int) []byte {
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
