package main

// adamW writes a step of the optimizer over values in order, a multiple of block of them. The constants lie in the order
// of kernel.AdamW's fields.
func adamW(a *asm) {
	c, w, g, m, v, n := a.arg("c"), a.arg("w"), a.arg("g"), a.arg("m"), a.arg("v"), a.rows("w")
	var k [7]operand
	for i := range k {
		k[i] = a.broadcast(mem(c, 4*i))
	}
	scale, oneLessBeta1, beta2, oneLessBeta2, rate, root, eps := k[0], k[1], k[2], k[3], k[4], k[5], k[6]
	keep := a.vec()
	a.loop(n, func() {
		for i := range a.perBlock() {
			gi, mi, vi, t := a.vec(), a.vec(), a.vec(), a.vec()
			a.mul(gi, scale, a.at(g, i))
			a.op("VMOVUPS", a.at(m, i), mi)
			a.sub(t, gi, mi)
			a.fma(mi, t, oneLessBeta1) // m += (1−β₁)·(g−m)
			a.store(mi, m, i)
			a.mul(vi, beta2, a.at(v, i))
			a.mul(gi, gi, gi)
			a.fma(vi, gi, oneLessBeta2) // v = β₂·v + (1−β₂)·g²
			a.store(vi, v, i)
			a.op("VSQRTPS", vi, vi)
			a.mulAdd(vi, root, eps)
			a.mul(mi, mi, rate)
			a.div(mi, mi, vi)
			a.op("VBROADCASTSS", mem(c, 4*len(k)), keep)
			a.op("VMOVUPS", a.at(w, i), t)
			a.op("VFMSUB213PS", mi, keep, t) // w = w·keep − rate·m/(√v·root+ε)
			a.store(t, w, i)
			a.free(gi, mi, vi, t)
		}
		a.advance(rowBytes, w, g, m, v)
	})
}
