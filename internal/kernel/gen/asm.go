package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
)

// target is an instruction set with its vector registers.
type target struct {
	name  string // suffix of the functions: "AVX512"
	file  string
	reg   string // prefix of the registers
	regs  int
	lanes int // float32 values in a register
}

var (
	amx        = target{name: "AMX", file: "zz_amx_amd64.s", reg: "Z", regs: 32, lanes: 16}
	avx512bf16 = target{name: "AVX512BF16", file: "zz_avx512bf16_amd64.s", reg: "Z", regs: 32, lanes: 16}
	avx512     = target{name: "AVX512", file: "zz_avx512_amd64.s", reg: "Z", regs: 32, lanes: 16}
	avx2       = target{name: "AVX2", file: "zz_avx2_amd64.s", reg: "Y", regs: 16, lanes: 8}
)

// targets lists them, the best first.
var targets = []target{amx, avx512bf16, avx512, avx2}

const (
	block    = 32        // tokens in a block
	rowBytes = block * 4 // one feature of a block
)

// bytes returns the size of a vector register.
func (t target) bytes() int { return t.lanes * 4 }

// perBlock returns the number of vectors that hold one feature of a block.
func (t target) perBlock() int { return block / t.lanes }

// operand is a register, a memory reference or a constant in the syntax of the Go assembler.
type operand = string

// asm writes the functions of one target. Its methods name the operands as in a = b·c; the assembler wants the
// destination last.
type asm struct {
	target
	out    bytes.Buffer
	consts []uint32 // constants of the file, in order of first use
	tables bytes.Buffer

	fn     *function // being written
	vecs   []operand // free vector registers, next one last
	gps    []operand // free general registers, next one last
	labels int
}

// generalRegs leaves out the stack and frame pointers, the goroutine (R14) and the linker's scratch register (R15).
var generalRegs = []operand{"R13", "R12", "R11", "R10", "R9", "R8", "DI", "SI", "DX", "CX", "BX", "AX"}

// function writes f with its prologue and epilogue.
func (a *asm) function(f *function) {
	a.fn, a.labels = f, 0
	a.gps = slices.Clone(generalRegs)
	a.vecs = nil
	for i := a.regs - 1; i >= 0; i-- {
		a.vecs = append(a.vecs, fmt.Sprintf("%s%d", a.reg, i))
	}
	fmt.Fprintf(&a.out, "\n// func %s%s(%s)\nTEXT ·%s%s(SB), NOSPLIT, $0-%d\n",
		f.name, a.name, f.signature(), f.name, a.name, f.size())
	f.emit(a)
	a.op("VZEROUPPER")
	a.op("RET")
}

// op writes one instruction. A constant operand is broadcast from its four bytes where the target can.
func (a *asm) op(name string, args ...operand) {
	for _, arg := range args {
		if isConst(arg) && a.lanes == avx512.lanes && strings.HasPrefix(name, "V") && !strings.HasPrefix(name, "VBROADCAST") && name != "VMOVUPS" {
			name += ".BCST"
		}
	}
	a.out.WriteString("\t" + name)
	for i, arg := range args {
		a.out.WriteString([]string{" ", ", "}[min(i, 1)] + arg)
	}
	a.out.WriteString("\n")
}

// vec takes a free vector register, vecN takes n.
func (a *asm) vec() operand {
	v := a.vecs[len(a.vecs)-1]
	a.vecs = a.vecs[:len(a.vecs)-1]
	return v
}

func (a *asm) vecN(n int) []operand {
	v := make([]operand, n)
	for i := range v {
		v[i] = a.vec()
	}
	return v
}

// free gives vector registers back, the first of them to be taken first.
func (a *asm) free(regs ...operand) {
	for _, r := range slices.Backward(regs) {
		a.vecs = append(a.vecs, r)
	}
}

// gp takes a free general register.
func (a *asm) gp() operand {
	r := a.gps[len(a.gps)-1]
	a.gps = a.gps[:len(a.gps)-1]
	return r
}

// arg loads a parameter, the base of a slice included, into a general register.
func (a *asm) arg(name string) operand {
	r := a.gp()
	a.op("MOVQ", a.fn.frame(name), r)
	return r
}

// step loads a distance given in values and turns it into bytes.
func (a *asm) step(name string) operand {
	r := a.arg(name)
	a.op("SHLQ", "$2", r)
	return r
}

// rows loads the length of a slice of rows × block values and turns it into rows.
func (a *asm) rows(slice string) operand {
	r := a.arg(slice + "_len")
	a.op("SHRQ", "$5", r)
	return r
}

// label returns a new name for a place in the function.
func (a *asm) label() string {
	a.labels++
	return fmt.Sprintf("l%d", a.labels)
}

func (a *asm) place(label string) { fmt.Fprintf(&a.out, "%s:\n", label) }

// loop runs body while n, which it counts down, is not zero.
func (a *asm) loop(n operand, body func()) {
	again, end := a.label(), a.label()
	a.op("TESTQ", n, n)
	a.op("JZ", end)
	a.place(again)
	body()
	a.op("DECQ", n)
	a.op("JNZ", again)
	a.place(end)
}

