package kernel

import (
	"fmt"
	"math"
	"testing"
)

// columnKernel is a vector loop and its reference on the same operands: in holds features × Block values each, w one
// value per feature, col one per token.
type columnKernel struct {
	name string
	tol  float64
	run  func(w []float32, in [5][]float32, col [3]*[Block]float32)
	ref  func(w []float32, in [5][]float32, col [3]*[Block]float32)
}

type (
	ins  = [5][]float32
	cols = [3]*[Block]float32
)

var columnKernels = []columnKernel{
	{"DotCols", 1e-5,
		func(_ []float32, in ins, c cols) { DotCols(in[0], in[1], c[0]) },
		func(_ []float32, in ins, c cols) { refDotCols(in[0], in[1], c[0]) }},
	{"DotCols3", 1e-5,
		func(w []float32, in ins, c cols) { DotCols3(w, in[0], in[1], c[0]) },
		func(w []float32, in ins, c cols) { refDotCols3(w, in[0], in[1], c[0]) }},
	{"Norm", 0,
		func(w []float32, in ins, c cols) { Norm(w, in[0], c[0], in[1]) },
		func(w []float32, in ins, c cols) { refNorm(w, in[0], c[0], in[1]) }},
	{"Norm in place", 0,
		func(w []float32, in ins, c cols) { Norm(w, in[0], c[0], in[0]) },
		func(w []float32, in ins, c cols) { refNorm(w, in[0], c[0], in[0]) }},
	{"NormBackward", 1e-6,
		func(w []float32, in ins, c cols) { NormBackward(w, in[0], in[1], c[0], c[1], in[2]) },
		func(w []float32, in ins, c cols) { refNormBackward(w, in[0], in[1], c[0], c[1], in[2]) }},
	{"MaxCols", 0,
		func(_ []float32, in ins, c cols) { MaxCols(in[0], c[0]) },
		func(_ []float32, in ins, c cols) { refMaxCols(in[0], c[0]) }},
	{"ExpCols", 1e-5,
		func(_ []float32, in ins, c cols) { ExpCols(in[0], 3.7, c[0], c[1]) },
		func(_ []float32, in ins, c cols) { refExpCols(in[0], 3.7, c[0], c[1]) }},
	{"ScaleCols", 0,
		func(_ []float32, in ins, c cols) { ScaleCols(in[0], c[0]) },
		func(_ []float32, in ins, c cols) { refScaleCols(in[0], c[0]) }},
	{"SoftmaxBackward", 0,
		func(_ []float32, in ins, c cols) { SoftmaxBackward(in[0], in[1], c[0], .3) },
		func(_ []float32, in ins, c cols) { refSoftmaxBackward(in[0], in[1], c[0], .3) }},
	{"SwiGLU", 1e-6,
		func(_ []float32, in ins, _ cols) { SwiGLU(in[0], in[1], in[2]) },
		func(_ []float32, in ins, _ cols) { refSwiGLU(in[0], in[1], in[2]) }},
	{"SwiGLU in place", 1e-6,
		func(_ []float32, in ins, _ cols) { SwiGLU(in[0], in[1], in[1]) },
		func(_ []float32, in ins, _ cols) { refSwiGLU(in[0], in[1], in[1]) }},
	{"SwiGLUBackward", 1e-6,
		func(_ []float32, in ins, _ cols) { SwiGLUBackward(in[0], in[1], in[2], in[3], in[4]) },
		func(_ []float32, in ins, _ cols) { refSwiGLUBackward(in[0], in[1], in[2], in[3], in[4]) }},
	{"SwiGLUBackward in place", 1e-6,
		func(_ []float32, in ins, _ cols) { SwiGLUBackward(in[0], in[1], in[2], in[0], in[1]) },
		func(_ []float32, in ins, _ cols) {
			refSwiGLUBackward(in[0], in[1], in[2], in[3], in[1])
			copy(in[0], in[3])
		}},
	{"Rotate", 1e-6,
		func(_ []float32, in ins, _ cols) { Rotate(in[0], in[1], in[2], in[3]) },
		func(_ []float32, in ins, _ cols) { refRotate(in[0], in[1], in[2], in[3]) }},
}

