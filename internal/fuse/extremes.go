package fuse

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"shira/internal/checkpoint"
)

// Extremes counts numbers of a tensor of the base that a trained model does not have. They are none of the adapters' doing, and
// are in the output too, where nobody would look for them.
type Extremes struct {
	Name      string `json:"name"`
	NotFinite int64  `json:"not_finite"`
	Huge      int64  `json:"huge"` // finite, but of 2^65 and more, in F64 of 2^513
}

// finder looks for them wherever the base is read as a whole.
type finder struct {
	sync.Mutex
	found map[string]*Extremes // by name
}

// look counts those of a part of a tensor. It may be called from several goroutines, and changes nothing.
func (f *finder) look(t checkpoint.Tensor, _ int64, part []byte) error {
	notFinite, huge := t.DType.Extremes(part)
	if notFinite == 0 && huge == 0 {
		return nil
	}
	f.Lock()
	defer f.Unlock()
	if f.found[t.Name] == nil {
		f.found[t.Name] = &Extremes{Name: t.Name}
	}
	e := f.found[t.Name]
	e.NotFinite += notFinite
	e.Huge += huge
	return nil
}

// list returns what was found, by name.
func (f *finder) list() []Extremes {
	list := []Extremes{}
	for _, e := range slices.SortedFunc(maps.Values(f.found), func(a, b *Extremes) int { return strings.Compare(a.Name, b.Name) }) {
		list = append(list, *e)
	}
	return list
}
