package main

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

const (
	sddmmParams     = "rows int, ptr *int, cols *int32, dy *float32, dyStep int, x *float32, xStep int, ds *float32"
	sddmmHalfParams = "rows int, ptr *int, cols *int32, dy *pair, dyStep int, x *pair, xStep int, ds *float32"
)

// sddmmGroup is the number of sampled entries that are summed at a time and reduced together.
const sddmmGroup = 8

// sampling is a form of operands of sampled products.
type sampling struct {
	parts     int // of the tokens, apart from each other in memory
	partBytes int // of one feature in one part
	product   func(a *asm, s, d, x operand)
}

// sampled returns the form of float32 values, each part a block.
func sampled(blocks int) sampling { return sampling{blocks, rowBytes, (*asm).product} }

// sampledHalf returns that of bfloat16 values, each part four blocks.
func sampledHalf(parts int) sampling { return sampling{parts, 4 * rowBytes / 2, (*asm).halfProduct} }

// sddmm writes the sampled products of a number of tokens: for the entries of each row of dy, in their order,
//
//	ds[i] += Σ_b Σ_t dy[b][row][t] · x[b][cols[i]][t]
//
// with b counting the parts. A group that a row does not fill adds zeros to what follows in ds, which therefore needs
// sddmmGroup − 1 values more than there are entries.
func sddmm(form sampling) func(a *asm) {
	return func(a *asm) {
		rows, ptr, cols, ds := a.arg("rows"), a.arg("ptr"), a.arg("cols"), a.arg("ds")
		dy, x := a.arg("dy"), a.arg("x")
		dyAt, xAt := a.parts("dyStep", form), a.parts("xStep", form)
		left, entry := a.gp(), a.gp()
		acc := a.vecN(sddmmGroup)
		a.loop(rows, func() {
			group, reduce, last, next := a.label(), a.label(), a.label(), a.label()
			a.op("MOVQ", mem(ptr, 8), left)
			a.op("SUBQ", mem(ptr, 0), left)
			a.advance(8, ptr)
			a.op("TESTQ", left, left)
			a.op("JLE", next)
			row := a.sddmmRow(dy, dyAt, form.parts*form.partBytes/a.bytes())
			a.place(group)
			for _, s := range acc {
				a.clear(s)
			}
			for j, s := range acc {
				a.op("MOVLQSX", mem(cols, 4*j), entry)
				a.op("SHLQ", fmt.Sprintf("$%d", bits.TrailingZeros(uint(form.partBytes))), entry)
				a.op("ADDQ", x, entry)
				for i, d := range row {
					form.product(a, s, d, xAt(entry, i))
				}
				if j+1 < len(acc) {
					a.op("CMPQ", left, fmt.Sprintf("$%d", j+1))
					a.op("JEQ", reduce)
				}
			}
			a.place(reduce)
			sum := a.sumLanes(slices.Clone(acc))
			a.op("VADDPS", mem(ds, 0), sum, sum)
			a.op("VMOVUPS", sum, mem(ds, 0))
			a.op("CMPQ", left, fmt.Sprintf("$%d", sddmmGroup))
			a.op("JLE", last)
			a.advance(4*sddmmGroup, cols, ds)
			a.op("SUBQ", fmt.Sprintf("$%d", sddmmGroup), left)
			a.op("JMP", group)
			a.place(last)
			a.op("LEAQ", "("+cols+")("+left+"*4)", cols)
			a.op("LEAQ", "("+ds+")("+left+"*4)", ds)
			a.place(next)
			a.advance(form.partBytes, dy)
		})
	}
}

// parts returns what addresses vector i of a feature in consecutive parts, step apart, given the feature's place in the
// first of them.
func (a *asm) parts(step string, form sampling) func(p operand, i int) operand {
	var one, three operand
	if form.parts > 1 {
		one = a.step(step)
	}
	if form.parts > 3 {
		three = a.gp()
		a.op("LEAQ", fmt.Sprintf("(%s)(%s*2)", one, one), three)
	}
	index := []string{"", "(" + one + "*1)", "(" + one + "*2)", "(" + three + "*1)"}
	vectors := form.partBytes / a.bytes()
	return func(p operand, i int) operand { return a.at(p, i%vectors) + index[i/vectors] }
}

// sddmmRow returns the vectors of dy's row: registers where the target has enough, else where they lie in memory.
func (a *asm) sddmmRow(dy operand, at func(p operand, i int) operand, vectors int) []operand {
	row := make([]operand, vectors)
	for i := range row {
		row[i] = at(dy, i)
		if a.regs == avx512.regs {
			v := a.vec()
			a.op("VMOVUPS", row[i], v)
			row[i] = v
		}
	}
	return row
}

// product adds the product of vector d, a register or memory, and the vector x in memory to s.
func (a *asm) product(s, d, x operand) {
	if strings.HasPrefix(d, a.reg) {
		a.fma(s, d, x)
		return
	}
	t := a.vec()
	a.op("VMOVUPS", x, t)
	a.fma(s, t, d)
	a.free(t)
}

// halfProduct is product for pairs of bfloat16 values and d in a register.
func (a *asm) halfProduct(s, d, x operand) {
	t := a.vec()
	a.op("VMOVUPS", x, t)
	a.pairProduct(s, d, t)
	a.free(t)
}

// sumLanes adds up the lanes of each of eight vectors and returns a register that holds the eight sums in order. It
// transposes and adds by turns: values, pairs of values, then quarters of the vectors.
func (a *asm) sumLanes(acc []operand) operand {
	for _, step := range []struct{ low, high string }{{"VUNPCKLPS", "VUNPCKHPS"}, {"VUNPCKLPD", "VUNPCKHPD"}} {
		for i := range len(acc) / 2 {
			a.addShuffled(acc[2*i], acc[2*i+1], []string{step.low}, []string{step.high})
			acc[i] = acc[2*i]
		}
		acc = acc[:len(acc)/2]
	}
	s := acc[0]
	if a.lanes == avx2.lanes {
		a.addShuffled(s, acc[1], []string{"VPERM2F128", "$0x20"}, []string{"VPERM2F128", "$0x31"})
		return s
	}
	a.addShuffled(s, acc[1], []string{"VSHUFF32X4", "$0x88"}, []string{"VSHUFF32X4", "$0xDD"})
	a.addShuffled(s, s, []string{"VSHUFF32X4", "$0x08"}, []string{"VSHUFF32X4", "$0x0D"})
	return avx2.reg + strings.TrimPrefix(s, a.reg)
}

// addShuffled replaces x by the sum of two shuffles, instructions with leading operands, of x and y.
func (a *asm) addShuffled(x, y operand, first, second []string) {
	t := a.vec()
	a.op(first[0], append(slices.Clone(first[1:]), y, x, t)...)
	a.op(second[0], append(slices.Clone(second[1:]), y, x, x)...)
	a.add(x, x, t)
	a.free(t)
}
