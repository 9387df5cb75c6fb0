package main

import "math"

// Constants of exp: exp(x) = 2ᵗ with t = x·log₂e, and 2ᵗ = 2ⁿ·2ʳ with n = round(t) and r = t − n, |r| ≤ ½.

// exp2Poly is the polynomial of degree 6 of least relative error to 2ʳ for |r| ≤ ½ that is 1 at 0, highest power first:
// 2e-9, and less than one ulp with the rounding of its own arithmetic.
var exp2Poly = []float32{1.5353362064e-4, 1.3398874557e-3, 9.6184373582e-3, 5.5503324708e-2, 2.4022647914e-1, 6.9314720286e-1, 1}

// exp2Short is the one of degree 4, 3e-6, for results that are rounded to bfloat16, 2e-3.
var exp2Short = []float32{9.5828300808e-3, 5.5906399602e-2, 2.4024098846e-1, 6.9312419641e-1, 1}

// exp2Range holds the t between which 2ᵗ is a normal number, the upper one so that what is clamped to it overflows to +Inf.
// Smaller ones give 0, not a subnormal: masked entries of a softmax would otherwise stall some processors for hundreds of
// cycles each.
var exp2Range = struct{ low, high float32 }{-126, 129}

// softmaxLow is the t below which 2ᵗ counts as 0 in a softmax, whose sum is not below 1: far less than the rounding of that, and
// far enough from the smallest normal number that products with gradients do not come below it either, which would stall
// processors again.
const softmaxLow = -64

// exponential holds the registers that exp2 needs throughout a loop, and its polynomial.
type exponential struct {
	low, high operand
	poly      []float32
}

func (a *asm) exponential(low float32, poly []float32) exponential {
	return exponential{a.broadcast(a.float(low)), a.broadcast(a.float(exp2Range.high)), poly}
}

// exp2 replaces t by 2ᵗ. NaN stays NaN: the clamp returns its last operand when unordered, as does the mask.
func (a *asm) exp2(e exponential, t operand) {
	const notLess, nearest = "$5", "$8"
	keep := "K1"
	if a.lanes == avx2.lanes {
		keep = a.vec()
	}
	a.op("VCMPPS", notLess, e.low, t, keep)
	a.minOf(t, e.high, t)
	n := a.vec()
	if a.lanes == avx512.lanes {
		a.op("VRNDSCALEPS", nearest, t, n)
	} else {
		a.op("VROUNDPS", nearest, t, n)
	}
	a.sub(t, t, n) // exact
	p := a.broadcast(a.float(e.poly[0]))
	for _, c := range e.poly[1:] {
		a.mulAdd(p, t, a.float(c))
	}
	if a.lanes == avx512.lanes {
		a.op("VSCALEFPS.Z", n, p, keep, t)
	} else {
		a.scale(p, n, t)
		a.op("VANDPS", keep, p, t)
		a.free(keep)
	}
	a.free(n, p)
}

// scale multiplies p by 2ⁿ, in two steps because 2ⁿ itself may overflow; n and tmp are clobbered.
func (a *asm) scale(p, n, tmp operand) {
	a.op("VCVTPS2DQ", n, n)
	a.op("VPSRAD", "$1", n, tmp)
	a.op("VPSUBD", tmp, n, n)
	for _, half := range []operand{n, tmp} {
		a.op("VPADDD", a.bits(127), half, half)
		a.op("VPSLLD", "$23", half, half)
		a.mul(p, p, half)
	}
}

func expCols(a *asm) {
	x, sum, n := a.arg("x"), a.arg("sum"), a.rows("x")
	scale := a.broadcast(a.fn.frame("scale"))
	shifts, sums := a.loadBlock(a.arg("shift")), a.loadBlock(sum)
	// exp(x·scale − shift) is 2 to the power of x·(scale·log₂e) − shift·log₂e: one rounding, as x·scale − shift would have.
	toBase2 := a.broadcast(a.float(math.Log2E))
	a.mul(scale, scale, toBase2)
	for _, s := range shifts {
		a.mul(s, s, toBase2)
	}
	a.free(toBase2)
	e := a.exponential(softmaxLow, exp2Poly)
	a.loop(n, func() {
		for v := range sums {
			t := a.load(x, v)
			a.mulSub(t, scale, shifts[v])
			a.exp2(e, t)
			a.store(t, x, v)
			a.add(sums[v], sums[v], t)
			a.free(t)
		}
		a.advance(rowBytes, x)
	})
	a.storeBlock(sums, sum)
}

// onePlusExpNeg takes a register for 1 + exp(−g).
func (a *asm) onePlusExpNeg(e exponential, g operand) operand {
	q := a.vec()
	a.mul(q, g, a.float(-math.Log2E))
	a.exp2(e, q)
	a.add(q, q, a.float(1))
	return q
}

func swiGLU(a *asm) {
	gate, up, y, n := a.arg("gate"), a.arg("up"), a.arg("y"), a.rows("gate")
	e := a.exponential(exp2Range.low, exp2Poly)
	a.loop(n, func() {
		for v := range a.perBlock() {
			g := a.load(gate, v)
			q := a.onePlusExpNeg(e, g)
			a.div(g, g, q)
			a.mul(g, g, a.at(up, v))
			a.store(g, y, v)
			a.free(g, q)
		}
		a.advance(rowBytes, gate, up, y)
	})
}

func swiGLUBackward(a *asm) {
	gate, up, dy, dgate, dup, n := a.arg("gate"), a.arg("up"), a.arg("dy"), a.arg("dgate"), a.arg("dup"), a.rows("gate")
	e := a.exponential(exp2Range.low, exp2Poly)
	one := a.broadcast(a.float(1))
	a.loop(n, func() {
		for v := range a.perBlock() {
			g := a.load(gate, v)
			s := a.onePlusExpNeg(e, g)
			a.div(s, one, s)
			d := a.load(dy, v)
			u, t := a.vec(), a.vec()
			a.mul(d, d, s)
			a.mul(u, d, a.at(up, v)) // dy·up·σ
			a.mul(d, d, g)
			a.sub(t, one, s)
			a.mulAdd(t, g, one) // 1 + gate·(1 − σ)
			a.mul(u, u, t)
			a.store(d, dup, v)
			a.store(u, dgate, v)
			a.free(g, s, d, u, t)
		}
		a.advance(rowBytes, gate, up, dy, dgate, dup)
	})
}
