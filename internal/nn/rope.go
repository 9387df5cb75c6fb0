package nn

import (
	"math"
	"sync"
	"sync/atomic"

	"shira/internal/kernel"
)

// Rope holds the angles of rotary position embedding (Su et al. 2021, section 3.4.2) for the pairs (i, i+d/2) of a head
// of size d, as Llama's Hugging Face layout pairs them.
type Rope struct {
	Freq []float64 // radians per position, one per pair

	mu     sync.Mutex // held while tables grow
	tables atomic.Pointer[ropeTables]
}

// ropeTables are blocks of 32 positions, each pairs × 32.
type ropeTables struct{ cos, sin []float32 }

// NewRope returns frequencies theta^(−2i/d).
func NewRope(headSize int, theta float64) *Rope {
	f := make([]float64, headSize/2)
	for i := range f {
		f[i] = math.Pow(theta, -2*float64(i)/float64(headSize))
	}
	return &Rope{Freq: f}
}

// angles returns the tables for the first n blocks of positions.
func (r *Rope) angles(n int) (cos, sin []float32) {
	size := len(r.Freq) * kernel.Block
	if t := r.tables.Load(); t != nil && len(t.cos) >= n*size {
		return t.cos, t.sin
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var t ropeTables
	if old := r.tables.Load(); old != nil {
		t = *old
	}
	for b := len(t.cos) / size; b < n; b++ {
		for _, f := range r.Freq {
			for i := range kernel.Block {
				// Angles are rounded to float32 before sine and cosine, as the reference implementations do.
				a := float64(float32(b*kernel.Block+i) * float32(f))
				t.cos = append(t.cos, float32(math.Cos(a)))
				t.sin = append(t.sin, float32(math.Sin(a)))
			}
		}
	}
	r.tables.Store(&t)
	return t.cos, t.sin
}

// rotate turns the head's block x (d × 32) of positions [32b, 32b+32) by their angles; inverse turns them back.
func rotate(x, cos, sin []float32, b int, inverse bool) {
	half := len(x) / 2
	c, s := cos[b*half:][:half], sin[b*half:][:half]
	if inverse {
		// R(−θ)(x1, x2) = swap of R(θ) with the halves exchanged.
		kernel.Rotate(x[half:], x[:half], c, s)
		return
	}
	kernel.Rotate(x[:half], x[half:], c, s)
}
