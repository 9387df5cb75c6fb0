package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class partitions characters as the split patterns do.
type class uint8

const (
	other   class = iota // [^\s\p{L}\p{N}]
	letter               // \p{L}
	number               // \p{N}
	space                // \s other than the next
	newline              // \r and \n
)

func (c class) isSpace() bool { return c >= space }

// classes holds the classes of the first two planes, all that is common; the searches of package unicode would dominate
// the encoding of non-Latin text.
var classes [1 << 17]class

// fillClasses must have returned before classAt is called. Filling takes 0.1 ms, which only users of a tokenizer pay.
var fillClasses = sync.OnceFunc(func() {
	fill := func(c class, tables ...*unicode.RangeTable) {
		for _, table := range tables {
			for _, r := range table.R16 {
				for k := uint32(r.Lo); k <= uint32(r.Hi); k += uint32(r.Stride) {
					classes[k] = c
				}
			}
			for _, r := range table.R32 {
				for k := r.Lo; k <= r.Hi && k < uint32(len(classes)); k += r.Stride {
					classes[k] = c
				}
			}
		}
	}
	fill(letter, unicode.L, newLetters)
	fill(number, unicode.N, newNumbers)
	fill(space, unicode.White_Space)
	classes['\r'], classes['\n'] = newline, newline
})

// classAt returns the class and the length in bytes of the character at s[i]. A byte that is not UTF-8 is other.
func classAt(s string, i int) (class, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return classes[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	switch {
	case int(r) < len(classes):
		return classes[r], n
	case unicode.In(r, unicode.L, newLetters):
		return letter, n
	case unicode.In(r, unicode.N, newNumbers):
		return number, n
	}
	return other, n
}

// runOf returns the end of the run of class c that starts at i, which may be empty.
func runOf(s string, i int, c class) int {
	for i < len(s) {
		got, n := classAt(s, i)
		if got != c {
			break
		}
		i += n
	}
	return i
}
