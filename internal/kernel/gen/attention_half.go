package main

import "math"

const (
	expPairsParams   = "x []float32, scale float32, shift, sum *[Block]float32, y []pair"
	turnPairsParams  = "x, y []pair, cos, sin []float32"
	scoreGradsParams = "s, dp []float32, scale float32, lse, delta *[Block]float32, p, dsT, ds []pair"
)

// expPairs is expCols with results rounded to pairs of neighbouring rows.
func expPairs(a *asm) {
	x, y, sum, n := a.arg("x"), a.arg("y"), a.arg("sum"), a.rows("y")
	scale, shifts := a.exponents("scale", "shift")
	sums, e, order := a.loadBlock(sum), a.exponential(softmaxLow, exp2Short), a.pairOrder()
	a.loop(n, func() {
		for v := range sums {
			even, odd := a.load(x, v), a.load(x, a.perBlock()+v)
			for _, t := range []operand{even, odd} {
				a.mulSub(t, scale, shifts[v])
				a.exp2(e, t)
				a.add(sums[v], sums[v], t)
			}
			a.storePaired(order, [2]operand{even, odd}, y, v)
		}
		a.advance(2*rowBytes, x)
		a.advance(rowBytes, y)
	})
	a.storeBlock(sums, sum)
}

// exponents takes registers for the scale and the shifts of exp(x·scale − shift) as a power of two.
func (a *asm) exponents(scaleName, shiftName string) (scale operand, shifts []operand) {
	scale, shifts = a.broadcast(a.fn.frame(scaleName)), a.loadBlock(a.arg(shiftName))
	toBase2 := a.broadcast(a.float(math.Log2E))
	for _, s := range append(shifts, scale) {
		a.mul(s, s, toBase2)
	}
	a.free(toBase2)
	return scale, shifts
}

// pairOrder takes a register for the permutation that pairs the values of two rows.
func (a *asm) pairOrder() operand {
	order := a.vec()
	a.op("VMOVUPS", a.table("interleaved", interleaved()), order)
	return order
}

// scoreGrads turns scores and the gradients of their probabilities to probabilities and the gradients of the scores, two keys at a
// time.
func scoreGrads(a *asm) {
	s, dp, p, dsT, ds, n := a.arg("s"), a.arg("dp"), a.arg("p"), a.arg("dsT"), a.arg("ds"), a.rows("ds")
	scale, deltas := a.broadcast(a.fn.frame("scale")), a.loadBlock(a.arg("delta"))
	for _, d := range deltas {
		a.mul(d, d, scale)
	}
	toBase2, lse := a.exponents("scale", "lse")
	e, order := a.exponential(softmaxLow, exp2Short), a.pairOrder()
	a.loop(n, func() {
		var grads [2][]operand // of the keys' scores
		for key := range grads {
			var probs []operand
			for v := range a.perBlock() {
				t, d := a.load(s, key*a.perBlock()+v), a.load(dp, key*a.perBlock()+v)
				a.mulSub(t, toBase2, lse[v])
				a.exp2(e, t)
				a.mulSub(d, scale, deltas[v])
				a.mul(d, d, t)
				probs, grads[key] = append(probs, t), append(grads[key], d)
			}
			a.narrow(probs[0], probs[1], probs[0])
			a.store(probs[0], p, key)
			a.free(probs...)
			line := a.vec()
			a.narrow(line, grads[key][1], grads[key][0])
			a.store(line, dsT, key)
			a.free(line)
		}
		for v, even := range grads[0] {
			a.storePaired(order, [2]operand{even, grads[1][v]}, ds, v)
		}
		a.advance(2*rowBytes, s, dp)
		a.advance(2*lineBytes, p, dsT)
		a.advance(rowBytes, ds)
	})
}

// tokenLines turns rows of 32 tokens, pairs of features, to two lines each, of the even feature and of the odd, tokens paired.
func tokenLines(a *asm) {
	x, y, n := a.arg("x"), a.arg("y"), a.rows("x")
	var order [2]operand
	for i, name := range []string{"evenWords", "oddWords"} {
		words := make([]uint16, block)
		for w := range words {
			words[w] = uint16(2*w + i)
		}
		order[i] = a.vec()
		a.op("VMOVUPS", a.table(name, words), order[i])
	}
	a.loop(n, func() {
		low, high := a.load(x, 0), a.load(x, 1)
		for i, o := range order {
			t := a.vec()
			a.op("VMOVAPS", o, t)
			a.op("VPERMI2W", high, low, t)
			a.store(t, y, i)
			a.free(t)
		}
		a.free(low, high)
		a.advance(rowBytes, x, y)
	})
}

