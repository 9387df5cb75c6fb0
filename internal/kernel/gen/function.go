package main

import (
	"fmt"
	"strings"
)

// param is a parameter of a generated function.
type param struct {
	name string
	typ  string // in Go
}

// function is a kernel: its Go signature, and what writes its instructions for a target.
type function struct {
	name    string
	params  []param
	targets []target
	emit    func(a *asm)
	ref     string // what stands in where there is no assembly; empty for a part that Go code picks itself
}

// sizes of the types that occur; alignments are the same, but for slices and pointers which are aligned to 8.
var sizes = map[string]int{
	"int": 8, "*float32": 8, "*pair": 8, "*uint16": 8, "*int32": 8, "*int": 8, "*[Block]float32": 8, "*AdamW": 8, "*tileConfig": 8,
	"[]float32": 24, "[]pair": 24, "[]uint16": 24, "float32": 4, "bool": 1,
}

// offset returns where the parameter lies in the frame.
func (f *function) offset(name string) int {
	off := 0
	for _, p := range f.params {
		size := sizes[p.typ]
		align := min(size, 8)
		off = (off + align - 1) / align * align
		if p.name == name {
			return off
		}
		off += size
	}
	panic("no parameter " + name + " in " + f.name)
}

// size returns the size of the frame of parameters.
func (f *function) size() int {
	last := f.params[len(f.params)-1]
	return f.offset(last.name) + sizes[last.typ]
}

// frame returns the operand of a parameter; that of a slice named s is its base, s_len its length.
func (f *function) frame(name string) operand {
	slice, isLen := strings.CutSuffix(name, "_len")
	for _, p := range f.params {
		switch {
		case p.name != slice:
		case isLen:
			return fmt.Sprintf("%s+%d(FP)", name, f.offset(slice)+8)
		case strings.HasPrefix(p.typ, "[]"):
			return fmt.Sprintf("%s_base+%d(FP)", name, f.offset(name))
		default:
			return fmt.Sprintf("%s+%d(FP)", name, f.offset(name))
		}
	}
	panic("no parameter " + name + " in " + f.name)
}

// signature returns the parameters in Go, neighbours of one type together.
func (f *function) signature() string {
	var s strings.Builder
	for i, p := range f.params {
		s.WriteString(p.name)
		switch {
		case i+1 == len(f.params):
			s.WriteString(" " + p.typ)
		case f.params[i+1].typ == p.typ:
			s.WriteString(", ")
		default:
			s.WriteString(" " + p.typ + ", ")
		}
	}
	return s.String()
}

// arguments returns the names of the parameters for a call.
func (f *function) arguments() string {
	names := make([]string, len(f.params))
	for i, p := range f.params {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

// params parses "x, y []float32, n int".
func params(s string) []param {
	var ps []param
	fields := strings.Split(s, ",")
	typ := ""
	for i := len(fields) - 1; i >= 0; i-- {
		name, t, ok := strings.Cut(strings.TrimSpace(fields[i]), " ")
		if ok {
			typ = t
		}
		ps = append([]param{{name, typ}}, ps...)
	}
	return ps
}
