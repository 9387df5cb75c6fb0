package main

import (
	"fmt"
	"math"
	"slices"
)

const (
	attendParams         = "full, diagonal int, k, v []float32, ld int, q, p, o []float32, shift, inverse *[Block]float32"
	attendBackwardParams = "tiles, rows, seen int, k, v []float32, ld int, q, do, shift, delta, tile, dk, dv, dq []float32"

	// smallHead is the number of features of a head whose attention the kernels below compute: products of its features fill
	// no register, but all of them fit into registers.
	smallHead = 8

	attendKeys = 16 // that the backward kernel takes at a time
	gradTile   = block * attendKeys * 4
)

// attend writes the attention of a block of queries, q (smallHead × block), to the keys and values k and v (smallHead rows, ld
// apart): the first full keys are seen by all queries, key i of the following ones, as many as diagonal says, by queries from i
// on; both numbers are even. Scores are in base 2. p is room for them, keys × block. shift holds what is taken off the scores,
// inverse one over the sum of their powers.
func attend(a *asm) {
	full, diagonal, k, ld, p := a.arg("full"), a.arg("diagonal"), a.arg("k"), a.step("ld"), a.arg("p")
	ptrs, elems := a.rowOperands(smallHead, k, ld)
	at := a.arg("q")
	var queries [smallHead][]operand
	for f := range queries {
		queries[f] = a.loadBlock(at)
		a.advance(rowBytes, at)
	}
	const keys = 2 // at a time
	n, seen := at, a.gp()
	none := a.broadcast(a.bits(0xff800000)) // −∞
	peak := a.vecN(a.perBlock())
	for _, m := range peak {
		a.op("VMOVAPS", none, m)
	}
	scores := func(masked bool) {
		for j := range keys {
			score := a.vecN(len(peak))
			for f, e := range elems {
				kf := a.broadcast(offset(e, 4*j))
				for v, s := range score {
					if f == 0 {
						a.mul(s, queries[f][v], kf)
					} else {
						a.fma(s, queries[f][v], kf)
					}
				}
				a.free(kf)
			}
			for v, s := range score {
				if masked {
					a.op("MOVQ", seen, n)
					a.op("SHRQ", fmt.Sprintf("$%d", v*a.lanes), n)
					a.op("KMOVW", n, "K1")
					a.op("VBLENDMPS", s, none, "K1", s)
				}
				a.maxOf(peak[v], peak[v], s)
				a.store(s, p, j*len(peak)+v)
			}
			if masked {
				a.op("SHLQ", "$1", seen)
			}
			a.free(score...)
		}
		a.advance(4*keys, ptrs...)
		a.advance(rowBytes*keys, p)
	}
	a.op("SHRQ", "$1", full)
	a.loop(full, func() { scores(false) })
	a.op("MOVQ", "$-1", seen)
	a.op("SHRQ", "$1", diagonal)
	a.loop(diagonal, func() { scores(true) })
	for _, f := range queries {
		a.free(f...)
	}
	a.free(none)

	a.op("MOVQ", a.fn.frame("shift"), at)
	a.storeBlock(peak, at)
	sums := a.zeros(a.perBlock())
	var out [smallHead][]operand
	for f := range out {
		out[f] = a.zeros(a.perBlock())
	}
	a.moveRows(ptrs, "v", ld)
	powers := a.powers()
	a.op("MOVQ", a.fn.frame("p"), p)
	a.op("MOVQ", a.fn.frame("full"), n)
	a.op("ADDQ", a.fn.frame("diagonal"), n)
	a.op("SHRQ", "$1", n)
	a.loop(n, func() {
		weights := a.vecN(keys * a.perBlock())
		for i, w := range weights {
			a.op("VMOVUPS", a.at(p, i), w)
			a.sub(w, w, peak[i%len(peak)])
		}
		a.exp2Below(powers, weights, nil)
		for i, w := range weights {
			a.add(sums[i%len(peak)], sums[i%len(peak)], w)
		}
		for j := range keys {
			for f, e := range elems {
				vf := a.broadcast(offset(e, 4*j))
				for v, o := range out[f] {
					a.fma(o, weights[j*len(peak)+v], vf)
				}
				a.free(vf)
			}
		}
		a.free(weights...)
		a.advance(4*keys, ptrs...)
		a.advance(rowBytes*keys, p)
	})
	a.free(peak...)
	one := a.broadcast(a.float(1))
	for _, s := range sums {
		a.div(s, one, s)
	}
	a.op("MOVQ", a.fn.frame("inverse"), at)
	a.storeBlock(sums, at)
	a.op("MOVQ", a.fn.frame("o"), at)
	for _, o := range out {
		for v, s := range sums {
			a.mul(o[v], o[v], s)
		}
		a.storeBlock(o, at)
		a.advance(rowBytes, at)
	}
}

