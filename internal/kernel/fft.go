package kernel

import (
	"math"
	"slices"
	"sync"
)

const (
	// fftLanes is the number of vectors that are transformed together: each value below is a row of so many.
	fftLanes = 16
	// fftRadix bounds the radices that small factors of a length are joined to, and fftPrime the prime factors that are a
	// radix of their own; a length with a larger one is done by Bluestein's algorithm.
	fftRadix, fftPrime = 16, 64
)

// Columns are vectors: value i of vector v is Data[i·Step+v·Next].
type Columns struct {
	Data       []float32
	Step, Next int
}

// FFT computes the unitary discrete Fourier transform y[j] = 1/√n·Σ_k x[k]·exp(−2πi·jk/n) of count complex vectors, or with
// inverse that with +2πi. Of x the first have values are read and the rest are zero; of y the first want are written. y may
// be x.
func FFT(n, count int, inverse bool, xre, xim Columns, have int, yre, yim Columns, want int) {
	t := fftOf(n)
	if inverse { // the transform of swapped parts, swapped
		xre, xim, yre, yim = xim, xre, yim, yre
	}
	scale := float32(1 / math.Sqrt(float64(n)))
	t.lanes(count, func(v, lanes int, re, im, re2, im2 []float32) {
		clear(re)
		clear(im)
		for i := range have {
			for l := range lanes {
				re[i*fftLanes+l] = xre.Data[i*xre.Step+(v+l)*xre.Next] * scale
				im[i*fftLanes+l] = xim.Data[i*xim.Step+(v+l)*xim.Next] * scale
			}
		}
		re, im = t.transform(re, im, re2, im2)
		for i := range want {
			for l := range lanes {
				yre.Data[i*yre.Step+(v+l)*yre.Next] = re[i*fftLanes+l]
				yim.Data[i*yim.Step+(v+l)*yim.Next] = im[i*fftLanes+l]
			}
		}
	})
}

// lanes calls f for groups of the count vectors, from vector v on, with room for their transform.
func (t *fft) lanes(count int, f func(v, lanes int, re, im, re2, im2 []float32)) {
	Parallel(ceilDiv(count, fftLanes), func(i int) {
		size := t.n * fftLanes
		buf := borrow(4 * size)
		defer buffers.Put(buf)
		b := *buf
		f(i*fftLanes, min(fftLanes, count-i*fftLanes), b[:size], b[size:2*size], b[2*size:3*size], b[3*size:])
	})
}

// fft is a plan for transforms of length n: Stockham's self-sorting algorithm with a small matrix product for each butterfly,
// O(n·Σ radices), or Bluestein's (1970), a convolution of a length that has one.
type fft struct {
	n      int
	stages []fftStage

	chirpRe, chirpIm   []float64 // exp(−πi·k²/n), k < n
	filterRe, filterIm []float32 // the transform of its wrapped conjugate, divided by the convolution's length
	longer             *fft      // of that length; nil without Bluestein
}

// fftStage turns s interleaved sequences of length radix·m into s·radix of length m. Butterfly p has the matrix
// exp(−2πi·(j/radix + p/(radix·m))·i) at row i, column j: the twiddle factors are in it.
type fftStage struct {
	radix, m, s   int
	re, im, negIm []float32 // m matrices each
}

var fftPlans sync.Map // int → *fft

// fftOf returns the plan for length n, made once.
func fftOf(n int) *fft {
	if t, ok := fftPlans.Load(n); ok {
		return t.(*fft)
	}
	t, _ := fftPlans.LoadOrStore(n, newFFT(n))
	return t.(*fft)
}

func newFFT(n int) *fft {
	t := &fft{n: n}
	radices := fftRadices(n)
	if radices == nil && n > 1 {
		t.bluestein()
		return t
	}
	length, s := n, 1
	for _, radix := range radices {
		m := length / radix
		st := fftStage{radix: radix, m: m, s: s}
		for p := range m {
			for i := range radix {
				for j := range radix {
					// The angle's whole turns are taken off before it is rounded.
					turn := (i*j*m + i*p) % length
					sin, cos := math.Sincos(-2 * math.Pi * float64(turn) / float64(length))
					st.re, st.im, st.negIm = append(st.re, float32(cos)), append(st.im, float32(sin)), append(st.negIm, float32(-sin))
				}
			}
		}
		t.stages = append(t.stages, st)
		length, s = m, s*radix
	}
	return t
}

