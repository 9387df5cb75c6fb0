package main

import "math"

// Constants of exp: exp(x) = 2ⁿ·exp(r) with n = round(x·log₂e) and r = x − n·ln 2, |r| ≤ ½ ln 2. ln 2 is split so that
// n times its upper part is exact. The polynomial is that of Cephes' expf (S. Moshier), to which FMA lends one ulp.
const (
	log2e   = math.Log2E
	ln2High = 0.693359375
	ln2Low  = -2.12194440e-4
)

var expPoly = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}

// expRange holds the arguments between which the exponential is a normal number, the upper rounded up so that it and
// what is clamped to it overflow to +Inf. Smaller arguments give 0, not a subnormal: masked entries of a softmax would
// otherwise stall some processors for hundreds of cycles each.
var expRange = struct{ low, high float32 }{-87.33654, 89}

// exponential holds the registers that exp needs throughout a loop.
type exponential struct{ low, high operand }

func (a *asm) exponential() exponential {
	return exponential{a.broadcast(a.float(expRange.low)), a.broadcast(a.float(expRange.high))}
}

// exp replaces x by exp(x). NaN stays NaN: the clamps return their last operand when unordered, as does the mask.
func (a *asm) exp(e exponential, x operand) {
	const notLess, nearest = "$5", "$8"
	keep := "K1"
	if a.lanes == avx2.lanes {
		keep = a.vec()
	}
	a.op("VCMPPS", notLess, e.low, x, keep)
	a.minOf(x, e.high, x)
	a.maxOf(x, e.low, x)
	n := a.vec()
	a.mul(n, x, a.float(log2e))
	if a.lanes == avx512.lanes {
		a.op("VRNDSCALEPS", nearest, n, n)
	} else {
		a.op("VROUNDPS", nearest, n, n)
	}
	a.fnma(x, n, a.float(ln2High))
	a.fnma(x, n, a.float(ln2Low))
	p := a.broadcast(a.float(expPoly[0]))
	for _, c := range expPoly[1:] {
		a.mulAdd(p, x, a.float(c))
	}
	if a.lanes == avx512.lanes {
		a.op("VSCALEFPS.Z", n, p, keep, x)
	} else {
		a.scale(p, n, x)
		a.op("VANDPS", keep, p, x)
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
	e := a.exponential()
	a.loop(n, func() {
		for v := range sums {
			t := a.load(x, v)
			a.mulSub(t, scale, shifts[v])
			a.exp(e, t)
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
	a.xor(q, g, a.bits(1<<31))
	a.exp(e, q)
	a.add(q, q, a.float(1))
	return q
}

func swiGLU(a *asm) {
	gate, up, y, n := a.arg("gate"), a.arg("up"), a.arg("y"), a.rows("gate")
	e := a.exponential()
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
	e := a.exponential()
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