// rowsOfTiles is tileColumns's inverse.
func rowsOfTiles(a *asm) {
	src, dst := a.arg("src"), a.arg("dst")
	for h := range 2 {
		lines := make([]operand, tileSide)
		for i := range lines {
			lines[i] = a.vec()
			a.op("VMOVUPS", mem(src, h*tileBytes+i*lineBytes), lines[i])
		}
		for i, r := range a.columns(lines) {
			a.op("VMOVUPS", r, mem(dst, i*rowBytes+h*half))
			a.free(r)
		}
	}
}

// turnPairs turns features i and i+half of a head by the angles of cos and sin, rounded pairs of them, half of them even.
func turnPairs(a *asm) {
	x, y, cos, sin, n := a.arg("x"), a.arg("y"), a.arg("cos"), a.arg("sin"), a.rows("x")
	order, high := a.pairOrder(), a.broadcast(a.bits(0xffff0000))
	x2, y2 := a.gp(), a.gp()
	a.op("SHRQ", "$1", n)
	a.op("MOVQ", n, x2)
	a.op("SHLQ", "$7", x2)
	a.op("LEAQ", "("+y+")("+x2+"*1)", y2)
	a.op("ADDQ", x, x2)
	a.loop(n, func() {
		for v := range a.perBlock() {
			p1, p2 := a.load(x, v), a.load(x2, v)
			first, second := a.unpaired(high, p1), a.unpaired(high, p2)
			a.free(p1, p2)
			for i := range first { // the even feature, then the odd
				c, s := a.load(cos, i*a.perBlock()+v), a.load(sin, i*a.perBlock()+v)
				t, u := a.vec(), a.vec()
				a.mul(t, second[i], s)
				a.mul(u, first[i], s)
				a.mulSub(first[i], c, t)
				a.mulAdd(second[i], c, u)
				a.free(c, s, t, u)
			}
			a.storePaired(order, first, y, v)
			a.storePaired(order, second, y2, v)
		}
		a.advance(rowBytes, x, x2, y, y2)
		a.advance(2*rowBytes, cos, sin)
	})
}

// unpaired takes two registers for the values of the even and of the odd feature of pairs p; high is the mask of the latter.
func (a *asm) unpaired(high, p operand) [2]operand {
	even, odd := a.vec(), a.vec()
	a.op("VPSLLD", "$16", p, even)
	a.op("VANDPS", high, p, odd)
	return [2]operand{even, odd}
}

// storePaired rounds the values of an even and an odd feature, gives their registers back and writes the pairs to vector i at p.
func (a *asm) storePaired(order operand, values [2]operand, p operand, i int) {
	even, odd := values[0], values[1]
	a.narrow(even, odd, even)
	a.op("VPERMW", even, order, even)
	a.store(even, p, i)
	a.free(even, odd)
}

// scalePairs rounds x, each token's values times r, to pairs of features.
func scalePairs(a *asm) {
	x, y, n := a.arg("x"), a.arg("y"), a.rows("y")
	scale, order := a.loadBlock(a.arg("r")), a.pairOrder()
	a.loop(n, func() {
		for v, r := range scale {
			even, odd := a.vec(), a.vec()
			a.mul(even, r, a.at(x, v))
			a.mul(odd, r, a.at(x, a.perBlock()+v))
			a.storePaired(order, [2]operand{even, odd}, y, v)
		}
		a.advance(2*rowBytes, x)
		a.advance(rowBytes, y)
	})
}

// dotPairs is dotCols for pairs of features.
func dotPairs(a *asm) {
	x, y, out, n := a.arg("x"), a.arg("y"), a.arg("out"), a.rows("x")
	sums := a.loadBlock(out)
	a.loop(n, func() {
		for v, s := range sums {
			p, q := a.load(x, v), a.load(y, v)
			a.pairProduct(s, p, q)
			a.free(p, q)
		}
		a.advance(rowBytes, x, y)
	})
	a.storeBlock(sums, out)
}
