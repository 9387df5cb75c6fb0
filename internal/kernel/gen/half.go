package main

import "fmt"

// bfloat16 values are kept in pairs of neighbouring features: a 32-bit word holds that of the even one in its lower half.

// pairProduct adds to each lane of d the two products of the bfloat16 pairs in x and y: VDPBF16PS, which the Go assembler
// does not know.
func (a *asm) pairProduct(d, x, y operand) { a.evex(0x52, f3, d, x, y) }

// narrow writes y rounded to bfloat16 to the lower half of d and x to the upper: VCVTNE2PS2BF16.
func (a *asm) narrow(d, x, y operand) { a.evex(0x72, f2, d, x, y) }

// Mandatory prefixes in the coding of EVEX.
const (
	f3 = 2
	f2 = 3
)

// evex writes an instruction on three 512-bit registers of opcode map 0F38, of which d is the destination and y the last
// source (Intel SDM, volume 2, section 2.7.1). The prefix holds register numbers with their upper bits inverted.
func (a *asm) evex(opcode, prefix byte, d, x, y operand) {
	bits := func(o operand) (n byte) {
		if _, err := fmt.Sscanf(o, "Z%d", &n); err != nil {
			panic("not a 512-bit register: " + o)
		}
		return n
	}
	not := func(n, bit byte) byte { return ^n >> bit & 1 }
	dn, xn, yn := bits(d), bits(x), bits(y)
	for _, b := range []byte{
		0x62,
		not(dn, 3)<<7 | not(yn, 4)<<6 | not(yn, 3)<<5 | not(dn, 4)<<4 | 2,
		(^xn&15)<<3 | 1<<2 | prefix,
		2<<5 | not(xn, 4)<<3,
		opcode,
		3<<6 | dn&7<<3 | yn&7,
	} {
		a.op("BYTE", fmt.Sprintf("$0x%02x", b))
	}
}

// toPairs rounds features to bfloat16, two rows of x to one of y.
func toPairs(a *asm) {
	x, y, n := a.arg("x"), a.arg("y"), a.rows("y")
	order := a.vec()
	a.op("VMOVUPS", a.table("interleaved", interleaved()), order)
	a.loop(n, func() {
		for v := range a.perBlock() {
			low, high := a.load(x, v), a.load(x, a.perBlock()+v)
			a.narrow(low, high, low)
			a.op("VPERMW", low, order, low)
			a.store(low, y, v)
			a.free(low, high)
		}
		a.advance(2*rowBytes, x)
		a.advance(rowBytes, y)
	})
}

// toTokenPairs rounds features to bfloat16, the 32 tokens of each to 16 pairs; those of a feature lie step pairs after those
// of the one before.
func toTokenPairs(a *asm) {
	x, y, step, n := a.arg("x"), a.arg("y"), a.step("step"), a.rows("x")
	a.loop(n, func() {
		low, high := a.load(x, 0), a.load(x, 1)
		a.narrow(low, high, low)
		a.store(low, y, 0)
		a.free(low, high)
		a.advance(rowBytes, x)
		a.op("ADDQ", step, y)
	})
}

// interleaved is the permutation of the 16-bit lanes of a register that takes one lane of each half by turns.
func interleaved() []uint16 {
	var order []uint16
	for i := range uint16(16) {
		order = append(order, i, 16+i)
	}
	return order
}

// fromPairs is toPairs's inverse, exact.
func fromPairs(a *asm) {
	x, y, n := a.arg("x"), a.arg("y"), a.rows("x")
	a.loop(n, func() {
		for v := range a.perBlock() {
			low, high := a.load(x, v), a.vec()
			a.op("VANDPS", a.bits(0xffff0000), low, high)
			a.op("VPSLLD", "$16", low, low)
			a.store(low, y, v)
			a.store(high, y, a.perBlock()+v)
			a.free(low, high)
		}
		a.advance(rowBytes, x)
		a.advance(2*rowBytes, y)
	})
}

// interleave pairs the values of low and high, a multiple of 16.
func interleave(a *asm) {
	low, high, y, n := a.arg("low"), a.arg("high"), a.arg("y"), a.arg("y_len")
	a.op("SHRQ", "$4", n)
	a.loop(n, func() {
		for v := range 16 / a.lanes {
			l, h := a.vec(), a.vec()
			a.op("VPMOVZXWD", mem(low, v*a.bytes()/2), l)
			a.op("VPMOVZXWD", mem(high, v*a.bytes()/2), h)
			a.op("VPSLLD", "$16", h, h)
			a.op("VORPS", h, l, l)
			a.store(l, y, v)
			a.free(l, h)
		}
		a.advance(2*16, low, high)
		a.advance(4*16, y)
	})
}

// prefetch asks for lines cache lines of each of rows rows, stride values apart.
func prefetch(a *asm) {
	p, rows, stride, lines := a.arg("p"), a.arg("rows"), a.arg("stride"), a.arg("lines")
	a.op("SHLQ", "$1", stride)
	at, n := a.gp(), a.gp()
	a.loop(rows, func() {
		a.op("MOVQ", p, at)
		a.op("MOVQ", lines, n)
		a.loop(n, func() {
			a.op("PREFETCHT0", mem(at, 0))
			a.advance(64, at)
		})
		a.op("ADDQ", stride, p)
	})
}