// fftRadices splits n into radices, the largest last, where the matrices are fewest; nil where a prime factor is too large.
func fftRadices(n int) []int {
	var primes []int
	for p := 2; n > 1; p++ {
		for n%p == 0 {
			primes = append(primes, p)
			n /= p
		}
		if p*p > n && n > 1 {
			primes = append(primes, n)
			n = 1
		}
	}
	slices.Reverse(primes)
	if len(primes) > 0 && primes[0] > fftPrime {
		return nil
	}
	var radices []int
	for _, p := range primes {
		joined := false
		for i := range radices {
			if radices[i]*p <= fftRadix {
				radices[i] *= p
				joined = true
				break
			}
		}
		if !joined {
			radices = append(radices, p)
		}
	}
	slices.Sort(radices)
	return radices
}

// transform computes the sums of the transform of re and im, n × fftLanes, which it overwrites, as re2 and im2, and returns the
// two that hold the result.
func (t *fft) transform(re, im, re2, im2 []float32) (yre, yim []float32) {
	if t.longer != nil {
		t.convolve(re, im)
		return re, im
	}
	for i := range t.stages {
		t.stages[i].run(re, im, re2, im2)
		re, im, re2, im2 = re2, im2, re, im
	}
	return re, im
}

func (st *fftStage) run(xre, xim, yre, yim []float32) {
	r, width := st.radix, fftLanes
	if st.s%2 == 0 { // neighbours share a matrix
		width *= 2
	}
	ldb, ldc := st.s*st.m*fftLanes, st.s*fftLanes
	for p := range st.m {
		re, im, negIm := st.re[p*r*r:][:r*r], st.im[p*r*r:][:r*r], st.negIm[p*r*r:][:r*r]
		from, to := st.s*p*fftLanes, st.s*r*p*fftLanes
		for q := 0; q < ldc; q += width {
			Gemm(r, width, r, re, r, false, xre[from+q:], ldb, yre[to+q:], ldc, false)
			Gemm(r, width, r, negIm, r, false, xim[from+q:], ldb, yre[to+q:], ldc, true)
			Gemm(r, width, r, im, r, false, xre[from+q:], ldb, yim[to+q:], ldc, false)
			Gemm(r, width, r, re, r, false, xim[from+q:], ldb, yim[to+q:], ldc, true)
		}
	}
}

// bluestein prepares jk = (j² + k² − (j−k)²)/2: the transform is a convolution with a chirp, between two products with one.
func (t *fft) bluestein() {
	n, long := t.n, 1
	for long < 2*n-1 {
		long *= 2
	}
	t.longer = fftOf(long)
	size := long * fftLanes
	b := make([]float32, 4*size)
	re, im := b[:size], b[size:2*size]
	for k := range n {
		sin, cos := math.Sincos(-math.Pi * float64(k*k%(2*n)) / float64(n))
		t.chirpRe, t.chirpIm = append(t.chirpRe, cos), append(t.chirpIm, sin)
		for _, at := range []int{k, (long - k) % long} {
			re[at*fftLanes], im[at*fftLanes] = float32(cos/float64(long)), float32(-sin/float64(long))
		}
	}
	fre, fim := t.longer.transform(re, im, b[2*size:3*size], b[3*size:])
	for k := range long {
		t.filterRe, t.filterIm = append(t.filterRe, fre[k*fftLanes]), append(t.filterIm, fim[k*fftLanes])
	}
}

// convolve is transform by Bluestein's algorithm, in place.
func (t *fft) convolve(re, im []float32) {
	size := t.longer.n * fftLanes
	buf := borrow(4 * size)
	defer buffers.Put(buf)
	b := *buf
	are, aim := b[:size], b[size:2*size]
	clear(b[:2*size])
	turn := func(xre, xim, yre, yim []float32) {
		for k := range t.n {
			cos, sin := float32(t.chirpRe[k]), float32(t.chirpIm[k])
			for l := k * fftLanes; l < (k+1)*fftLanes; l++ {
				yre[l], yim[l] = xre[l]*cos-xim[l]*sin, xre[l]*sin+xim[l]*cos
			}
		}
	}
	turn(re, im, are, aim)
	fre, fim := t.longer.transform(are, aim, b[2*size:3*size], b[3*size:])
	for k, cos := range t.filterRe {
		sin := t.filterIm[k]
		for l := k * fftLanes; l < (k+1)*fftLanes; l++ {
			fre[l], fim[l] = fre[l]*cos-fim[l]*sin, fre[l]*sin+fim[l]*cos
		}
	}
	gre, gim := are, aim
	if &fre[0] == &are[0] {
		gre, gim = b[2*size:3*size], b[3*size:]
	}
	// The inverse, by swapped parts.
	yim, yre := t.longer.transform(fim, fre, gim, gre)
	turn(yre, yim, re, im)
}