func TestColumnKernels(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, k := range columnKernels {
			for rows := range 51 {
				w := random(9, rows)
				got, gotCols := operands(rows)
				want, wantCols := operands(rows)
				k.run(w, got, gotCols)
				k.ref(w, want, wantCols)
				name := fmt.Sprintf("%s of %d features", k.name, rows)
				for i := range want {
					if k.name == "SwiGLUBackward in place" && i == 3 {
						continue // working memory of the reference
					}
					requireClose(t, name, got[i][:cap(got[i])], want[i][:cap(want[i])], k.tol)
				}
				for i := range wantCols {
					requireClose(t, name, gotCols[i][:], wantCols[i][:], k.tol*float64(rows+1))
				}
			}
		}
	})
}

// operands returns the operands of a column kernel. Each slice has room for one feature more, which must not be touched.
func operands(rows int) (in ins, col cols) {
	for i := range in {
		in[i] = random(uint64(i), (rows+1)*Block)[:rows*Block]
	}
	for i := range col {
		col[i] = column(uint64(10 + i))
	}
	return in, col
}

func TestColumnKernelsCheckLengths(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, k := range columnKernels {
			if k.name == "MaxCols" || k.name == "ExpCols" || k.name == "ScaleCols" {
				continue // one operand
			}
			in, col := operands(2)
			for i := 1; i < len(in); i++ {
				in[i] = in[i][: Block+1 : Block+1]
			}
			in[0] = in[0][: 2*Block : 2*Block]
			if k.name == "Norm in place" {
				in[0] = in[0][:Block:Block]
			}
			requirePanic(t, k.name, func() { k.run(random(9, 2), in, col) })
		}
	})
}

func TestTranspose(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for rows := range 51 {
			ldd := rows + 3
			src := random(1, rows*Block)
			got, want := make([]float32, Block*ldd), make([]float32, Block*ldd)
			Transpose(rows, src, got, ldd)
			refTranspose(rows, src, want, ldd)
			requireSame(t, fmt.Sprint(rows, " features"), got, want)
		}
		requirePanic(t, "source too short", func() { Transpose(9, make([]float32, 8*Block), make([]float32, 9*Block), 9) })
		requirePanic(t, "destination too short", func() { Transpose(9, make([]float32, 9*Block), make([]float32, 9*Block-1), 9) })
	})
}

// Tokens do not see each other: in each lane the same values give the same bits.
func TestColumnKernelsTreatLanesAlike(t *testing.T) {
	withISA(t, func(t *testing.T) {
		for _, k := range columnKernels {
			in, col := operands(7)
			for _, s := range in {
				for i := range s {
					s[i] = s[i-i%Block]
				}
			}
			for _, c := range col {
				for i := range c {
					c[i] = c[0]
				}
			}
			k.run(random(9, 7), in, col)
			for _, s := range in {
				for i, v := range s {
					requireSame(t, k.name, []float32{v}, s[i-i%Block:][:1])
				}
			}
			for _, c := range col {
				for _, v := range c {
					requireSame(t, k.name, []float32{v}, c[:1])
				}
			}
		}
	})
}

// Results do not depend on the width of the vectors.
func TestColumnKernelsAreTheSameOnEveryVectorUnit(t *testing.T) {
	type result struct {
		in  ins
		col cols
	}
	var want []result
	withISA(t, func(t *testing.T) {
		if active == isGo {
			t.Skip("portable code need not fuse products and sums")
		}
		var got []result
		for _, k := range columnKernels {
			in, col := operands(9)
			k.run(random(9, 9), in, col)
			got = append(got, result{in, col})
		}
		if want == nil {
			want = got
		}
		for i, k := range columnKernels {
			for j := range want[i].in {
				requireSame(t, k.name, got[i].in[j], want[i].in[j])
			}
			for j := range want[i].col {
				requireSame(t, k.name, got[i].col[j][:], want[i].col[j][:])
			}
		}
	})
}

