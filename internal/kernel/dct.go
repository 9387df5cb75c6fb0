package kernel

import (
	"math"
	"sync"
)

// DCT computes the orthonormal discrete cosine transform y[k] = c_k·Σ_i x[i]·cos(π·(i+½)·k/n), with c_0 = √(1/n) and c_k =
// √(2/n) (DCT-II), of count vectors, or with inverse its inverse, which is its transpose (DCT-III). y may be x. A transform
// is a complex one of the same length for two vectors (Makhoul 1980).
func DCT(n, count int, inverse bool, x, y Columns) {
	t := fftOf(n)
	turn := quarterTurns(n)
	pairs := ceilDiv(count, 2)
	// Vectors v and pairs+v are the real and the imaginary part of one.
	t.lanes(pairs, func(v, lanes int, re, im, re2, im2 []float32) {
		second := max(0, min(lanes, count-pairs-v))
		load := func(i, at int, re, im []float32) {
			for l := range lanes {
				re[at*fftLanes+l] = x.Data[i*x.Step+(v+l)*x.Next]
			}
			for l := range second {
				im[at*fftLanes+l] = x.Data[i*x.Step+(pairs+v+l)*x.Next]
			}
		}
		store := func(at, i int, re, im []float32) {
			for l := range lanes {
				y.Data[i*y.Step+(v+l)*y.Next] = re[at*fftLanes+l]
			}
			for l := range second {
				y.Data[i*y.Step+(pairs+v+l)*y.Next] = im[at*fftLanes+l]
			}
		}
		clear(re)
		clear(im)
		if inverse {
			for k := range n {
				load(k, k, re2, im2)
			}
			for l := second; l < fftLanes; l++ {
				for k := range n {
					im2[k*fftLanes+l] = 0
				}
			}
			turn.spread(re2, im2, re, im)
			// The inverse transform, by swapped parts.
			im, re = t.transform(im, re, im2, re2)
			for i := range n {
				store(evenOdd(i, n), i, re, im)
			}
			return
		}
		for i := range n {
			load(i, evenOdd(i, n), re, im)
		}
		fre, fim := t.transform(re, im, re2, im2)
		gre, gim := re, im
		if &fre[0] == &re[0] {
			gre, gim = re2, im2
		}
		turn.join(fre, fim, gre, gim)
		for k := range n {
			store(k, k, gre, gim)
		}
	})
}

// evenOdd is where Makhoul's order has value i of n: even ones from the front, odd ones from the back.
func evenOdd(i, n int) int {
	if i%2 == 0 {
		return i / 2
	}
	return n - 1 - i/2
}

// turns are the factors between a cosine transform and the complex one: c_k·cos and c_k·sin of π·k/2n.
type turns struct{ cos, sin []float32 }

var turnTables sync.Map // int → turns

func quarterTurns(n int) turns {
	if t, ok := turnTables.Load(n); ok {
		return t.(turns)
	}
	var t turns
	for k := range n {
		c := math.Sqrt(2 / float64(n))
		if k == 0 {
			c = math.Sqrt(1 / float64(n))
		}
		sin, cos := math.Sincos(math.Pi * float64(k) / float64(2*n))
		t.cos, t.sin = append(t.cos, float32(c*cos)), append(t.sin, float32(c*sin))
	}
	turnTables.Store(n, t)
	return t
}

// join writes y[k] = c_k·(e^{−iθ}·x[k] + e^{iθ}·x[n−k])/2, θ = π·k/2n, the cosine transform of what x is the transform of.
func (t turns) join(xre, xim, yre, yim []float32) {
	n := len(t.cos)
	for k, cos := range t.cos {
		cos, sin := cos/2, t.sin[k]/2
		a, b := k*fftLanes, (n-k)%n*fftLanes
		for l := range fftLanes {
			are, aim, bre, bim := xre[a+l], xim[a+l], xre[b+l], xim[b+l]
			yre[a+l] = cos*(are+bre) + sin*(aim-bim)
			yim[a+l] = cos*(aim+bim) - sin*(are-bre)
		}
	}
}

// spread is join's transpose: y[k] = e^{iθ}·(c_k·x[k] − i·c_{n−k}·x[n−k])/2·(2 but at k = 0), so that its inverse transform's sums
// are the inverse cosine transform.
func (t turns) spread(xre, xim, yre, yim []float32) {
	n := len(t.cos)
	for l := range fftLanes {
		yre[l], yim[l] = t.cos[0]*xre[l], t.cos[0]*xim[l]
	}
	for k := 1; k < n; k++ {
		// e^{iθ_k}·c_k/2 and −i·e^{iθ_k} = e^{−iθ_{n−k}}.
		cos, sin := t.cos[k]/2, t.sin[k]/2
		a, b := k*fftLanes, (n-k)*fftLanes
		for l := range fftLanes {
			are, aim, bre, bim := xre[a+l], xim[a+l], xre[b+l], xim[b+l]
			yre[a+l] = cos*(are+bim) - sin*(aim-bre)
			yim[a+l] = cos*(aim-bre) + sin*(are+bim)
		}
	}
}