// zeros takes n registers of zeros.
func (a *asm) zeros(n int) []operand {
	all := a.vecN(n)
	for _, v := range all {
		a.clear(v)
	}
	return all
}

// moveRows sets pointers of rowOperands to a parameter whose rows are as far apart.
func (a *asm) moveRows(ptrs []operand, name string, rs operand) {
	a.op("MOVQ", a.fn.frame(name), ptrs[0])
	for i := 1; i < len(ptrs); i++ {
		a.op("LEAQ", fmt.Sprintf("(%s)(%s*4)", ptrs[i-1], rs), ptrs[i])
	}
}

// offset is memory disp bytes after m, an operand without a displacement.
func offset(m operand, disp int) operand {
	if disp == 0 {
		return m
	}
	return fmt.Sprintf("%d%s", disp, m)
}

// powers are the registers with the table of exp2Below: 2^(j/32), from whose bits j times the last place of t is taken off where that
// comes to lie in the exponent's shift.
func (a *asm) powers() [2]operand {
	var words []uint16
	for j := range uint32(1 << tableBits) {
		bits := math.Float32bits(float32(math.Exp2(float64(j)/(1<<tableBits)))) - j<<(23-tableBits)
		words = append(words, uint16(bits), uint16(bits>>16))
	}
	at := a.gp()
	a.op("LEAQ", a.table("powers", words), at)
	t := [2]operand{a.load(at, 0), a.load(at, 1)}
	a.gps = append(a.gps, at)
	return t
}

const (
	tableBits = 5
	// lastPlaceOf has 2^−tableBits as its last place: adding it rounds to multiples of that, whose numbers are then the lowest bits.
	lastPlaceOf = 1.5 * (1 << (23 - tableBits))
)

// exp2Table is the polynomial without constant term of least relative error to 2ʳ − 1 for |r| ≤ 1/64: 5e-8.
var exp2Table = []float32{2.402265e-1, 6.9315734e-1}

// exp2Below replaces registers t, none of which is above 0, by 2ᵗ, side by side: t is a multiple of 1/32, whose power comes from a
// table and the exponent, and a rest. What is below the range is 0, and so are lanes that are not among those of the mask registers,
// which are clobbered.
func (a *asm) exp2Below(powers [2]operand, t, among []operand) {
	const notLess = "$5"
	n, tmp := a.vecN(len(t)), a.vecN(2)
	keep := among
	if among == nil {
		keep = []operand{"K1", "K2", "K3", "K4"}
	}
	for i := range t {
		compared := []operand{notLess, a.float(softmaxLow), t[i]}
		if among != nil {
			compared = append(compared, among[i])
		}
		a.op("VCMPPS", append(compared, keep[i])...)
		a.add(n[i], t[i], a.float(lastPlaceOf))
	}
	for i := range t {
		a.sub(tmp[i%2], n[i], a.float(lastPlaceOf))
		a.sub(t[i], t[i], tmp[i%2]) // exact
	}
	for i := range t {
		a.op("VPSLLD", fmt.Sprintf("$%d", 23-tableBits), n[i], tmp[i%2])
		a.op("VPERMI2PS", powers[1], powers[0], n[i])
		a.op("VPADDD", n[i], tmp[i%2], n[i])
	}
	for i := range t {
		a.op("VBROADCASTSS", a.float(exp2Table[0]), tmp[i%2])
		a.mulAdd(tmp[i%2], t[i], a.float(exp2Table[1]))
		a.mul(t[i], t[i], tmp[i%2])
		a.op("VFMADD213PS.Z", n[i], n[i], keep[i], t[i])
	}
	a.free(n...)
	a.free(tmp...)
}

// attendBackward adds the share of keys, tiles times attendKeys, in the gradients of attend for rows queries, 16 or 32. q and do
// (smallHead × block), shift and delta begin at the first of these; do is the gradient of o times the inverse, and delta Σ do·o.
// seen has a bit for each key of a tile that the first query sees; each further one sees one more. Gradients of scores are of
// those in base e. tile is room for the powers and the gradients of scores, two of block × attendKeys. dk, dv, k and v have
// their rows ld apart, dq those of a block. The parameters that say where the keys are count them.
func attendBackward(a *asm) {
	again := a.label()
	a.place(again)
	vecs, gps := slices.Clone(a.vecs), slices.Clone(a.gps)
	attendBackwardTile(a)
	a.vecs, a.gps = vecs, gps
	for _, name := range []string{"k", "v", "dk", "dv"} {
		a.op("ADDQ", fmt.Sprintf("$%d", 4*attendKeys), a.fn.frame(name))
	}
	a.op("DECQ", a.fn.frame("tiles"))
	a.op("JNZ", again)
}

