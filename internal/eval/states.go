package eval

import (
	"unsafe"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/model"
	"shira/internal/nn"
	"shira/internal/switcher"
)

// states are a model with different adapters, of which it has one mixture at a time.
type states struct {
	model *model.Model
	set   *switcher.Set
	gates []map[*nn.Weight][]*nn.LowRank // of each state, what depends on the input and is computed beside weights
}

// newStates loads mixtures of adapters: state i of the result is mixture i at its weights. Weights are changed where they lie
// in memory; one that the checkpoint's file holds gets memory of its own only when some adapter changes it.
func newStates(m *model.Model, o Options, mixtures [][]adapter.Ref) (*states, error) {
	s := &states{model: m}
	loaded, err := loadAdapters(m, o, mixtures)
	if err != nil {
		return nil, err
	}
	touched := map[string]bool{}
	for _, a := range loaded {
		for _, d := range a.Deltas {
			touched[d.Module()] = touched[d.Module()] || !gated(d)
		}
	}
	byName := map[string]*nn.Weight{}
	var weights []switcher.Weight
	for _, w := range m.Weights() {
		if byName[w.Name] = w; touched[w.Name] {
			m.Own(w)
			weights = append(weights, memory(m, w))
		}
	}
	if s.set, err = switcher.NewSet(weights); err != nil {
		return nil, err
	}
	for _, refs := range mixtures {
		beside := map[*nn.Weight][]*nn.LowRank{}
		var fixed []*adapter.Adapter
		for _, ref := range refs {
			a := *loaded[ref.Path]
			a.Deltas = nil
			for _, d := range loaded[ref.Path].Deltas {
				w := byName[d.Module()]
				switch {
				case w == nil:
					return nil, fault.New(fault.Incompatible, ref.Path, "%s is not a weight of the model's layers", fault.Quote(d.Module()))
				case gated(d):
					beside[w] = append(beside[w], Beside(d.(*adapter.FouRA), float32(ref.Weight)))
				default:
					a.Deltas = append(a.Deltas, d)
				}
			}
			fixed = append(fixed, &a)
		}
		if _, err := s.set.Add(fixed, refs); err != nil {
			return nil, err
		}
		s.gates = append(s.gates, beside)
	}
	m.Release()
	return s, nil
}

// gated says whether something is computed beside the weights in a state.
func (s *states) gated(state int) bool { return state >= 0 && len(s.gates[state]) > 0 }

// gated says whether a delta depends on the input.
func gated(d adapter.Delta) bool {
	f, ok := d.(*adapter.FouRA)
	return ok && f.InputDependent()
}

// loadAdapters reads the adapters of all mixtures, each once, and checks them against the base.
func loadAdapters(m *model.Model, o Options, mixtures [][]adapter.Ref) (map[string]*adapter.Adapter, error) {
	byPath := map[string]*adapter.Adapter{}
	var list []*adapter.Adapter
	for _, refs := range mixtures {
		for _, ref := range refs {
			if byPath[ref.Path] != nil {
				continue
			}
			a, err := adapter.Load(ref.Path)
			if err != nil {
				return nil, err
			}
			byPath[ref.Path] = a
			list = append(list, a)
			if notice := a.Notice(); notice != "" && o.Notice != nil {
				o.Notice(notice)
			}
		}
	}
	return byPath, adapter.CheckAllBeside(m.Checkpoint, list, o.ForceBase)
}

// memory is where a weight lies.
func memory(m *model.Model, w *nn.Weight) switcher.Weight {
	t, _ := m.Checkpoint.Lookup(w.Name + ".weight") // it was loaded from there
	if w.Half != nil {
		return switcher.Weight{Base: t, DType: checkpoint.BF16, Data: bytesOf(w.Half)}
	}
	return switcher.Weight{Base: t, DType: checkpoint.F32, Data: bytesOf(w.Data)}
}

// bytesOf returns the memory of numbers.
func bytesOf[T float32 | uint16](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
}

// to brings the model to a state, switcher.Base for the base.
func (s *states) to(state int) error {
	for _, w := range s.model.Weights() {
		w.LowRank = nil
	}
	if err := s.set.Switch(state); err != nil || state == switcher.Base {
		return err
	}
	for w, changes := range s.gates[state] {
		for _, l := range changes {
			w.Add(l)
		}
	}
	return nil
}
