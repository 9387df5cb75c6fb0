package adapter

import (
	"encoding/binary"
	"fmt"
	"hash"
	"math"

	"shira/internal/fault"
	"shira/internal/kernel"
)

// LowRank is the delta of LoRA, ΔW = s·B·A, and with a magnitude m that of DoRA: with V = W + s·B·A it is
// m⊙V/‖V‖ − W, norms being those of rows (DoRA, equation 5).
type LowRank struct {
	Name       string // of the module
	Out, In, R int
	A          []float32 // (R, In)
	B          []float32 // (Out, R)
	Alpha      float64   // of the module
	Scale      float32   // s: alpha/r, or alpha/√r for rsLoRA
	Magnitude  []float32 // (Out); nil but for DoRA

	lazy *lazy[factors] // has A and B instead, in an opened adapter
}

// factors are A and B.
type factors struct{ a, b []float32 }

// Factors returns A, (R, In), and B, (Out, R), which must not be changed.
func (l *LowRank) Factors() (a, b []float32) {
	if l.lazy == nil {
		return l.A, l.B
	}
	f := l.lazy.get()
	return f.a, f.b
}

// Module returns the full name of the module.
func (l *LowRank) Module() string { return l.Name }

// Shape returns the shape of the module's weight.
func (l *LowRank) Shape() (out, in int) { return l.Out, l.In }

// Parameters returns the number of trained values.
func (l *LowRank) Parameters() int { return l.R*(l.In+l.Out) + len(l.Magnitude) }

// Norm returns |s|·‖B·A‖ = |s|·√tr(BᵀB·AAᵀ), without forming the product.
func (l *LowRank) Norm() float64 {
	fa, fb := l.Factors()
	a, b := gram(transpose(fa, l.In), l.R), gram(fb, l.R)
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return math.Abs(float64(l.Scale)) * math.Sqrt(max(sum, 0))
}

// gram returns MᵀM of a matrix with r columns, in float32.
func gram(m []float32, r int) []float32 {
	out, rows := make([]float32, r*r), len(m)/r
	panel, product := make([]float32, rows*kernel.Block), make([]float32, r*kernel.Block)
	for c := 0; c < r; c += kernel.Block {
		n := min(kernel.Block, r-c)
		for i := range rows {
			copy(panel[i*kernel.Block:][:n], m[i*r+c:])
		}
		kernel.Gemm(r, kernel.Block, rows, m, r, true, panel, kernel.Block, product, kernel.Block, false)
		for i := range r {
			copy(out[i*r+c:][:n], product[i*kernel.Block:])
		}
	}
	return out
}

// Rows computes rows of ΔW. The products B·A are those of [kernel.Gemm]: chains of fused multiply-adds over the rank in
// order, with the same bits on all processors that have such instructions and are not told to do without. All else is the
// same everywhere.
func (l *LowRank) Rows(dst, base []float32, first, n int) {
	l.product(dst[:n*l.In], first, n)
	for i, v := range dst[:n*l.In] {
		dst[i] = l.Scale * v
	}
	if l.Magnitude != nil {
		for r := range n {
			renormalize(dst[r*l.In:(r+1)*l.In], base[r*l.In:(r+1)*l.In], l.Magnitude[first+r])
		}
	}
}

// product writes rows [first, first+n) of B·A to dst. Panels of A that are narrower than a block are computed beside it.
func (l *LowRank) product(dst []float32, first, n int) {
	fa, fb := l.Factors()
	b := fb[first*l.R : (first+n)*l.R]
	whole := l.In - l.In%kernel.Block
	for c := 0; c < whole; c += kernel.Block {
		kernel.Gemm(n, kernel.Block, l.R, b, l.R, false, fa[c:], l.In, dst[c:], l.In, false)
	}
	rest := l.In - whole
	if rest == 0 {
		return
	}
	a, out := make([]float32, l.R*kernel.Block), make([]float32, n*kernel.Block)
	for p := range l.R {
		copy(a[p*kernel.Block:], fa[p*l.In+whole:(p+1)*l.In])
	}
	kernel.Gemm(n, kernel.Block, l.R, b, l.R, false, a, kernel.Block, out, kernel.Block, false)
	for r := range n {
		copy(dst[r*l.In+whole:(r+1)*l.In], out[r*kernel.Block:])
	}
}