// advance moves pointers on by n bytes.
func (a *asm) advance(n int, ptrs ...operand) {
	for _, p := range ptrs {
		a.op("ADDQ", fmt.Sprintf("$%d", n), p)
	}
}

// mem is the memory at p plus disp bytes.
func mem(p operand, disp int) operand {
	if disp == 0 {
		return "(" + p + ")"
	}
	return fmt.Sprintf("%d(%s)", disp, p)
}

// at is vector i at p.
func (a *asm) at(p operand, i int) operand { return mem(p, i*a.bytes()) }

// load takes a register for vector i at p.
func (a *asm) load(p operand, i int) operand {
	v := a.vec()
	a.op("VMOVUPS", a.at(p, i), v)
	return v
}

// loadBlock takes registers for one value per token at p.
func (a *asm) loadBlock(p operand) []operand {
	v := make([]operand, a.perBlock())
	for i := range v {
		v[i] = a.load(p, i)
	}
	return v
}

func (a *asm) store(v, p operand, i int) { a.op("VMOVUPS", v, a.at(p, i)) }

func (a *asm) storeBlock(v []operand, p operand) {
	for i, r := range v {
		a.store(r, p, i)
	}
}

// broadcast takes a register whose lanes all hold the value at m.
func (a *asm) broadcast(m operand) operand {
	v := a.vec()
	a.op("VBROADCASTSS", m, v)
	return v
}

// zero takes a register of zeros.
func (a *asm) zero() operand {
	v := a.vec()
	a.clear(v)
	return v
}

func (a *asm) clear(v operand) { a.op("VXORPS", v, v, v) }

// Arithmetic: the first operand is the destination, the last may be memory or a constant.

func (a *asm) add(d, x, y operand) { a.op("VADDPS", y, x, d) } // d = x + y
func (a *asm) sub(d, x, y operand) { a.op("VSUBPS", y, x, d) } // d = x − y
func (a *asm) mul(d, x, y operand) { a.op("VMULPS", y, x, d) } // d = x·y
func (a *asm) div(d, x, y operand) { a.op("VDIVPS", y, x, d) } // d = x/y

func (a *asm) fma(d, x, y operand)    { a.op("VFMADD231PS", y, x, d) }  // d += x·y
func (a *asm) fnma(d, x, y operand)   { a.op("VFNMADD231PS", y, x, d) } // d −= x·y
func (a *asm) mulAdd(d, x, y operand) { a.op("VFMADD213PS", y, x, d) }  // d = d·x + y
func (a *asm) mulSub(d, x, y operand) { a.op("VFMSUB213PS", y, x, d) }  // d = d·x − y
func (a *asm) maxOf(d, x, y operand)  { a.op("VMAXPS", y, x, d) }       // d = max(x, y), y if either is NaN
func (a *asm) minOf(d, x, y operand)  { a.op("VMINPS", y, x, d) }       // d = min(x, y), y if either is NaN

// float is a constant whose lanes all hold v.
func (a *asm) float(v float32) operand { return a.bits(math.Float32bits(v)) }

// bits is a constant whose lanes all hold the pattern v.
func (a *asm) bits(v uint32) operand {
	if !slices.Contains(a.consts, v) {
		a.consts = append(a.consts, v)
	}
	return constName(v, a.target) + "(SB)"
}

func constName(v uint32, t target) string {
	return fmt.Sprintf("%s_%08x<>", strings.ToLower(t.name), v)
}

func isConst(o operand) bool { return strings.HasSuffix(o, "<>(SB)") }

// table is the memory that holds values, which go by one name in the whole file.
func (a *asm) table(name string, values []uint16) operand {
	name = strings.ToLower(a.name) + "_" + name + "<>"
	if bytes.Contains(a.tables.Bytes(), []byte("GLOBL "+name)) {
		return name + "(SB)"
	}
	a.tables.WriteString("\n")
	for i, v := range values {
		fmt.Fprintf(&a.tables, "DATA %s+%d(SB)/2, $0x%04x\n", name, 2*i, v)
	}
	fmt.Fprintf(&a.tables, "GLOBL %s(SB), RODATA|NOPTR, $%d\n", name, 2*len(values))
	return name + "(SB)"
}

// data writes the constants and tables: four bytes where they are broadcast by the instruction that uses them, else a vector.
func (a *asm) data() {
	for _, v := range a.consts {
		name, n := constName(v, a.target), a.lanes
		if a.lanes == avx512.lanes {
			n = 1
		}
		a.out.WriteString("\n")
		for i := range n {
			fmt.Fprintf(&a.out, "DATA %s+%d(SB)/4, $0x%08x\n", name, 4*i, v)
		}
		fmt.Fprintf(&a.out, "GLOBL %s(SB), RODATA|NOPTR, $%d\n", name, 4*n)
	}
	a.out.Write(a.tables.Bytes())
}
