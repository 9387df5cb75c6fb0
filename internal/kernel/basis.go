package kernel

// Basis is the basis in which a low-rank change holds its factors: y += F⁻¹(B·A·F(x)), F along the features of x and F⁻¹ along
// those of y. F is orthonormal and linear in each token, so that A·F(x) = (A·F)·x and F⁻¹(B·z) = (F⁻¹·B)·z: the factors are
// transformed, and not the tokens.
type Basis int

// The bases.
const (
	// Plain is no transform.
	Plain Basis = iota
	// Cosine is that of [DCT]. The factors are A (r, in) and B (out, r), as they are without.
	Cosine
	// Fourier is the unitary Fourier transform of real values, of which half are kept: A (r, in/2+1, 2) and B (out/2+1, r, 2)
	// are complex, real and imaginary parts last, and so are the components between them.
	Fourier
)

// Sizes returns the number of values of the factors of rank r.
func (b Basis) Sizes(r, out, in int) (sizeA, sizeB int) {
	if b == Fourier {
		return r * (in/2 + 1) * 2, (out/2 + 1) * r * 2
	}
	return r * in, out * r
}

// Components returns the number of real values between factors of rank r; those of Fourier are the real parts, then the
// imaginary ones.
func (b Basis) Components(r int) int {
	if b == Fourier {
		return 2 * r
	}
	return r
}

// Down writes A·F, components × in.
func (b Basis) Down(r, in int, a, down []float32) {
	switch b {
	case Plain:
		copy(down, a)
	case Cosine: // the transpose of F, which is orthonormal, is its inverse
		DCT(in, r, true, rowVectors(a, in), rowVectors(down, in))
	case Fourier:
		// z[k] = Σ_f A[k,f]·X[f] with X[f] = 1/√n·Σ_j x[j]·e^{−2πi·fj/n}: x is multiplied by the transform of A's row.
		re, im := complexRows(a, in/2+1)
		FFT(in, r, false, re, im, in/2+1, rowVectors(down, in), rowVectors(down[r*in:], in), in)
	}
}

// DownGrad is Down's transpose: it turns the gradient of A·F into that of A.
func (b Basis) DownGrad(r, in int, ddown, da []float32) {
	switch b {
	case Plain:
		copy(da, ddown)
	case Cosine:
		DCT(in, r, false, rowVectors(ddown, in), rowVectors(da, in))
	case Fourier:
		re, im := complexRows(da, in/2+1)
		FFT(in, r, true, rowVectors(ddown, in), rowVectors(ddown[r*in:], in), in, re, im, in/2+1)
	}
}

// Up writes F⁻¹·B, out × components.
func (b Basis) Up(r, out int, bv, up []float32) {
	switch b {
	case Plain:
		copy(up, bv)
	case Cosine:
		DCT(out, r, true, columnVectors(bv, r), columnVectors(up, r))
	case Fourier:
		// y[j] = 1/√m·Σ_f w_f·Re(B[f,k]·z[k]·e^{2πi·fj/m}), and Re(b·z) is Re(b)·Re(z) − Im(b)·Im(z).
		buf := borrow(len(bv))
		defer buffers.Put(buf)
		copy(*buf, bv)
		weighFrequencies(*buf, out, r)
		re, im := complexColumns(*buf, r)
		FFT(out, r, true, re, im, out/2+1, columnVectors(up, 2*r), columnVectors(up[r:], 2*r), out)
		negateSecond(up, r)
	}
}

// UpGrad is Up's transpose. It overwrites dup.
func (b Basis) UpGrad(r, out int, dup, db []float32) {
	switch b {
	case Plain:
		copy(db, dup)
	case Cosine:
		DCT(out, r, false, columnVectors(dup, r), columnVectors(db, r))
	case Fourier:
		negateSecond(dup, r)
		re, im := complexColumns(db, r)
		FFT(out, r, false, columnVectors(dup, 2*r), columnVectors(dup[r:], 2*r), out, re, im, out/2+1)
		weighFrequencies(db, out, r)
	}
}

// rowVectors and columnVectors view the rows and the columns of a matrix of n columns.
func rowVectors(m []float32, n int) Columns    { return Columns{Data: m, Step: 1, Next: n} }
func columnVectors(m []float32, n int) Columns { return Columns{Data: m, Step: n, Next: 1} }

// complexRows and complexColumns view those of a complex matrix.
func complexRows(m []float32, n int) (re, im Columns) {
	return Columns{Data: m, Step: 2, Next: 2 * n}, Columns{Data: m[1:], Step: 2, Next: 2 * n}
}

func complexColumns(m []float32, n int) (re, im Columns) {
	return Columns{Data: m, Step: 2 * n, Next: 2}, Columns{Data: m[1:], Step: 2 * n, Next: 2}
}

// weighFrequencies doubles the rows of b, r complex values each, but those of the constant and, where n is even, of the last
// frequency: the others stand for their conjugates as well.
func weighFrequencies(b []float32, n, r int) {
	for i := 2 * r; i < (n+1)/2*2*r; i++ {
		b[i] *= 2
	}
}

// negateSecond negates the second r values of each 2r.
func negateSecond(m []float32, r int) {
	for i := range m {
		if i/r%2 == 1 {
			m[i] = -m[i]
		}
	}
}
