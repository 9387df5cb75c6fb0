package merge

import (
	"math"
	"math/bits"
	"math/rand/v2"

	"shira/internal/adapter"
	"shira/internal/kernel"
)

// Interference is what the product AᵀB, (in, in), of the changes A and B of one weight says of how much they disturb each
// other (SHiRA paper, section 3.3): orthogonal adapters have none.
type Interference struct {
	// AWOM is the adapter weight orthogonality magnitude ‖AᵀB‖, as spectral norm, at strength 1.
	AWOM float64

	// Products is the number of entries of AᵀB that are not 0 by the places of A's and B's entries, whatever their values,
	// and Size in². The ratio AWOR is 1 − Products/Size.
	Products, Size float64
}

const (
	// sampledColumns bounds how many columns of A, evenly spread, the count of products looks at; it is exact where a weight
	// has no more, and scaled up elsewhere.
	sampledColumns = 512

	// partialSums is how many sums over rows there are at most, each a vector as long as a row. It bounds the memory, and the
	// threads at work; whatever their number, the sums are the same.
	partialSums = 16

	// Steps of the power method, and the relative change of the norm at which it ends.
	maxPowers = 30
	tolerance = 1e-4
)

// Interference compares the terms at two indices. AᵀB is never formed: the norm comes from products with vectors, and memory
// is in proportion to the weight's sides.
func (t *Target) Interference(a, b int) (Interference, error) {
	x, y := t.operator(a), t.operator(b)
	norm, err := spectralNorm(x, y, t.Shape[0], t.Shape[1])
	in := float64(t.Shape[1])
	return Interference{AWOM: norm, Products: t.products(a, b), Size: in * in}, err
}

// Term returns the index of an adapter's term, −1 where it has none.
func (t *Target) Term(adapter int) int {
	for i := range t.Terms {
		if t.Terms[i].Adapter == adapter {
			return i
		}
	}
	return -1
}

// operator multiplies a change with vectors.
type operator struct {
	t      *Target
	term   *Term
	blocks int
}

func (t *Target) operator(i int) operator { return operator{t, &t.Terms[i], t.Blocks()} }

// block returns the rows of a block, as entries or all.
func (o operator) block(i int, visit func(row int, v view)) error {
	first, n := o.t.Rows(i)
	if e, ok := o.term.entries(); ok {
		for row := first; row < first+n; row++ {
			cols, values := e.Row(row)
			visit(row, view{false, cols, values})
		}
		return nil
	}
	in := o.t.Shape[1]
	base, err := o.t.base(first, n)
	if err != nil {
		return err
	}
	rows := make([]float32, n*in)
	o.term.Delta.Rows(rows, base, first, n)
	for r := range n {
		visit(first+r, view{true, nil, rows[r*in : (r+1)*in]})
	}
	return nil
}

// times sets y, of the rows, to the change times x, of the columns.
func (o operator) times(x, y []float64) error {
	if l := o.plain(); l != nil {
		a, b := l.Factors()
		z := make([]float64, l.R)
		for p := range z {
			z[p] = float64(l.Scale) * dot(a[p*l.In:(p+1)*l.In], x)
		}
		for row := range y {
			y[row] = dot(b[row*l.R:(row+1)*l.R], z)
		}
		return nil
	}
	return parallel(o.blocks, func(i int) error {
		return o.block(i, func(row int, v view) {
			if v.all {
				y[row] = dot(v.values, x)
				return
			}
			sum := 0.0
			for k, c := range v.cols {
				sum += float64(float64(v.values[k]) * x[c])
			}
			y[row] = sum
		})
	})
}