func attendBackwardTile(a *asm) {
	const queries = 4 // at a time
	rows, seen, ld, at := a.arg("rows"), a.arg("seen"), a.step("ld"), a.gp()
	q, do, shift, delta, tile := a.arg("q"), a.arg("do"), a.arg("shift"), a.arg("delta"), a.arg("tile")
	along := func(name string, each func(f int)) {
		a.op("MOVQ", a.fn.frame(name), at)
		for f := range smallHead {
			each(f)
			a.op("ADDQ", ld, at)
		}
	}
	loaded := func(name string) []operand {
		all := make([]operand, smallHead)
		along(name, func(f int) { all[f] = a.load(at, 0) })
		return all
	}
	dot := func(x []operand, y, less operand) []operand {
		sums := a.vecN(queries)
		for i, s := range sums {
			a.op("VBROADCASTSS", mem(less, 4*i), s)
		}
		for f, xf := range x {
			op := "VFMADD231PS.BCST"
			if f == 0 {
				op = "VFMSUB231PS.BCST"
			}
			for i, s := range sums {
				a.op(op, mem(y, f*rowBytes+4*i), xf, s)
			}
		}
		return sums
	}
	n := a.gp()
	a.op("MOVQ", rows, n)
	a.op("SHRQ", "$2", n)
	keys, values, powers := loaded("k"), loaded("v"), a.powers()
	a.loop(n, func() {
		masks := []operand{"K1", "K2", "K3", "K4"}
		p, g := dot(keys, q, shift), dot(values, do, delta)
		for i := range p {
			a.op("KMOVW", seen, masks[i])
			a.op("LEAQ", fmt.Sprintf("1(%s)(%s*1)", seen, seen), seen)
		}
		a.exp2Below(powers, p, masks)
		for i, s := range p {
			a.mul(g[i], g[i], s)
			a.op("VMOVUPS", s, mem(tile, i*a.bytes()))
			a.op("VMOVUPS", g[i], mem(tile, gradTile+i*a.bytes()))
		}
		a.free(p...)
		a.free(g...)
		a.advance(4*queries, q, do, shift, delta)
		a.advance(queries*a.bytes(), tile)
	})
	a.free(keys...)
	a.free(values...)
	a.free(powers[:]...)

	a.op("MOVQ", a.fn.frame("q"), q)
	a.op("MOVQ", a.fn.frame("do"), do)
	a.op("MOVQ", a.fn.frame("tile"), tile)
	dk, dv := loaded("dk"), loaded("dv")
	a.op("MOVQ", rows, n)
	a.loop(n, func() {
		p, g := a.load(tile, 0), a.vec()
		a.op("VMOVUPS", mem(tile, gradTile), g)
		for f := range smallHead {
			a.op("VFMADD231PS.BCST", mem(do, f*rowBytes), p, dv[f])
			a.op("VFMADD231PS.BCST", mem(q, f*rowBytes), g, dk[f])
		}
		a.free(p, g)
		a.advance(4, q, do)
		a.advance(a.bytes(), tile)
	})
	along("dk", func(f int) { a.store(dk[f], at, 0) })
	along("dv", func(f int) { a.store(dv[f], at, 0) })
	a.free(dk...)
	a.free(dv...)

	// dq += K·dSᵀ, for as many queries at a time as keys.
	a.op("MOVQ", a.fn.frame("tile"), tile)
	a.op("MOVQ", a.fn.frame("dq"), q)
	a.op("SHRQ", "$4", rows)
	a.op("MOVQ", a.fn.frame("k"), at)
	_, elems := a.rowOperands(smallHead, at, ld)
	a.loop(rows, func() {
		lines := make([]operand, attendKeys)
		for i := range lines {
			lines[i] = a.vec()
			a.op("VMOVUPS", mem(tile, gradTile+i*a.bytes()), lines[i])
		}
		lines = a.columns(lines)
		sums := make([]operand, smallHead)
		for f := range sums {
			sums[f] = a.load(q, f*a.perBlock())
		}
		for j, c := range lines {
			for f, s := range sums {
				a.op("VFMADD231PS.BCST", offset(elems[f], 4*j), c, s)
			}
		}
		for f, s := range sums {
			a.store(s, q, f*a.perBlock())
		}
		a.free(sums...)
		a.free(lines...)
		a.advance(a.bytes(), q)
		a.advance(attendKeys*a.bytes(), tile)
	})
}
