package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tiles are eight registers of up to 16 rows of 64 bytes. A product of tiles adds to 16 × 16 sums in float32 the products of
// 16 rows of 16 pairs of bfloat16 values and 16 pairs for each of 16 columns.

const (
	tileParams      = "cfg *tileConfig, groups, steps int, a []pair, aStep int, b []pair, c []float32, next []pair, acc bool"
	linesParams     = "rows int, src []uint16, stride, steps int, dst []pair"
	partGemmParams  = "cfg *tileConfig, groups, steps int, a []pair, aStep int, b []pair, bStep int, c []float32, next []pair, acc bool"
	partLinesParams = "rows int, src []float32, stride, steps int, dst []pair"
	partPairsParams = "src []float32, stride, n int, dst []pair, step int"
	columnsParams   = "src []pair, dst []pair"
	transParams     = "src []uint16, stride int, dst []pair"

	tileSide  = 16
	tileBytes = 64 * tileSide
	lineBytes = 64
)

// Mandatory prefixes in the coding of VEX.
const (
	vexNone = 0
	vex66   = 1
	vexF3   = 2
	vexF2   = 3
)

// number returns the number of a general register in the coding of instructions.
func number(reg operand) byte {
	if i := slices.Index([]operand{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI"}, reg); i >= 0 {
		return byte(i)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(reg, "R"))
	if err != nil {
		panic("not a general register: " + reg)
	}
	return byte(n)
}

// code writes an instruction in bytes.
func (a *asm) code(bytes ...byte) {
	for _, b := range bytes {
		a.op("BYTE", fmt.Sprintf("$0x%02x", b))
	}
}

// vexMemory writes an instruction of opcode map 0F38 on tile t and the memory at base + index + disp (Intel SDM, volume 2,
// section 2.3.5); index is empty for none. The Go assembler knows none of the tile instructions.
func (a *asm) vexMemory(opcode, prefix, t byte, base, index operand, disp int32) {
	const none = 4 // the number that stands for no index
	i := byte(none)
	if index != "" {
		i = number(index)
	}
	b := number(base)
	a.code(0xc4, 1<<7|(^i>>3&1)<<6|(^b>>3&1)<<5|2, 15<<3|prefix, opcode, 2<<6|t<<3|4, i&7<<3|b&7,
		byte(disp), byte(disp>>8), byte(disp>>16), byte(disp>>24))
}

// prefetchWrite asks for a line that will be written, PREFETCHW, which the Go assembler does not know either.
func (a *asm) prefetchWrite(p operand, disp int8) {
	n := number(p)
	a.code(0x40|n>>3, 0x0f, 0x0d, 1<<6|1<<3|n&7)
	if n&7 == 4 { // the number that announces a byte for an index
		a.code(4<<3 | n&7)
	}
	a.code(byte(disp))
}

// tileConfig loads the shapes of the tiles, LDTILECFG; tileRelease, TILERELEASE, forgets them with the contents, which
// nothing saves when a goroutine moves to another thread.
func (a *asm) tileConfig(p operand) { a.vexMemory(0x49, vexNone, 0, p, "", 0) }
func (a *asm) tileRelease()         { a.code(0xc4, 0xe2, 0x78, 0x49, 0xc0) }

// tileLoad is TILELOADD, of rows step bytes apart; tileStream is TILELOADDT1, for what is not read again soon, and tileStore
// is TILESTORED.
func (a *asm) tileLoad(t byte, p, step operand, disp int) {
	a.vexMemory(0x4b, vexF2, t, p, step, int32(disp))
}
func (a *asm) tileStream(t byte, p, step operand, disp int) {
	a.vexMemory(0x4b, vex66, t, p, step, int32(disp))
}
func (a *asm) tileStore(t byte, p, step operand, disp int) {
	a.vexMemory(0x4b, vexF3, t, p, step, int32(disp))
}

// tileZero is TILEZERO.
func (a *asm) tileZero(t byte) { a.code(0xc4, 0xe2, 0x7b, 0x49, 3<<6|t<<3) }

// tileProduct adds the product of tiles x and y to tile d, TDPBF16PS.
func (a *asm) tileProduct(d, x, y byte) {
	a.code(0xc4, 0xe2, (^y&15)<<3|vexF3, 0x5c, 3<<6|d<<3|x)
}

// The tiles of the products below: four of sums, 32 × 32, two of the left and two of the right operand.
const (
	c00, c01, c10, c11 = 0, 1, 2, 3
	a0, a1, b0, b1     = 4, 5, 6, 7
	half               = rowBytes / 2 // 16 tokens
)

// sums are the tiles of sums with their places in a group of rows of one block.
var sums = []struct {
	tile byte
	disp int
}{{c00, 0}, {c01, half}, {c10, tileSide * rowBytes}, {c11, tileSide*rowBytes + half}}

// loadSums begins sums with what is at c, rows row bytes apart, or with zeros, as the parameter acc says.
func (a *asm) loadSums(c, row operand) {
	add, begin := a.label(), a.label()
	a.op("CMPB", a.fn.frame("acc"), "$0")
	a.op("JNE", add)
	for _, s := range sums {
		a.tileZero(s.tile)
	}
	a.op("JMP", begin)
	a.place(add)
	for _, s := range sums {
		a.tileLoad(s.tile, c, row, s.disp)
	}
	a.place(begin)
}

func (a *asm) storeSums(c, row operand) {
	for _, s := range sums {
		a.tileStore(s.tile, c, row, s.disp)
	}
}

// tileGemm writes the product of groups of 32 rows and one block: C = A·B, or C += A·B. A lies in tiles, for each step of 16
// pairs the upper one of the group before the lower one, and groups aStep pairs apart; B and C as pairs and values of
// features of a block do.
func tileGemm(a *asm) {
	cfg := a.arg("cfg")
	a.tileConfig(cfg)
	groups, ap, aStep, cp := a.arg("groups"), a.arg("a"), a.step("aStep"), a.arg("c")
	n, at, bt, ct, dense, row, next := a.gp(), a.gp(), a.gp(), a.gp(), cfg, a.gp(), a.arg("next")
	a.op("MOVQ", fmt.Sprintf("$%d", lineBytes), dense)
	a.op("MOVQ", fmt.Sprintf("$%d", rowBytes), row)
	a.loop(groups, func() {
		a.loadSums(cp, row)
		a.op("MOVQ", a.fn.frame("steps"), n)
		a.op("MOVQ", ap, at)
		a.op("MOVQ", a.fn.frame("b"), bt)
		a.op("MOVQ", cp, ct)
		a.loop(n, func() {
			a.tileLoad(b0, bt, row, 0)
			a.tileStream(a0, at, dense, 0)
			a.tileProduct(c00, a0, b0)
			a.tileLoad(b1, bt, row, half)
			a.tileProduct(c01, a0, b1)
			a.tileStream(a1, at, dense, tileBytes)
			a.tileProduct(c10, a1, b0)
			a.tileProduct(c11, a1, b1)
			a.prefetchWrite(ct, 0)
			a.prefetchWrite(ct, lineBytes)
			for i := range 4 {
				a.op("PREFETCHT1", mem(next, i*lineBytes))
			}
			a.advance(2*lineBytes, ct)
			a.advance(4*lineBytes, next)
			a.advance(2*tileBytes, at)
			a.advance(tileSide*rowBytes, bt)
		})
		a.storeSums(cp, row)
		a.op("ADDQ", aStep, ap)
		a.advance(2*tileSide*rowBytes, cp)
	})
	a.tileRelease()
}

// partGemm is tileGemm for values in float32 that are the sums of three in bfloat16, hi, mid and lo: of the nine products
// of parts it adds the six that are not below the rounding of float32. The tiles of A's parts follow each other, the parts of B lie
// bStep pairs apart, and so do those of next, which are likely to be the next B.
func partGemm(a *asm) {
	const hi, mid, lo = 0, 1, 2
	cfg := a.arg("cfg")
	a.tileConfig(cfg)
	groups, ap, cp, bStep := a.arg("groups"), a.arg("a"), a.arg("c"), a.step("bStep")
	n, at, bt, bPart, dense, row, ct, next := a.gp(), a.gp(), a.gp(), a.gp(), cfg, a.gp(), a.gp(), a.arg("next")
	a.op("MOVQ", fmt.Sprintf("$%d", lineBytes), dense)
	a.op("MOVQ", fmt.Sprintf("$%d", rowBytes), row)
	loadA := func(part int) {
		a.tileLoad(a0, at, dense, part*2*tileBytes)
		a.tileLoad(a1, at, dense, part*2*tileBytes+tileBytes)
	}
	loadB := func(part int) {
		a.op("MOVQ", bt, bPart)
		for range part {
			a.op("ADDQ", bStep, bPart)
		}
		a.tileLoad(b0, bPart, row, 0)
		a.tileLoad(b1, bPart, row, half)
	}
	multiply := func() {
		a.tileProduct(c00, a0, b0)
		a.tileProduct(c01, a0, b1)
		a.tileProduct(c10, a1, b0)
		a.tileProduct(c11, a1, b1)
	}
	fetch := func(part int) { // of the next B
		at := []string{"(" + next + ")", "(" + next + ")(" + bStep + "*1)", "(" + next + ")(" + bStep + "*2)"}[part]
		for i := range 4 {
			a.op("PREFETCHT1", strings.TrimPrefix(fmt.Sprintf("%d", i*lineBytes), "0")+at)
		}
	}
	fetchSums := func() { // of the next group
		for i := range 8 {
			a.op("PREFETCHT0", mem(ct, i*lineBytes))
		}
		a.advance(8*lineBytes, ct)
	}
	a.loop(groups, func() {
		a.loadSums(cp, row)
		a.op("MOVQ", a.fn.frame("steps"), n)
		a.op("MOVQ", ap, at)
		a.op("MOVQ", a.fn.frame("b"), bt)
		a.op("LEAQ", mem(cp, 2*tileSide*rowBytes), ct)
		a.loop(n, func() {
			loadB(lo)
			loadA(hi)
			multiply()
			fetch(0)
			loadB(mid)
			multiply()
			fetch(1)
			loadA(mid)
			multiply()
			fetchSums()
			loadB(hi)
			multiply()
			fetch(2)
			loadA(lo)
			multiply()
			loadA(hi)
			multiply()
			a.advance(4*lineBytes, next)
			a.advance(3*2*tileBytes, at)
			a.advance(tileSide*rowBytes, bt)
		})
		a.storeSums(cp, row)
		aStep := n
		a.op("MOVQ", a.fn.frame("aStep"), aStep)
		a.op("LEAQ", "("+ap+")("+aStep+"*4)", ap)
		a.advance(2*tileSide*rowBytes, cp)
	})
	a.tileRelease()
}

// prefetchAhead asks for two lines of the row after the next, stride bytes apart: pieces of rows are too short for the processor to
// foresee, and weights come from memory.
func (a *asm) prefetchAhead(row, stride operand) {
	for i := range 2 {
		a.op("PREFETCHT0", strings.TrimPrefix(fmt.Sprintf("%d", i*lineBytes), "0")+"("+row+")("+stride+"*2)")
	}
}

// partLines is tileLines for values in float32, whose parts it writes to tiles that follow each other.
func partLines(a *asm) {
	rows, src, stride, steps, dst := a.arg("rows"), a.arg("src"), a.step("stride"), a.arg("steps"), a.arg("dst")
	n, from, to := a.gp(), a.gp(), a.gp()
	order, high := a.pairOrder(), a.broadcast(a.bits(0xffff0000))
	a.loop(rows, func() {
		a.op("MOVQ", steps, n)
		a.op("MOVQ", src, from)
		a.op("MOVQ", dst, to)
		a.loop(n, func() {
			a.prefetchAhead(from, stride)
			x, y := a.load(from, 0), a.load(from, 1)
			for i := range 3 {
				p := a.vec()
				a.narrow(p, y, x)
				a.op("VMOVUPS", p, mem(to, i*2*tileBytes))
				if i < 2 {
					a.op("VPERMW", p, order, p)
					a.subPairs(high, p, x, y)
				}
				a.free(p)
			}
			a.free(x, y)
			a.advance(2*lineBytes, from)
			a.advance(3*2*tileBytes, to)
		})
		a.op("ADDQ", stride, src)
		a.advance(lineBytes, dst)
	})
}

// subPairs takes the values of pairs p from even and odd, which it leaves exact where p is what they were rounded to; high is the mask
// of the upper values.
func (a *asm) subPairs(high, p, even, odd operand) {
	values := a.unpaired(high, p)
	a.sub(even, even, values[0])
	a.sub(odd, odd, values[1])
	a.free(values[0], values[1])
}

// partPairs pairs the values of 2n rows of 32, stride values apart, as toPairs does, but as three parts, step pairs apart. It asks
// for the rows after the next 32.
func partPairs(a *asm) {
	src, stride, n, dst, step := a.arg("src"), a.step("stride"), a.arg("n"), a.arg("dst"), a.step("step")
	order, high, ahead := a.pairOrder(), a.broadcast(a.bits(0xffff0000)), a.gp()
	a.op("MOVQ", stride, ahead)
	a.op("SHLQ", "$5", ahead)
	a.op("ADDQ", src, ahead)
	places := []operand{mem(dst, 0), "(" + dst + ")(" + step + "*1)", "(" + dst + ")(" + step + "*2)"}
	a.loop(n, func() {
		for v := range a.perBlock() {
			a.op("PREFETCHT0", a.at(ahead, v))
			a.op("PREFETCHT0", a.at(ahead, v)+"("+stride+"*1)")
			even, odd := a.load(src, v), a.vec()
			a.op("VMOVUPS", a.at(src, v)+"("+stride+"*1)", odd)
			for i, place := range places {
				p := a.vec()
				a.narrow(p, odd, even)
				a.op("VPERMW", p, order, p)
				a.op("VMOVUPS", p, strings.TrimPrefix(fmt.Sprintf("%d", v*a.bytes()), "0")+place)
				if i+1 < len(places) {
					a.subPairs(high, p, even, odd)
				}
				a.free(p)
			}
			a.free(even, odd)
		}
		a.op("LEAQ", "("+src+")("+stride+"*2)", src)
		a.op("LEAQ", "("+ahead+")("+stride+"*2)", ahead)
		a.advance(rowBytes, dst)
	})
}

// tileColumns turns 16 rows of 32 pairs into the two tiles that hold their columns.
func tileColumns(a *asm) {
	src, dst := a.arg("src"), a.arg("dst")
	for h := range 2 {
		rows := make([]operand, tileSide)
		for i := range rows {
			rows[i] = a.vec()
			a.op("VMOVUPS", mem(src, i*rowBytes+h*half), rows[i])
		}
		for i, c := range a.columns(rows) {
			a.op("VMOVUPS", c, mem(dst, h*tileBytes+i*lineBytes))
			a.free(c)
		}
	}
}

// toTokenColumns rounds 32 features of a block to bfloat16 and writes their 16 pairs of tokens before the features.
func toTokenColumns(a *asm) {
	x, y := a.arg("x"), a.arg("y")
	for h := range 2 {
		rows := make([]operand, tileSide)
		for i := range rows {
			low, high := a.load(x, 2*(h*tileSide+i)), a.load(x, 2*(h*tileSide+i)+1)
			a.narrow(low, high, low)
			rows[i] = low
			a.free(high)
		}
		for i, c := range a.columns(rows) {
			a.op("VMOVUPS", c, mem(y, i*rowBytes+h*half))
			a.free(c)
		}
	}
}

// tileLines copies rows of steps · 32 values, stride values apart, to the lines of tiles: those of a row lie two tiles apart.
func tileLines(a *asm) {
	rows, src, stride, steps, dst := a.arg("rows"), a.arg("src"), a.arg("stride"), a.arg("steps"), a.arg("dst")
	a.op("SHLQ", "$1", stride)
	n, from, to := a.gp(), a.gp(), a.gp()
	a.loop(rows, func() {
		a.op("MOVQ", steps, n)
		a.op("MOVQ", src, from)
		a.op("MOVQ", dst, to)
		a.loop(n, func() {
			v := a.load(from, 0)
			a.store(v, to, 0)
			a.free(v)
			a.advance(lineBytes, from)
			a.advance(2*tileBytes, to)
		})
		a.op("ADDQ", stride, src)
		a.advance(lineBytes, dst)
	})
}

// transTiles turns 32 rows of 32 values, stride values apart, into the two tiles that hold their columns, neighbouring
// rows paired.
func transTiles(a *asm) {
	src, stride, dst := a.arg("src"), a.arg("stride"), a.arg("dst")
	a.op("SHLQ", "$1", stride)
	from, n := a.gp(), a.gp()
	order := a.vec()
	a.op("VMOVUPS", a.table("interleaved", interleaved()), order)
	a.op("MOVQ", "$2", n)
	a.loop(n, func() {
		a.op("MOVQ", src, from)
		rows := make([]operand, tileSide)
		for i := range rows {
			rows[i] = a.vec()
			a.op("VMOVUPS", mem(from, 0), avx2.reg+strings.TrimPrefix(rows[i], a.reg))
			a.op("VINSERTI64X4", "$1", "("+from+")("+stride+"*1)", rows[i], rows[i])
			a.op("VPERMW", rows[i], order, rows[i])
			a.op("LEAQ", "("+from+")("+stride+"*2)", from)
		}
		for i, c := range a.columns(rows) {
			a.op("VMOVUPS", c, mem(dst, i*lineBytes))
			a.free(c)
		}
		a.advance(lineBytes/2, src)
		a.advance(tileBytes, dst)
	})
}

// columns gives back 16 registers of 16 values each and takes 16 that hold their columns.
func (a *asm) columns(r []operand) []operand {
	// Each stage exchanges one bit of the number of a register for one of the number of a lane. combine replaces x and y by
	// their low and high combinations.
	combine := func(low, high []string, x, y operand) (operand, operand) {
		h := a.vec()
		l := a.vec()
		a.op(low[0], append(slices.Clone(low[1:]), y, x, l)...)
		a.op(high[0], append(slices.Clone(high[1:]), y, x, h)...)
		a.free(x, y)
		return l, h
	}
	pairs, quads, eights, all := make([]operand, 16), make([]operand, 16), make([]operand, 16), make([]operand, 16)
	for i := 0; i < 16; i += 2 {
		pairs[i], pairs[i+1] = combine([]string{"VUNPCKLPS"}, []string{"VUNPCKHPS"}, r[i], r[i+1])
	}
	for i := 0; i < 16; i += 4 {
		for j := range 2 { // quads[i+c] holds column c of each four lanes of rows i to i+3
			quads[i+2*j], quads[i+2*j+1] = combine([]string{"VUNPCKLPD"}, []string{"VUNPCKHPD"}, pairs[i+j], pairs[i+2+j])
		}
	}
	for i := 0; i < 16; i += 8 {
		for c := range 4 { // the quarters 0 and 2, then 1 and 3, of rows i to i+7
			eights[i+c], eights[i+4+c] = combine([]string{"VSHUFF32X4", "$0x88"}, []string{"VSHUFF32X4", "$0xDD"}, quads[i+c], quads[i+4+c])
		}
	}
	for c := range 4 {
		all[c], all[8+c] = combine([]string{"VSHUFF32X4", "$0x88"}, []string{"VSHUFF32X4", "$0xDD"}, eights[c], eights[8+c])
		all[4+c], all[12+c] = combine([]string{"VSHUFF32X4", "$0x88"}, []string{"VSHUFF32X4", "$0xDD"}, eights[4+c], eights[12+c])
	}
	return all
}