// transposed sets x, of the columns, to the transposed change times y, of the rows.
func (o operator) transposed(y, x []float64) error {
	clear(x)
	if l := o.plain(); l != nil {
		a, b := l.Factors()
		z := make([]float64, l.R)
		for row, v := range y {
			axpy(z, v, b[row*l.R:(row+1)*l.R])
		}
		for p, v := range z {
			axpy(x, float64(l.Scale)*v, a[p*l.In:(p+1)*l.In])
		}
		return nil
	}
	parts := make([][]float64, min(o.blocks, partialSums))
	err := parallel(len(parts), func(i int) error {
		part := make([]float64, len(x))
		parts[i] = part
		for b := i * o.blocks / len(parts); b < (i+1)*o.blocks/len(parts); b++ {
			if err := o.block(b, func(row int, v view) {
				if v.all {
					axpy(part, y[row], v.values)
					return
				}
				for k, c := range v.cols {
					part[c] += float64(float64(v.values[k]) * y[row])
				}
			}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, part := range parts { // in order, so that the number of threads does not show
		for c, v := range part {
			x[c] += v
		}
	}
	return err
}

// plain returns a change that is a product of two factors, nil where it is not.
func (o operator) plain() *adapter.LowRank {
	if l, ok := o.term.Delta.(*adapter.LowRank); ok && l.Magnitude == nil {
		return l
	}
	return nil
}

func dot(a []float32, x []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(float64(v) * x[i])
	}
	return sum
}

// axpy adds s·a to x.
func axpy(x []float64, s float64, a []float32) {
	for i, v := range a {
		x[i] += float64(s * float64(v))
	}
}

// spectralNorm returns the largest singular value of AᵀB by the power method on its square, from a fixed vector.
func spectralNorm(a, b operator, out, in int) (float64, error) {
	v, u := make([]float64, in), make([]float64, in)
	y := make([]float64, out)
	g := rand.New(rand.NewPCG(uint64(out), uint64(in)))
	for i := range v {
		v[i] = g.NormFloat64()
	}
	normalize(v)
	norm := 0.0
	for range maxPowers {
		// u = Aᵀ(B v), v = Bᵀ(A u)
		for _, step := range []func() error{
			func() error { return b.times(v, y) },
			func() error { return a.transposed(y, u) },
		} {
			if err := step(); err != nil {
				return 0, err
			}
		}
		last := norm
		if norm = normalize(u); norm == 0 || math.Abs(norm-last) <= tolerance*norm {
			break
		}
		if err := a.times(u, y); err != nil {
			return 0, err
		}
		if err := b.transposed(y, v); err != nil {
			return 0, err
		}
		if normalize(v) == 0 {
			break
		}
	}
	return norm, nil
}

// normalize scales v to a length of 1 and returns the one it had.
func normalize(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x * x)
	}
	norm := math.Sqrt(sum)
	if norm > 0 {
		for i := range v {
			v[i] /= norm
		}
	}
	return norm
}

// products counts the entries of AᵀB that some row of both makes not 0: entry (i, j) where a row has column i in A and
// column j in B.
func (t *Target) products(a, b int) float64 {
	out, in := t.Shape[0], t.Shape[1]
	x, xSparse := t.Terms[a].entries()
	y, ySparse := t.Terms[b].entries()
	switch {
	case !xSparse && !ySparse:
		return float64(in) * float64(in)
	case !xSparse: // every row of A has all columns
		return float64(in) * float64(columns(y, out, in))
	case !ySparse:
		return float64(in) * float64(columns(x, out, in))
	}
	n := min(in, sampledColumns)
	sample := make([]int32, in) // of a column, its number in the sample plus 1
	for k := range n {
		sample[(2*k+1)*in/(2*n)] = int32(k + 1)
	}
	rows := make([][]int32, n) // that a column of the sample has
	for row := range out {
		cols, _ := x.Row(row)
		for _, c := range cols {
			if k := sample[c]; k > 0 {
				rows[k-1] = append(rows[k-1], int32(row))
			}
		}
	}
	counts := make([]int, n)
	kernel.Parallel(n, func(k int) {
		seen := make([]uint64, (in+63)/64)
		for _, row := range rows[k] {
			cols, _ := y.Row(int(row))
			for _, c := range cols {
				seen[c/64] |= 1 << (c % 64)
			}
		}
		for _, word := range seen {
			counts[k] += bits.OnesCount64(word)
		}
	})
	total := 0
	for _, c := range counts {
		total += c
	}
	return float64(total) * float64(in) / float64(n)
}

// columns counts the columns in which a change has entries.
func columns(e adapter.Entries, out, in int) int {
	seen, n := make([]bool, in), 0
	for row := range out {
		cols, _ := e.Row(row)
		for _, c := range cols {
			if !seen[c] {
				seen[c] = true
				n++
			}
		}
	}
	return n
}
