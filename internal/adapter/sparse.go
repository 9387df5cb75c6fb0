package adapter

import (
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"sort"

	"shira/internal/adapter/mask"
	"shira/internal/fault"
)

// Sparse is the delta of SHiRA: K trained entries of a weight, in ascending row-major order, values being W_new − W.
type Sparse struct {
	Name           string // of the module
	Out, In        int    // 0, 0 while unknown
	RowIdx, ColIdx []int32
	Values         []float32

	k    int           // of lazy
	lazy *lazy[Sparse] // has indices and values instead, in an opened adapter
}

// whole returns s with its indices and values in memory.
func (s *Sparse) whole() *Sparse {
	if s.lazy == nil {
		return s
	}
	return s.lazy.get()
}

// NewSparse returns an untrained delta, all values zero, over the entries at the ascending flat indices row·in + column,
// as package mask selects them.
func NewSparse(module string, out, in int, flat []int64) *Sparse {
	s := &Sparse{
		Name: module, Out: out, In: in,
		RowIdx: make([]int32, len(flat)),
		ColIdx: make([]int32, len(flat)),
		Values: make([]float32, len(flat)),
	}
	for k, i := range flat {
		s.RowIdx[k], s.ColIdx[k] = int32(i/int64(in)), int32(i%int64(in))
	}
	return s
}

// Module returns the full name of the module.
func (s *Sparse) Module() string { return s.Name }

// Shape returns the shape of the module's weight, (0, 0) while it is unknown.
func (s *Sparse) Shape() (out, in int) { return s.Out, s.In }

// Parameters returns K.
func (s *Sparse) Parameters() int {
	if s.lazy != nil {
		return s.k
	}
	return len(s.Values)
}

// Norm returns that of the values.
func (s *Sparse) Norm() float64 {
	sum := 0.0
	for _, v := range s.whole().Values {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

// Flat returns the trained entries as ascending flat indices row·in + column. The shape must be known.
func (s *Sparse) Flat() []int64 {
	s = s.whole()
	flat := make([]int64, len(s.RowIdx))
	for k, r := range s.RowIdx {
		flat[k] = int64(r)*int64(s.In) + int64(s.ColIdx[k])
	}
	return flat
}

// Rows writes the trained entries of the rows, zeros between them.
func (s *Sparse) Rows(dst, _ []float32, first, n int) {
	clear(dst[:n*s.In])
	for r := range n {
		cols, values := s.Row(first + r)
		for k, c := range cols {
			dst[r*s.In+int(c)] = values[k]
		}
	}
}

// Row returns the trained entries of one row.
func (s *Sparse) Row(row int) (cols []int32, values []float32) {
	s = s.whole()
	lo := sort.Search(len(s.RowIdx), func(k int) bool { return int(s.RowIdx[k]) >= row })
	hi := lo
	for hi < len(s.RowIdx) && int(s.RowIdx[hi]) == row {
		hi++
	}
	return s.ColIdx[lo:hi], s.Values[lo:hi]
}

func (s *Sparse) values() [][]float32 { return [][]float32{s.whole().Values} }

func (s *Sparse) belongs(c *Config) error { return c.wants("shira") }

// digest writes the module's name and K, and row, column and value bits of each entry.
func (s *Sparse) digest(h hash.Hash) {
	s = s.whole()
	fmt.Fprintf(h, "\x00%s\x00%d\x00", s.Name, len(s.Values))
	b := make([]byte, 0, 12*1024)
	for k, v := range s.Values {
		b = binary.LittleEndian.AppendUint32(b, uint32(s.RowIdx[k]))
		b = binary.LittleEndian.AppendUint32(b, uint32(s.ColIdx[k]))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		if len(b) == cap(b) {
			h.Write(b)
			b = b[:0]
		}
	}
	h.Write(b)
}

// fit compares shapes where the file gave one. Where it did not, it holds the adapter to the weight's bounds and to PEFT's
// law K = r·(out+in), and takes the shape.
func (s *Sparse) fit(out, in int, c *Config) string {
	if s.Out != 0 {
		if s.Out != out || s.In != in {
			return fmt.Sprintf("was trained on a weight of shape (%d, %d), but the base's is (%d, %d)", s.Out, s.In, out, in)
		}
		return ""
	}
	if msg := s.outside(out, in); msg != "" {
		return msg
	}
	if k, want := s.Parameters(), mask.BudgetR(c.R, out, in); c.R > 0 && k != want {
		return fmt.Sprintf("has %d values, but r = %d gives %d on the base's shape (%d, %d)", k, c.R, want, out, in)
	}
	s.Out, s.In = out, in
	s.lazy.drop() // it does not have the shape
	return ""
}

// validate checks that values are finite, and that entries are in row-major order, once each, and inside the shape where it
// is known.
func (s *Sparse) validate() error {
	if s.Out != 0 {
		if msg := s.outside(s.Out, s.In); msg != "" {
			return fault.New(fault.Incompatible, "", "%s", msg)
		}
	}
	s = s.whole()
	for k, v := range s.Values {
		if v-v != 0 {
			return fault.New(fault.Numerical, "", "value %d is %v", k, v)
		}
		if k == 0 {
			continue
		}
		switch row, col, above, left := s.RowIdx[k], s.ColIdx[k], s.RowIdx[k-1], s.ColIdx[k-1]; {
		case row == above && col == left:
			return fault.New(fault.Incompatible, "", "entry [%d, %d] is there twice", row, col)
		case row < above || row == above && col < left:
			return fault.New(fault.Incompatible, "", "entries are not in row-major order: [%d, %d] follows [%d, %d]",
				row, col, above, left)
		}
	}
	return nil
}

// outside names the first entry beyond a weight of shape (out, in).
func (s *Sparse) outside(out, in int) string {
	s = s.whole()
	for k := range s.RowIdx {
		if int(s.RowIdx[k]) >= out || int(s.ColIdx[k]) >= in {
			return fmt.Sprintf("entry %d at [%d, %d] lies outside the weight's shape (%d, %d)", k, s.RowIdx[k], s.ColIdx[k], out, in)
		}
	}
	return ""
}
