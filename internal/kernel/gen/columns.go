package main

// The loops over features of one block: every vector holds tokens, so that what belongs to a token stays in its lane.

func dotCols(a *asm) {
	x, y, out, n := a.arg("x"), a.arg("y"), a.arg("out"), a.rows("x")
	sum := a.loadBlock(out)
	a.loop(n, func() {
		for v, s := range sum {
			t := a.load(x, v)
			a.fma(s, t, a.at(y, v))
			a.free(t)
		}
		a.advance(rowBytes, x, y)
	})
	a.storeBlock(sum, out)
}

func dotCols3(a *asm) {
	w, x, y, out, n := a.arg("w"), a.arg("x"), a.arg("y"), a.arg("out"), a.arg("w_len")
	sum := a.loadBlock(out)
	a.loop(n, func() {
		wf := a.broadcast(mem(w, 0))
		for v, s := range sum {
			t := a.vec()
			a.mul(t, wf, a.at(x, v))
			a.fma(s, t, a.at(y, v))
			a.free(t)
		}
		a.free(wf)
		a.advance(4, w)
		a.advance(rowBytes, x, y)
	})
	a.storeBlock(sum, out)
}

func norm(a *asm) {
	w, x, r, y, n := a.arg("w"), a.arg("x"), a.arg("r"), a.arg("y"), a.arg("w_len")
	scale := a.loadBlock(r)
	a.loop(n, func() {
		wf := a.broadcast(mem(w, 0))
		for v, s := range scale {
			t := a.vec()
			a.mul(t, s, a.at(x, v))
			a.mul(t, t, wf)
			a.store(t, y, v)
			a.free(t)
		}
		a.free(wf)
		a.advance(4, w)
		a.advance(rowBytes, x, y)
	})
}

func normBackward(a *asm) {
	w, x, dy, dx, n := a.arg("w"), a.arg("x"), a.arg("dy"), a.arg("dx"), a.arg("w_len")
	r, c := a.loadBlock(a.arg("r")), a.loadBlock(a.arg("c"))
	a.loop(n, func() {
		wf := a.broadcast(mem(w, 0))
		for v := range r {
			t := a.vec()
			a.mul(t, wf, a.at(dy, v))
			a.mulAdd(t, r[v], a.at(dx, v))
			u := a.load(x, v)
			a.fnma(t, u, c[v])
			a.store(t, dx, v)
			a.free(t, u)
		}
		a.free(wf)
		a.advance(4, w)
		a.advance(rowBytes, x, dy, dx)
	})
}

func maxCols(a *asm) {
	x, out, n := a.arg("x"), a.arg("out"), a.rows("x")
	top := a.loadBlock(out)
	a.loop(n, func() {
		for v, m := range top {
			a.maxOf(m, m, a.at(x, v))
		}
		a.advance(rowBytes, x)
	})
	a.storeBlock(top, out)
}

func scaleCols(a *asm) {
	x, r, n := a.arg("x"), a.arg("r"), a.rows("x")
	scale := a.loadBlock(r)
	a.loop(n, func() {
		for v, s := range scale {
			t := a.vec()
			a.mul(t, s, a.at(x, v))
			a.store(t, x, v)
			a.free(t)
		}
		a.advance(rowBytes, x)
	})
}

func softmaxBackward(a *asm) {
	p, dp, n := a.arg("p"), a.arg("dp"), a.rows("p")
	delta := a.loadBlock(a.arg("delta"))
	scale := a.broadcast(a.fn.frame("scale"))
	a.loop(n, func() {
		for v, d := range delta {
			t := a.load(dp, v)
			a.sub(t, t, d)
			a.mul(t, t, a.at(p, v))
			a.mul(t, t, scale)
			a.store(t, dp, v)
			a.free(t)
		}
		a.advance(rowBytes, p, dp)
	})
}

func rotate(a *asm) {
	x1, x2, cos, sin, n := a.arg("x1"), a.arg("x2"), a.arg("cos"), a.arg("sin"), a.rows("x1")
	a.loop(n, func() {
		for v := range a.perBlock() {
			p, q, c, s := a.load(x1, v), a.load(x2, v), a.load(cos, v), a.load(sin, v)
			t, u := a.vec(), a.vec()
			a.mul(t, q, s)
			a.mul(u, p, s)
			a.mulSub(p, c, t)
			a.mulAdd(q, c, u)
			a.store(p, x1, v)
			a.store(q, x2, v)
			a.free(p, q, c, s, t, u)
		}
		a.advance(rowBytes, x1, x2, cos, sin)
	})
}

func accumulate(a *asm) {
	y, x, n := a.arg("y"), a.arg("x"), a.rows("y")
	a.loop(n, func() {
		for v := range a.perBlock() {
			t := a.load(y, v)
			a.add(t, t, a.at(x, v))
			a.store(t, y, v)
			a.free(t)
		}
		a.advance(rowBytes, y, x)
	})
}