// renormalize turns a row d of a change of the direction into that of the weight w: m·(w+d)/‖w+d‖ − w, in float64 and
// rounded once. The norm is rounded to float32, as magnitudes are, so that an untrained m changes nothing at all. Where
// w+d is zero it has no direction and the new weight is zero.
func renormalize(d, w []float32, m float32) {
	g := 0.0
	if norm := RowNorm(w, d); norm != 0 {
		g = float64(m) / float64(norm)
	}
	w = w[:len(d)]
	for i, v := range d {
		// Conversions keep products and sums apart, as in [AddTo].
		d[i] = float32(float64((g-1)*float64(w[i])) + float64(g*float64(v)))
	}
}

// RowNorm returns ‖w+d‖ of two rows, the sum in float32 as stored weights are. A nil d counts as zero; the result is then the
// magnitude that DoRA starts with. Four sums of squares are in float64, where
// squares of float32 are exact, so that it is the same everywhere.
func RowNorm(w, d []float32) float32 {
	var s0, s1, s2, s3 float64
	i := 0
	if d == nil {
		d = make([]float32, len(w))
	}
	for ; i+4 <= len(w); i += 4 {
		a, b := (*[4]float32)(w[i:]), (*[4]float32)(d[i:])
		v0, v1, v2, v3 := float64(a[0]+b[0]), float64(a[1]+b[1]), float64(a[2]+b[2]), float64(a[3]+b[3])
		s0 += v0 * v0
		s1 += v1 * v1
		s2 += v2 * v2
		s3 += v3 * v3
	}
	for ; i < len(w); i++ {
		v := float64(w[i] + d[i])
		s0 += v * v
	}
	return float32(math.Sqrt((s0 + s1) + (s2 + s3)))
}

func (l *LowRank) values() [][]float32 {
	a, b := l.Factors()
	return [][]float32{a, b, l.Magnitude}
}

// digest writes everything that determines ΔW.
func (l *LowRank) digest(h hash.Hash) {
	fmt.Fprintf(h, "\x00%s\x00%d\x00%d\x00%x\x00", l.Name, l.R, len(l.Magnitude), math.Float32bits(l.Scale))
	for _, values := range l.values() {
		digestFloats(h, values)
	}
}

// digestFloats writes the bits of values.
func digestFloats(h hash.Hash, values []float32) {
	b := make([]byte, 0, 16*1024)
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		if len(b) == cap(b) {
			h.Write(b)
			b = b[:0]
		}
	}
	h.Write(b)
}

// fit compares shapes.
func (l *LowRank) fit(out, in int, _ *Config) string { return fitShape(l, out, in) }

// fitShape says how a delta of known shape disagrees with a weight of shape (out, in), "" when it fits.
func fitShape(d Delta, out, in int) string {
	if o, i := d.Shape(); o != out || i != in {
		return fmt.Sprintf("was trained on a weight of shape (%d, %d), but the base's is (%d, %d)", o, i, out, in)
	}
	return ""
}

// validate checks that the parts are of one shape and finite.
func (l *LowRank) validate() error {
	a, b := l.Factors()
	switch {
	case l.R < 1 || l.Out < 1 || l.In < 1 || len(a) != l.R*l.In || len(b) != l.Out*l.R:
		return fault.New(fault.Incompatible, "", "A has %d values and B %d: want %d×%d and %d×%d", len(a), len(b), l.R, l.In, l.Out, l.R)
	case l.Magnitude != nil && len(l.Magnitude) != l.Out:
		return fault.New(fault.Incompatible, "", "the magnitude has %d values: want %d", len(l.Magnitude), l.Out)
	case l.Scale-l.Scale != 0:
		return fault.New(fault.Numerical, "", "the scale is %v", l.Scale)
	}
	for _, part := range []struct {
		name   string
		values []float32
	}{{"A", a}, {"B", b}, {"the magnitude", l.Magnitude}} {
		if err := finite(part.name, part.values); err != nil {
			return err
		}
	}
	return nil
}

// finite finds a value of the named part that is not finite.
func finite(name string, values []float32) error {
	for k, v := range values {
		if v-v != 0 {
			return fault.New(fault.Numerical, "", "value %d of %s is %v", k, name, v)
		}
	}
	return nil
}