// expOf returns exp of each argument by way of ExpCols.
func expOf(xs []float32) []float32 {
	y := make([]float32, Blocks(len(xs))*Block)
	copy(y, xs)
	var shift, sum [Block]float32
	ExpCols(y, 1, &shift, &sum)
	return y[:len(xs)]
}

func TestExpIsPrecise(t *testing.T) {
	const low, high = -44.361416, 88.72283 // of a result that is neither too small to count nor too large
	var xs []float32
	for i := range 1 << 18 {
		xs = append(xs, low+(high-low)*float32(i)/(1<<18))
	}
	for e := -40; e < 7; e++ { // and at every scale
		for i := range 200 {
			v := float32(math.Ldexp(1+float64(i)/200, e))
			xs = append(xs, min(v, high), max(-v, low))
		}
	}
	withISA(t, func(t *testing.T) {
		worst, at := 0.0, float32(0)
		for i, y := range expOf(xs) {
			want := math.Exp(float64(xs[i]))
			_, exp := math.Frexp(want)
			ulps := math.Abs(float64(y)-want) / math.Ldexp(1, max(exp, -125)-24)
			if share := ulps / (2 + 2*math.Abs(float64(xs[i]))); !(share <= worst) {
				worst, at = share, xs[i]
			}
		}
		if !(worst <= 1) {
			t.Errorf("exp(%g) is off by %.2f times what is promised", at, worst)
		}
		t.Logf("largest error %.2f of what is promised, at %g", worst, at)
	})
}

func TestExpOfExtremes(t *testing.T) {
	inf := float32(math.Inf(1))
	xs := []float32{-inf, -math.MaxFloat32, -1e30, -1000, -104, 0, 88.8, 89, 1000, 1e30, math.MaxFloat32, inf, nan,
		math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff), math.Float32frombits(0x7fc001ff)}
	want := []float32{0, 0, 0, 0, 0, 1, inf, inf, inf, inf, inf, inf, nan, nan, nan, nan}
	withISA(t, func(t *testing.T) {
		requireClose(t, "exp", expOf(xs), want, 0)
		for i, y := range expOf([]float32{-87.4, -90, -100, -103}) {
			if y < 0 || y > 1.1754942e-38 {
				t.Errorf("exp of what is subnormal, case %d, is %g", i, y)
			}
		}
	})
}

func TestExpColsOfMaskedEntries(t *testing.T) {
	withISA(t, func(t *testing.T) {
		x := make([]float32, 3*Block)
		for i := range Block {
			x[i], x[Block+i], x[2*Block+i] = float32(math.Inf(-1)), 2, 1
		}
		var shift, sum [Block]float32
		for i := range shift {
			shift[i] = 1
		}
		ExpCols(x, .5, &shift, &sum)
		for i := range Block {
			requireClose(t, "column", []float32{x[i], x[Block+i], x[2*Block+i], sum[i]},
				[]float32{0, 1, float32(math.Exp(-.5)), float32(1 + math.Exp(-.5))}, 1e-6)
		}
	})
}

func TestSwiGLUOfExtremes(t *testing.T) {
	gates := []float32{-1e30, -1e10, -100, -89, -88, -20, 0, 20, 88, 89, 1e10, 1e30, nan}
	ups := []float32{1e30, -1, 1e-30, 0}
	n := Blocks(len(gates)*len(ups)) * Block
	gate, up, dy := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range gate {
		gate[i], up[i], dy[i] = gates[i%len(gates)], ups[i/len(gates)%len(ups)], 1e-5
	}
	withISA(t, func(t *testing.T) {
		got, want := make([]float32, n), make([]float32, n)
		got2, want2 := make([]float32, n), make([]float32, n)
		SwiGLU(gate, up, got)
		refSwiGLU(gate, up, want)
		// σ below 1e-38 may be zero; times a value of 1e30 that is 1e-8.
		requireClose(t, "y", got, want, 1e-6)
		SwiGLUBackward(gate, up, dy, got, got2)
		refSwiGLUBackward(gate, up, dy, want, want2)
		requireClose(t, "gradient of gate", got, want, 1e-6)
		requireClose(t, "gradient of up", got2, want2, 1e-6)
	})
}
